"""Records in texts: CSV and NDJSON, each with the line it stands on, and told where a line holds none."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from errors import MalformedBody

NumberedRecord = tuple[int, Any]
"""The line a record stands on, and the record; or `Unreadable` in its place."""

MAX_COLUMNS: Final = 1_000


class UnreadableLine(str):
    """What stands for a line that holds no record: the reason, as a sentence about the line."""

    __slots__ = ()


@dataclass(frozen=True)
class ParsedRecords:
    """Records as they came.

    Parameters
    ----------
    records : list of (int, Any)
        Each with its line.
    alone : bool
        Whether this is one JSON document by itself, no table.
    """

    records: list[NumberedRecord]
    alone: bool = False


class CsvRows(list[dict[str, str]]):
    """Rows of a CSV text: every value is a text, whatever it means."""

    __slots__ = ()


def number_records(records: Iterable[Any]) -> Iterator[NumberedRecord]:
    """Records that stand in no text, counted from 1."""
    return enumerate(records, 1)


def parse_csv_rows(lines: Iterable[str], delimiter: str) -> Iterator[NumberedRecord]:
    """Rows of a CSV text as objects, named by its first row.

    Raises
    ------
    MalformedBody
        There is no header that can be used, or the text is no CSV from some line on.
    """
    rows = _rows(lines, delimiter)
    _, header = next(rows, (0, None))
    if header is None:
        raise MalformedBody("The CSV body is empty; a header line and rows were expected")
    names = [name.strip() for name in header]
    if len(set(names)) != len(names) or len(names) > MAX_COLUMNS:
        raise MalformedBody(f"The CSV header needs up to {MAX_COLUMNS} different column names")
    for number, row in rows:
        if len(row) == len(names):
            yield number, dict(zip(names, row, strict=True))
        else:
            yield number, UnreadableLine(f"has {len(row)} cells, the header has {len(names)}")


def _rows(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank, with the line it begins on."""
    reader, before = csv.reader(lines, delimiter=delimiter, strict=True), 0
    try:
        for row in reader:
            if row:
                yield before + 1, row
            before = reader.line_num
    except csv.Error as error:
        raise MalformedBody(f"The CSV text cannot be read near line {reader.line_num}: {error}") from error
