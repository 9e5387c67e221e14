"""Where imported records come from: files, or the rows of a SQL query."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import echo_warning
from cli.imports.record_files import read_numbered_records
from errors import ConfigurationError, DataFileInvalid, NotFound, StorageFailed
from prediction.records.parsing import NumberedRecord, read_local_times
from prediction.records.split_times import join_split_times
from storage.text.dates import DateOrder
from storage.text.table_cells import to_record

if TYPE_CHECKING:
    from sqlalchemy import URL

_ROWS_PER_FETCH = 10_000

SqlOption = Annotated[
    str, typer.Option("--sql", "--database-url", help="SQLAlchemy URL of a database; needs --query.")
]
QueryOption = Annotated[str, typer.Option(help="SELECT whose columns are named like the API's fields.")]
TimeColumnOption = Annotated[str | None, typer.Option(help="The column of the times.")]
TagColumnOption = Annotated[str | None, typer.Option(help="The column that names the sensor or device.")]
ValueColumnOption = Annotated[str | None, typer.Option(help="The column of the values.")]
ChannelColumnOption = Annotated[
    str | None, typer.Option(help="The column of the channels: each line is one value of a channel.")
]


@dataclass(frozen=True)
class Table:
    """A file, or what a query returns.

    Parameters
    ----------
    name : str
        What messages call it.
    read : callable
        Yields its records.
    """

    name: str
    read: Callable[[], Iterator[NumberedRecord]]


def open_tables(
    files: Sequence[Path], sql: str, query: str, date_order: DateOrder | None = None, sheet: str | None = None
) -> list[Table]:
    """Return the files, or the one query.

    Raises
    ------
    ConfigurationError
        There are both, or none.
    """
    if bool(files) == bool(sql) or bool(sql) != bool(query):
        raise ConfigurationError("Give files, or --sql URL with --query SELECT")
    if sql:
        return [Table("the query", lambda: _refuse_empty(read_query(sql, query, date_order)))]
    return [Table(str(file), partial(read_numbered_records, file, date_order, sheet)) for file in files]


def _refuse_empty(rows: Iterator[NumberedRecord]) -> Iterator[NumberedRecord]:
    is_empty = True
    for row in rows:
        is_empty = False
        yield row
    if is_empty:
        raise DataFileInvalid("The query returned no rows")


def read_query(url: str, query: str, date_order: DateOrder | None = None) -> Iterator[NumberedRecord]:
    """Yield the rows of a SQL query, counted from 1, without holding all of them.

    Parameters
    ----------
    date_order : str, optional
        Which of day and month comes first in texts such as 03/04/2024.

    Raises
    ------
    StorageFailed
        The database or the query cannot be used.
    DataFileInvalid
        Two columns of the query have the same name.
    """
    import sqlalchemy

    try:
        _require_sqlite_file(sqlalchemy.make_url(url))
        # SQLAlchemy's default driver for PostgreSQL is psycopg2, which Millwright does not install.
        engine = sqlalchemy.create_engine(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url))
        with engine.connect().execution_options(yield_per=_ROWS_PER_FETCH) as connection:
            rows = connection.execute(sqlalchemy.text(query))
            names = list(rows.keys())
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise DataFileInvalid(f"The query has the column {twice[0]!r} twice")
            records = (
                (number, to_record(zip(names, row, strict=True))) for number, row in enumerate(rows, 1)
            )
            notes = list[str]()
            yield from join_split_times(read_local_times(records, date_order), notes)
            for note in notes:
                echo_warning(f"The query: {note}")
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = str(error).partition("\n")[0]
        raise StorageFailed(f"The query could not be run: {reason}") from error


def _require_sqlite_file(url: URL) -> None:
    """Raise NotFound for a SQLite file that does not exist: SQLite would create an empty one."""
    name = url.database or ":memory:"
    is_file = url.get_backend_name() == "sqlite" and not name.startswith((":memory:", "file:"))
    if is_file and not Path(name).is_file():
        raise NotFound(f"There is no database file {name} (sqlite:////folder/file.db is an absolute path)")
