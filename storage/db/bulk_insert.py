"""Inserting many rows in one transaction: COPY on PostgreSQL, many rows per statement on SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

import sqlalchemy as sa

if TYPE_CHECKING:
    import psycopg

_ROWS_PER_STATEMENT: Final = 250
_ROWS_PER_BLOCK: Final = 100_000

# Values by column, all of one length, as the driver takes them: numbers, texts, None.
Columns = Mapping[str, Sequence[object]]


def insert_columns(connection: sa.Connection, table: str, tenant: str, columns: Columns) -> None:
    """Insert rows of one tenant in the connection's transaction, in the order given.

    Parameters
    ----------
    table : str
        Name of a table with a column ``tenant_id``.
    columns : mapping
        Named as in the database.
    """
    count = len(next(iter(columns.values())))
    for start in range(0, count, _ROWS_PER_BLOCK):
        block = {name: values[start : start + _ROWS_PER_BLOCK] for name, values in columns.items()}
        if connection.dialect.name == "postgresql":
            # SQLAlchemy's own type of a driver's connection has no COPY.
            driver = cast("psycopg.Connection", connection.connection.driver_connection)
            statement = f"COPY {table} (tenant_id, {', '.join(block)}) FROM STDIN"
            with driver.cursor() as cursor, cursor.copy(statement) as copy:
                for row in zip(*block.values(), strict=True):
                    copy.write_row((tenant, *row))
        else:
            insert_many(connection, table, ("tenant_id", tenant), block)


def insert_many(connection: sa.Connection, table: str, fixed: tuple[str, str], columns: Columns) -> None:
    """Insert with statements of 250 rows each, prepared once, and one for the rest.

    Parameters
    ----------
    fixed : tuple of str
        A column that has the same text in every row, and that text.
    """
    width, count = len(columns), len(next(iter(columns.values())))
    flat: list[object] = [None] * (width * count)
    for position, values in enumerate(columns.values()):
        flat[position::width] = values
    step = width * _ROWS_PER_STATEMENT
    full = len(flat) // step * step
    # The driver's cursor takes the flat list as it is; SQLAlchemy would want a dict per row.
    cursor = connection.connection.cursor()
    try:
        if full:
            statement = _insert_statement(table, fixed, tuple(columns), _ROWS_PER_STATEMENT)
            cursor.executemany(statement, [flat[i : i + step] for i in range(0, full, step)])
        if full < len(flat):
            statement = _insert_statement(table, fixed, tuple(columns), (len(flat) - full) // width)
            cursor.execute(statement, flat[full:])
    finally:
        cursor.close()


def _insert_statement(table: str, fixed: tuple[str, str], columns: tuple[str, ...], rows: int) -> str:
    column, text = fixed
    # A tenant's name is letters, digits and ``_-.``; a quote here would be an injection.
    if "'" in text:
        raise ValueError("a tenant's name holds no quotes")
    row = f"('{text}',{','.join('?' * len(columns))})"
    return f"INSERT INTO {table} ({column}, {', '.join(columns)}) VALUES " + ",".join([row] * rows)
