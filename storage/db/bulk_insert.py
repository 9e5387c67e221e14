"""Many rows of any table in one transaction: COPY on PostgreSQL, many rows a statement on SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

_ROWS_A_STATEMENT: Final = 250
_ROWS_A_BLOCK: Final = 100_000

Columns = Mapping[str, Sequence[Any]]
"""Values by column, all of one length, as the driver takes them: numbers, texts, None."""


def insert_columns(connection: sa.Connection, table: str, tenant: str, columns: Columns) -> None:
    """Write rows of one tenant inside the connection's transaction, in the order given.

    Parameters
    ----------
    table : str
        Its name in the database; it has a column ``tenant_id``.
    columns : mapping
        Named as in the database.
    """
    count = len(next(iter(columns.values())))
    for start in range(0, count, _ROWS_A_BLOCK):
        block = {name: values[start : start + _ROWS_A_BLOCK] for name, values in columns.items()}
        if connection.dialect.name == "postgresql":
            _copy(connection, table, tenant, block)
        else:
            insert_many(connection, table, ("tenant_id", tenant), block)


def _copy(connection: sa.Connection, table: str, tenant: str, columns: Columns) -> None:
    driver: Any = connection.connection
    said = f"COPY {table} (tenant_id, {', '.join(columns)}) FROM STDIN"
    with driver.cursor() as cursor, cursor.copy(said) as copy:
        for row in zip(*columns.values(), strict=True):
            copy.write_row((tenant, *row))


def insert_many(connection: sa.Connection, table: str, fixed: tuple[str, str], columns: Columns) -> None:
    """Statements of 250 rows each, prepared once; the rest in one of its own.

    Parameters
    ----------
    fixed : tuple of str
        A column that has the same text in every row, and that text.
    """
    width, count = len(columns), len(next(iter(columns.values())))
    flat: list[Any] = [None] * (width * count)
    for place, values in enumerate(columns.values()):
        flat[place::width] = values
    cursor = connection.connection.cursor()
    try:
        step = width * _ROWS_A_STATEMENT
        whole = len(flat) // step * step
        if whole:
            said = _statement(table, fixed, tuple(columns), _ROWS_A_STATEMENT)
            cursor.executemany(said, [flat[i : i + step] for i in range(0, whole, step)])
        if whole < len(flat):
            said = _statement(table, fixed, tuple(columns), (len(flat) - whole) // width)
            cursor.execute(said, flat[whole:])
    finally:
        cursor.close()


def _statement(table: str, fixed: tuple[str, str], columns: tuple[str, ...], rows: int) -> str:
    """An INSERT of so many rows; a tenant's name is letters, digits and ``_-.`` and is checked for quotes."""
    column, text = fixed
    if "'" in text:
        raise ValueError("a tenant's name holds no quotes")
    row = f"('{text}',{','.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({column}, {', '.join(columns)}) VALUES " + ",".join([row] * rows)
