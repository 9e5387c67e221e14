"""Scored records from where a plant keeps them: a CSV or JSON file, a folder of them, or a SQL query.

A column is read under its name in the API (``anomaly_id``, ``description``, …) or under the French header of
the plant's own files, as in CSV bodies of the API. Nothing is checked here: the server says what is wrong.
"""

from __future__ import annotations

import csv
import io
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from errors import DataFileInvalid, NotFound, StorageFailed
from prediction.scoring.requests.column_mapping import map_row
from storage.text.encoding import describe_file_problem

if TYPE_CHECKING:
    from sqlalchemy import URL

Record = dict[str, Any]

SUFFIXES = (".csv", ".json")
QUIET_SECONDS = 1.0
"""A file younger than this may still be growing; it is read once its size has stayed the same."""
LONGEST_WAIT_SECONDS = 30.0


class RecordSource(Protocol):
    """Somewhere new records come from."""

    def records(self) -> list[Record]:
        """Everything that is there now; what was trained on before may be among it."""


@dataclass(frozen=True)
class FileSource:
    """One CSV or JSON file."""

    path: Path

    def records(self) -> list[Record]:
        """Every record of the file."""
        if not self.path.is_file():
            raise NotFound(f"There is no file {self.path}")
        _wait_until_quiet(self.path)
        if records := read_records(self.path):
            return records
        raise DataFileInvalid(f"{self.path} is empty: there are no records in it")


@dataclass
class FolderSource:
    """Every ``.csv`` and ``.json`` file of a folder; unchanged files are read once."""

    folder: Path
    _known: dict[Path, tuple[tuple[int, int], list[Record]]] = field(default_factory=dict)

    def records(self) -> list[Record]:
        """The records of all files, in order of the files' names."""
        if not self.folder.is_dir():
            raise NotFound(f"There is no folder {self.folder}")
        paths = sorted(path for path in self.folder.iterdir() if path.suffix.lower() in SUFFIXES)
        return [record for path in paths if path.is_file() for record in self._read(path)]

    def _read(self, path: Path) -> list[Record]:
        stamp = _stamp(path)
        if path not in self._known or self._known[path][0] != stamp:
            stamp = _wait_until_quiet(path)
            self._known[path] = (stamp, read_records(path))
        return self._known[path][1]


@dataclass(frozen=True)
class QuerySource:
    """A SQL query; its columns are named like the API's fields."""

    url: str
    query: str

    def records(self) -> list[Record]:
        """One record a row."""
        import sqlalchemy

        try:
            _refuse_missing_file(sqlalchemy.make_url(self.url))
            engine = sqlalchemy.create_engine(_with_driver(self.url))
            with engine.connect() as connection:
                rows = connection.execute(sqlalchemy.text(self.query)).mappings()
                return [_record(dict(row)) for row in rows]
        except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
            raise StorageFailed(f"The query could not be run: {_first_line(error)}") from error


def read_records(path: Path) -> list[Record]:
    """The records of one CSV or JSON file.

    Raises
    ------
    DataFileInvalid
        It is neither; the message names the file and, for CSV, the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _json_rows(text) if path.suffix.lower() == ".json" else list(_csv_rows(text))
    except UnicodeDecodeError as error:
        raise DataFileInvalid(f"{path} {describe_file_problem(path)}") from error
    except (ValueError, csv.Error) as error:
        raise DataFileInvalid(f"{path}: {error}") from error
    except OSError as error:
        raise StorageFailed(f"{path} cannot be read: {error.strerror}") from error
    return [_record(row) for row in rows]


def _json_rows(text: str) -> list[Mapping[str, Any]]:
    rows = json.loads(text)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected an array of objects")
    return rows


def _csv_rows(text: str) -> Iterator[Mapping[str, Any]]:
    first_line = text.partition("\n")[0]
    delimiter = ";" if first_line.count(";") > first_line.count(",") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"line {reader.line_num} has another number of columns than the header")
        yield row


def _record(row: Mapping[str, Any]) -> Record:
    return map_row({name: plain for name, value in row.items() if (plain := _plain(value)) is not None})


def _plain(value: Any) -> Any:
    """A database's value as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _wait_until_quiet(path: Path) -> tuple[int, int]:
    patience = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        stamp = _stamp(path)
        if time.time() - stamp[0] / 1e9 > QUIET_SECONDS:
            return stamp
        time.sleep(QUIET_SECONDS)
        if _stamp(path) == stamp:
            return stamp
        if time.monotonic() > patience:
            raise DataFileInvalid(f"{path} is still being written; it is read next time")


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _refuse_missing_file(url: URL) -> None:
    """SQLite would make an empty file where a name is mistyped."""
    name = url.database or ":memory:"
    in_a_file = url.get_backend_name() == "sqlite" and not name.startswith((":memory:", "file:"))
    if in_a_file and not Path(name).is_file():
        raise NotFound(f"There is no database file {name} (sqlite:////folder/file.db is an absolute path)")


def _with_driver(url: str) -> str:
    """PostgreSQL through the driver that is installed here."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
