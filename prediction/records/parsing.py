"""Records in CSV and NDJSON texts, each with its line number."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from errors import MalformedBody

NumberedRecord = tuple[int, Any]
"""A line number, and the record on that line or an `UnreadableLine`."""

MAX_COLUMNS: Final = 1_000


class UnreadableLine(str):
    """The reason why a line holds no record, as the end of a sentence about the line."""

    __slots__ = ()


@dataclass(frozen=True)
class ParsedRecords:
    """Records of a request body.

    Parameters
    ----------
    records : list of (int, Any)
        Each with its line.
    is_single : bool
        Whether the body is one JSON document rather than a table.
    """

    records: list[NumberedRecord]
    is_single: bool = False


class CsvRows(list[dict[str, str]]):
    """Rows of a CSV text: every value is a string, whatever it means."""

    __slots__ = ()


def number_records(records: Iterable[Any]) -> Iterator[NumberedRecord]:
    """Count records that come without a text from 1."""
    return enumerate(records, 1)


def parse_csv_rows(lines: Iterable[str], delimiter: str) -> Iterator[NumberedRecord]:
    """Yield the rows of a CSV text as objects, with the first row as names.

    Raises
    ------
    MalformedBody
        The header cannot be used, or the text is not CSV from some line on.
    """
    rows = _read_rows(lines, delimiter)
    _, header = next(rows, (0, None))
    if header is None:
        raise MalformedBody("The CSV body is empty; a header line and rows were expected")
    names = [name.strip() for name in header]
    if len(set(names)) != len(names) or len(names) > MAX_COLUMNS:
        raise MalformedBody(f"The CSV header needs up to {MAX_COLUMNS} different column names")
    for line, row in rows:
        if len(row) == len(names):
            yield line, dict(zip(names, row, strict=True))
        else:
            yield line, UnreadableLine(f"has {len(row)} cells, the header has {len(names)}")


def _read_rows(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not blank with the line on which it begins."""
    # csv counts the lines that it has consumed, and a quoted cell may span several: a row begins one line
    # after the end of the row before it.
    reader, last_line = csv.reader(lines, delimiter=delimiter, strict=True), 0
    try:
        for row in reader:
            if row:
                yield last_line + 1, row
            last_line = reader.line_num
    except csv.Error as error:
        raise MalformedBody(f"The CSV text cannot be read near line {reader.line_num}: {error}") from error
