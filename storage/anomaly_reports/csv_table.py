"""Parse a plant's CSV file into columns, and remove records from it without changing any other byte."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from errors import DataFileInvalid
from storage.filesystem.files import read_regular_file
from storage.text.csv_headers import detect_delimiter, match_columns

BOM: Final = b"\xef\xbb\xbf"
SAVE_AS: Final = "save it as CSV UTF-8 (in Excel: “CSV UTF-8”), with commas or semicolons"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class CsvTable:
    """A parsed CSV file.

    Parameters
    ----------
    file : Path
        Where it was read from.
    data : bytes
        The whole content.
    header : list of str
        The column names; required columns in their standard spelling.
    columns : list of tuple of str
        The cells of each column, one a record.
    ends : sequence of int
        Number of physical lines up to the end of the header, then of each record: blank lines belong to no
        record, and a quoted cell may hold line breaks.
    delimiter : str
        The character between cells.
    """

    file: Path
    data: bytes
    header: list[str]
    columns: list[tuple[str, ...]]
    ends: Sequence[int]
    delimiter: str = ","

    @property
    def is_excel_style(self) -> bool:
        """Whether days come first in dates and decimals have commas, as where Excel writes semicolons."""
        return self.delimiter == ";"

    def __len__(self) -> int:
        return len(self.ends) - 1

    def column(self, name: str) -> tuple[str, ...]:
        """Return the cells of one column."""
        return self.columns[self.header.index(name)]

    @cached_property
    def lines(self) -> list[bytes]:
        """The physical lines with their line ends."""
        return io.BytesIO(self.data).readlines()

    def line(self, record: int) -> int:
        """Return the number of the physical line a record ends on, counted from 1."""
        return self.ends[record + 1]

    def without(self, records: Iterable[int]) -> bytes:
        """Return the content with some records removed and every other byte unchanged."""
        removed: set[int] = set()
        for record in records:
            removed.update(range(self.ends[record], self.ends[record + 1]))
        return b"".join(line for number, line in enumerate(self.lines) if number not in removed)

    @cached_property
    def split(self) -> tuple[list[bytes], list[bytes]]:
        """Everything but each record's last cell, and these last cells with their line ends."""
        last_lines = [self.lines[end - 1] for end in self.ends]
        cuts = [line.rfind(self.delimiter.encode()) + 1 for line in last_lines]
        heads = [line[:cut] for line, cut in zip(last_lines, cuts, strict=True)]
        tails = [line[cut:] for line, cut in zip(last_lines, cuts, strict=True)]
        if len(self.lines) > len(last_lines):
            ends = set(self.ends)
            heads += [line for number, line in enumerate(self.lines, start=1) if number not in ends]
        return heads, tails


def read_table(file: Path, columns: Sequence[str], like: CsvTable | None = None) -> CsvTable | None:
    """Parse a file; return None if it is absent or empty.

    Parameters
    ----------
    columns : sequence of str
        Required columns, among others, in any order and case, with or without accents.
    like : CsvTable, optional
        A table that may differ in the last column only. The other columns are then shared with it, which
        takes a fifth of the time and a third of the memory.

    Raises
    ------
    DataFileInvalid
        The file is not CSV in UTF-8 with these columns; the message names the line.
    ArtefactCorrupt, StorageFailed
        It is not a regular file, or not readable.
    """
    if not os.path.lexists(file) or not (data := read_regular_file(file)):
        return None
    if data[:2] in _UTF16_MARKS:
        raise DataFileInvalid(f"{file.name}, {_describe_undecodable(data)}; {SAVE_AS}")
    if b"\0" in data:
        raise DataFileInvalid(f"{file.name}, line {_line_at(data, data.index(0))}: it holds a NUL character")
    table = (like and _share_columns(file, data, like)) or _parse(file, data)
    table = replace(table, header=match_columns(table.header, columns))
    check_header(file, table.header, columns)
    if len(table) and not data.endswith(b"\n") and not table.columns[-1][-1]:
        last = table.line(len(table) - 1)
        raise DataFileInvalid(f"{file.name}, line {last}: the last line is incomplete; complete or remove it")
    return table


