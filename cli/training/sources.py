"""Where scored records come from: a file, a folder of files, or a SQL query.

A column is read under its name in the API (``anomaly_id``, ``description``, …) or under the French header of
the plant's own files, as in CSV bodies of the API. Nothing is checked here: the server names what is invalid.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cli.imports.record_files import SUFFIXES, Record, read_records
from cli.imports.tables import read_query
from errors import DataFileInvalid, NotFound
from prediction.records.parsing import TimeCell
from prediction.scoring.requests.column_mapping import map_row
from storage.text.dates import DateOrder

# A file that was changed within this time may still be written to; it is read once its size has settled.
SETTLE_SECONDS = 1.0
MAX_WAIT_SECONDS = 30.0

_FileState = tuple[int, int]


class RecordSource(Protocol):
    """Somewhere new records come from."""

    def records(self) -> list[Record]:
        """Return all present records; some of them may have been trained on before."""


@dataclass(frozen=True)
class FileSource:
    """One file of records."""

    path: Path
    date_order: DateOrder | None = None
    sheet: str | None = None

    def records(self) -> list[Record]:
        """Return every record of the file."""
        if not self.path.is_file():
            raise NotFound(f"There is no file {self.path}")
        _wait_until_settled(self.path)
        return read_reports(self.path, self.date_order, self.sheet)


@dataclass
class FolderSource:
    """Every file of records in a folder; a file that has not changed is read once."""

    folder: Path
    date_order: DateOrder | None = None
    sheet: str | None = None
    _cache: dict[Path, tuple[_FileState, list[Record]]] = field(default_factory=dict)

    def records(self) -> list[Record]:
        """Return the records of all files, in order of the files' names."""
        if not self.folder.is_dir():
            raise NotFound(f"There is no folder {self.folder}")
        paths = sorted(path for path in self.folder.iterdir() if path.suffix.lower() in SUFFIXES)
        return [record for path in paths if path.is_file() for record in self._read(path)]

    def _read(self, path: Path) -> list[Record]:
        if path not in self._cache or self._cache[path][0] != _state(path):
            state = _wait_until_settled(path)
            self._cache[path] = (state, read_reports(path, self.date_order, self.sheet))
        return self._cache[path][1]


@dataclass(frozen=True)
class QuerySource:
    """A SQL query whose columns are named like the API's fields."""

    url: str
    query: str
    date_order: DateOrder | None = None

    def records(self) -> list[Record]:
        """Return one record per row."""
        rows = read_query(self.url, self.query, self.date_order)
        return _map_rows((row for _, row in rows), "The query")


def read_reports(path: Path, date_order: DateOrder | None = None, sheet: str | None = None) -> list[Record]:
    """Return the records of a file under the API's names.

    Raises
    ------
    DataFileInvalid
        The file cannot be read, or day and month of a date could be exchanged.
    """
    return _map_rows(read_records(path, date_order, sheet), path)


def _map_rows(rows: Iterable[Record], source: object) -> list[Record]:
    records = [map_row(row) for row in rows]
    if doubtful := [r["detected_at"] for r in records if isinstance(r.get("detected_at"), TimeCell)]:
        raise DataFileInvalid(
            f"{source}: {doubtful[0]!r} may be two days: say --date-order day or --date-order month, "
            "whichever comes first"
        )
    return records


def _wait_until_settled(path: Path) -> _FileState:
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        state = _state(path)
        if time.time() - state[0] / 1e9 > SETTLE_SECONDS:
            return state
        time.sleep(SETTLE_SECONDS)
        if _state(path) == state:
            return state
        if time.monotonic() > deadline:
            raise DataFileInvalid(f"{path} is still being written; it is read next time")


def _state(path: Path) -> _FileState:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
