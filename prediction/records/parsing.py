"""Records in CSV and NDJSON texts, each with its line number."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from typing import Any, Final

from errors import MalformedBody
from storage.text.csv_layout import CsvLayout, count_of, describe_values, find_layout
from storage.text.csv_rows import number_rows
from storage.text.dates import (
    AmbiguousDate,
    DateOrder,
    find_date_order,
    is_local_time,
    is_moment,
    parse_local_time,
)
from storage.text.numbers import DecimalSign, parse_number_text

# A line number, and the record on that line or an `UnreadableLine`.
NumberedRecord = tuple[int, Any]
# A line number, and the cells that end there.
NumberedRow = tuple[int, Sequence[Any]]

MAX_COLUMNS: Final = 1_000
# Days and months are told apart by the first line with a day after the 12th.
_SAMPLE_LINES: Final = 20_000
_SPACE: Final = re.compile(r"\d \d{3}(?!\d)", re.ASCII)
_PLAIN: Final = re.compile(r"-?\d+(\.\d+)?", re.ASCII)


class UnreadableLine(str):
    """The reason why a line holds no record, as the end of a sentence about the line."""

    __slots__ = ()


class NumberCell(str):
    """The text of a cell that is a number in the notation of its file."""

    __slots__ = ("number",)
    number: float


class TimeCell(str):
    """The text of a cell that is a time in the notation of its file; ``time`` is None where it may be two days."""

    __slots__ = ("time",)
    time: datetime | None


@dataclass(frozen=True)
class ParsedRecords:
    """Records of a request body.

    Parameters
    ----------
    records : list of (int, Any)
        Each with its line.
    is_single : bool
        Whether the body is one JSON document rather than a table.
    notes : list of str
        What was left out of the text.
    """

    records: list[NumberedRecord]
    is_single: bool = False
    notes: list[str] = field(default_factory=list)


class TableRows(list[dict[str, Any]]):
    """Rows of a table: every value of a CSV text is a string, whatever it means."""

    def __init__(self, rows: Iterable[dict[str, Any]], notes: Sequence[str] = ()) -> None:
        super().__init__(rows)
        self.notes = list(notes)


def number_records(records: Iterable[object]) -> Iterator[NumberedRecord]:
    """Count records that come without a text from 1."""
    return enumerate(records, 1)


class CsvRecords:
    """The rows of a CSV text as objects, with the names of its columns.

    Parameters
    ----------
    lines : iterable of str
        The text; it may be larger than memory.
    date_order : str, optional
        Which of day and month comes first in dates with slashes, where the sender says so.

    Raises
    ------
    MalformedBody
        The header cannot be used, or, while rows are read, the text is not CSV from some line on.
    """

    def __init__(self, lines: Iterable[str], date_order: DateOrder | None = None) -> None:
        lines = _refuse_nul(lines)
        sample = list(islice(lines, _SAMPLE_LINES))
        try:
            layout = find_layout("".join(sample))
            rows = [row for line, row in number_rows(sample, layout.delimiter) if line > layout.skip_lines]
        except csv.Error as error:
            raise MalformedBody(f"The CSV text cannot be read near {error}") from error
        except ValueError:
            raise MalformedBody(
                "The CSV body is empty: a line of column names and rows were expected"
            ) from None
        self._rows = _read_rows(chain(sample, lines), layout.delimiter)
        self._table = TableRecords(layout, rows, date_order)

    @property
    def notes(self) -> list[str]:
        """What is left out of the text; complete once all rows were read."""
        return self._table.notes

    def __iter__(self) -> Iterator[NumberedRecord]:
        return self._table.read(self._rows)


class TableRecords:
    """Turns the rows of a table into records.

    Parameters
    ----------
    layout : CsvLayout
        Where the table begins and what its columns are called.
    sample : sequence of sequence of str
        Some of its rows, which show how it writes dates.
    """

    def __init__(
        self, layout: CsvLayout, sample: Sequence[Sequence[str]], date_order: DateOrder | None = None
    ) -> None:
        self.notes = [sentence for _, sentence, _ in layout.notes()]
        self._layout = layout
        self._columns = [(n, name) for n, name in enumerate(layout.first_row) if n not in layout.left_out]
        _check_names([name for _, name in self._columns])
        self._orders = dict(self._find_date_orders(sample, date_order))

    def read(self, rows: Iterable[NumberedRow]) -> Iterator[NumberedRecord]:
        """Yield the records below the names, without blank rows."""
        layout, num_blank, width = self._layout, 0, len(self._layout.first_row)
        sign = layout.decimal_sign
        for line, row in rows:
            if line <= layout.skip_lines:
                continue
            if _is_blank(row):
                num_blank += 1
            elif len(row) < width or not (len(row) == width or _is_blank(row[width:])):
                yield line, UnreadableLine(f"has {len(row)} cells, the header has {width}")
            elif layout.empty_columns and not _is_blank([row[number] for number in layout.empty_columns]):
                yield line, UnreadableLine("has a cell in a column without a name")
            else:
                record = {name: row[number] for number, name in self._columns}
                for name, order in self._orders.items():
                    record[name] = _read_time(record[name], order)
                # Looked for in whole rows: most hold plain numbers, and a call for each cell would double the time.
                text = "\0".join(map(str, row))
                if sign == "," or "," in text or "'" in text or not text.isascii() or _SPACE.search(text):
                    for name in record.keys() - self._orders.keys():
                        record[name] = _read_number(record[name], sign)
                yield line, record
        if num_blank:
            self.notes.append(f"{count_of(num_blank, 'blank row')} left out")

    def _find_date_orders(
        self, sample: Sequence[Sequence[str]], date_order: DateOrder | None
    ) -> Iterator[tuple[str, DateOrder | None]]:
        """Yield the columns with local dates, and whether their day or their month comes first."""
        for number, name in self._columns:
            cells = [row[number] for row in sample if len(row) > number]
            if any(map(is_local_time, cells)):
                # Excel separates by semicolons where the day comes first.
                usual: DateOrder | None = "day" if self._layout.delimiter == ";" else None
                yield name, date_order or find_date_order(cells) or usual


def read_local_times(
    records: Iterable[NumberedRecord], date_order: DateOrder | None
) -> Iterator[NumberedRecord]:
    """Yield records of typed columns; their texts that are local times become a `TimeCell`, as in a CSV text."""
    for number, record in records:
        yield number, {name: _read_time(cell, date_order) for name, cell in record.items()}


def _read_time(cell: object, order: DateOrder | None) -> object:
    # Most texts of a table are names, and do not begin with a digit.
    if not isinstance(cell, str) or not cell.lstrip()[:1].isdigit() or not is_local_time(cell):
        return cell
    try:
        time = parse_local_time(cell, order)
    except AmbiguousDate:
        time = None
    else:
        if time is None:  # such as 31.02.2024: whatever reads the field refuses it as no time
            return cell
    read = TimeCell(cell)
    read.time = time
    return read


def _read_number(cell: object, sign: DecimalSign | None) -> object:
    if not isinstance(cell, str) or (_PLAIN.fullmatch(cell) and not (sign == "," and "." in cell)):
        return cell
    try:
        number = parse_number_text(cell, sign)
    except ValueError:
        return cell
    read = NumberCell(cell)
    read.number = number
    return read


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise MalformedBody(f"The header may name {MAX_COLUMNS:,} columns, this one names {len(names):,}")
    if any(map(is_moment, names)):
        raise MalformedBody(describe_values(names))
    if "" in names:
        raise MalformedBody(
            f"Column {names.index('') + 1} has no name in the header, and its cells are not empty"
        )
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise MalformedBody(f"The header has the column {repeated[0][:100]!r} twice")


def _is_blank(row: Sequence[object]) -> bool:
    # The first cell of most rows decides.
    if row and row[0] and not (isinstance(row[0], str) and row[0].isspace()):
        return False
    return all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in row)


def _refuse_nul(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if "\0" in line:
            raise MalformedBody(f"The CSV text cannot be read: line {number} holds NUL characters")
        yield line


def _read_rows(lines: Iterable[str], delimiter: str) -> Iterator[NumberedRow]:
    try:
        yield from number_rows(lines, delimiter, strict=True)
    except csv.Error as error:
        raise MalformedBody(f"The CSV text cannot be read near {error}") from error