def check_header(file: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    """Check that every required column is there, each name once.

    Raises
    ------
    DataFileInvalid
        A column is missing or named twice.
    """
    missing = [name for name in columns if name not in header]
    if missing:
        names = [name[:100] for name in header[:20]]
        # A single column means that the delimiter is unknown: a wrong format rather than a wrong name.
        advice = f"; {SAVE_AS}" if len(header) == 1 else ""
        raise DataFileInvalid(
            f"{file.name}, line 1: the columns {missing} are missing; it has {names}{advice}"
        )
    # A spreadsheet may leave empty columns, which have no name.
    named = [name for name in header if name]
    if len(set(named)) < len(named):
        raise DataFileInvalid(f"{file.name}, line 1: a column name occurs twice")


def decode_first_line(data: bytes) -> str:
    """Return a file's first line without its end; bytes that are not UTF-8 are replaced."""
    return data.removeprefix(BOM).partition(b"\n")[0].decode("utf-8", errors="replace")


def _parse(file: Path, data: bytes) -> CsvTable:
    # Lines end in "\n" or "\r\n" only: other separators that Python knows may stand inside a cell.
    text = io.TextIOWrapper(io.BytesIO(data.removeprefix(BOM)), encoding="utf-8", newline="\n")
    delimiter = detect_delimiter(decode_first_line(data))
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    records: list[tuple[str, ...]] = []
    ends: list[int] = []
    try:
        for record in reader:
            # A row without a cell is as blank as an empty line.
            if any(record):
                records.append(tuple(record))
                ends.append(reader.line_num)
    except csv.Error as error:
        start = ends[-1] + 1 if ends else 1
        raise DataFileInvalid(f"{file.name}, line {start}: {error}") from error
    except UnicodeDecodeError as error:
        raise DataFileInvalid(f"{file.name}, {_describe_undecodable(data)}; {SAVE_AS}") from error
    if not records:
        raise DataFileInvalid(f"{file.name}, line 1: it should name the columns, but the file is blank")
    width = len(records[0])
    if any(len(cells) > width for cells in records):
        # Cells without content behind the last column are no cells.
        records = [cells if any(cells[width:]) else cells[:width] for cells in records]
    if set(map(len, records)) != {width}:
        cells, end = next(
            (cells, end) for cells, end in zip(records, ends, strict=True) if len(cells) != width
        )
        counts = f"{len(cells)} cells instead of {width}, with {delimiter!r} between them"
        raise DataFileInvalid(f"{file.name}, line {end}: {counts}")
    header, rows = [*records[0]], records[1:]
    return CsvTable(
        file, data, header, list(zip(*rows, strict=True)) or [() for _ in header], ends, delimiter
    )


def _share_columns(file: Path, data: bytes, like: CsvTable) -> CsvTable | None:
    """Return the table if its bytes equal those of ``like`` up to an unquoted last cell of each record."""
    table = replace(like, file=file, data=data)
    if len(table.lines) != len(like.lines):
        return None
    (heads, tails), (like_heads, like_tails) = table.split, like.split
    # A row may end in cells that are none: then what stands behind its last delimiter is not its last cell.
    last_cells = [tail.rstrip(b"\r\n").decode("utf-8", "replace") for tail in like_tails[1 : len(like.ends)]]
    if last_cells != list(like.columns[-1]):
        return None
    if heads != like_heads or b'"' in b"".join(tails) or b'"' in b"".join(like_tails):
        return None
    try:
        cells = {tail: tail.rstrip(b"\r\n").decode("utf-8") for tail in set(tails)}
    except UnicodeDecodeError:
        return None
    name, *last = [cells[tail] for tail in tails]
    if any(not (cell or any(row)) for cell, *row in zip(last, *like.columns[:-1], strict=True)):
        return None  # a row that is blank here is none
    return replace(table, header=[*like.header[:-1], name], columns=[*like.columns[:-1], tuple(last)])


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _describe_undecodable(data: bytes) -> str:
    """Return the first line that is not UTF-8, and the encoding it seems to have."""
    encoding = "UTF-16" if data[:2] in _UTF16_MARKS else "Windows-1252 or Latin-1, as Excel writes “CSV”"
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"line {_line_at(data, error.start)}: it is not UTF-8 text (it looks like {encoding})"
    return "line 1: it is not UTF-8 text"
