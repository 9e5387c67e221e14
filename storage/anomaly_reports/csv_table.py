"""One CSV file as a plant keeps it, parsed into columns without losing sight of a byte."""

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
_ENCODINGS: Final = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True)
class CsvTable:
    """A parsed file.

    Parameters
    ----------
    file : Path
        Where it was read.
    data : bytes
        All of it.
    header : list of str
        The column names; those that were asked for as they were, however the file spells them.
    columns : list of tuple of str
        The cells of each column, one a record.
    ends : sequence of int
        Number of physical lines up to the end of the header, then of each record: blank lines belong to no
        record, and a quoted cell may hold line breaks.
    delimiter : str
        What stands between its cells.
    """

    file: Path
    data: bytes
    header: list[str]
    columns: list[tuple[str, ...]]
    ends: Sequence[int]
    delimiter: str = ","

    @property
    def speaks_excel(self) -> bool:
        """Whether semicolons part its cells: Excel writes so where days come first, decimals with commas."""
        return self.delimiter == ";"

    def __len__(self) -> int:
        return len(self.ends) - 1

    def column(self, name: str) -> tuple[str, ...]:
        """The cells of one column."""
        return self.columns[self.header.index(name)]

    @cached_property
    def lines(self) -> list[bytes]:
        """The physical lines with their endings."""
        return io.BytesIO(self.data).readlines()

    def line(self, record: int) -> int:
        """The number of the physical line a record ends on, counted from 1."""
        return self.ends[record + 1]

    def without(self, records: Iterable[int]) -> bytes:
        """The file's bytes with some records taken out, everything else as it was."""
        gone: set[int] = set()
        for record in records:
            gone.update(range(self.ends[record], self.ends[record + 1]))
        return b"".join(line for number, line in enumerate(self.lines) if number not in gone)

    @cached_property
    def split(self) -> tuple[list[bytes], list[bytes]]:
        """All of the lines but each record's last cell, and these last cells with their line ends."""
        lasting = [self.lines[end - 1] for end in self.ends]
        between = self.delimiter.encode()
        cuts = [line.rfind(between) + 1 for line in lasting]
        heads = [line[:cut] for line, cut in zip(lasting, cuts, strict=True)]
        tails = [line[cut:] for line, cut in zip(lasting, cuts, strict=True)]
        if len(self.lines) > len(lasting):
            ends = set(self.ends)
            heads += [line for number, line in enumerate(self.lines, start=1) if number not in ends]
        return heads, tails


def read_table(file: Path, columns: Sequence[str], like: CsvTable | None = None) -> CsvTable | None:
    """Parse a file; None where there is none or it is empty.

    Parameters
    ----------
    columns : sequence of str
        Columns that it must have, among others, in any order, in any case, with or without accents.
    like : Table, optional
        A file that may well be the same but for the last column: then the other columns are shared with it,
        which takes a fifth of the time and a third of the memory.

    Raises
    ------
    DataFileInvalid
        It cannot be read as CSV in UTF-8 with these columns; the message names the line.
    ArtefactCorrupt, StorageFailed
        It is no regular file, or cannot be read.
    """
    if not os.path.lexists(file) or not (data := read_regular_file(file)):
        return None
    if data[:2] in _ENCODINGS:
        raise DataFileInvalid(f"{file.name}, {_undecodable(data)}; {SAVE_AS}")
    if b"\0" in data:
        raise DataFileInvalid(f"{file.name}, line {_line_at(data, data.index(0))}: it holds a NUL character")
    table = (like and _twin(file, data, like)) or _parsed(file, data)
    table = replace(table, header=match_columns(table.header, columns))
    check_header(file, table.header, columns)
    if len(table) and not data.endswith(b"\n") and not table.columns[-1][-1]:
        last = table.line(len(table) - 1)
        raise DataFileInvalid(f"{file.name}, line {last}: the last line is incomplete; complete or remove it")
    return table


def check_header(file: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    """Make sure that the columns are there, each once.

    Raises
    ------
    DataFileInvalid
        One is missing or stands there twice.
    """
    missing = [name for name in columns if name not in header]
    if missing:
        has = [name[:100] for name in header[:20]]
        how = f"; {SAVE_AS}" if len(header) == 1 else ""
        raise DataFileInvalid(f"{file.name}, line 1: the columns {missing} are missing; it has {has}{how}")
    if len(set(header)) < len(header):
        raise DataFileInvalid(f"{file.name}, line 1: a column name stands there twice")


def _parsed(file: Path, data: bytes) -> CsvTable:
    text = io.TextIOWrapper(io.BytesIO(data.removeprefix(BOM)), encoding="utf-8", newline="\n")
    delimiter = detect_delimiter(first_line(data))
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    records: list[tuple[str, ...]] = []
    ends: list[int] = []
    try:
        for record in reader:
            if record:
                records.append(tuple(record))
                ends.append(reader.line_num)
    except csv.Error as error:
        start = ends[-1] + 1 if ends else 1
        raise DataFileInvalid(f"{file.name}, line {start}: {error}") from error
    except UnicodeDecodeError as error:
        raise DataFileInvalid(f"{file.name}, {_undecodable(data)}; {SAVE_AS}") from error
    _check_width(file, records, ends, delimiter)
    header, rows = [*records[0]], records[1:]
    return CsvTable(
        file, data, header, list(zip(*rows, strict=True)) or [() for _ in header], ends, delimiter
    )


def first_line(data: bytes) -> str:
    """A file's first line without its end; characters that are no UTF-8 are replaced."""
    return data.removeprefix(BOM).partition(b"\n")[0].decode("utf-8", errors="replace")


def _check_width(file: Path, records: Sequence[tuple[str, ...]], ends: Sequence[int], delimiter: str) -> None:
    if not records:
        raise DataFileInvalid(f"{file.name}, line 1: it should name the columns, but the file is blank")
    width = len(records[0])
    if set(map(len, records)) != {width}:
        bad = next(number for number, cells in enumerate(records) if len(cells) != width)
        found = f"{len(records[bad])} cells instead of {width}, with {delimiter!r} between them"
        raise DataFileInvalid(f"{file.name}, line {ends[bad]}: {found}")


def _twin(file: Path, data: bytes, like: CsvTable) -> CsvTable | None:
    """The table, if its records equal those of ``like`` byte by byte up to an unquoted last cell."""
    twin = replace(like, file=file, data=data)
    if len(twin.lines) != len(like.lines):
        return None
    (heads, tails), (like_heads, like_tails) = twin.split, like.split
    if heads != like_heads or b'"' in b"".join(tails) or b'"' in b"".join(like_tails):
        return None
    try:
        cells = {tail: tail.rstrip(b"\r\n").decode("utf-8") for tail in set(tails)}
    except UnicodeDecodeError:
        return None
    name, *last = [cells[tail] for tail in tails]
    return replace(twin, header=[*like.header[:-1], name], columns=[*like.columns[:-1], tuple(last)])


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _undecodable(data: bytes) -> str:
    """The first line that is no UTF-8, and what it seems to be."""
    kind = _ENCODINGS.get(data[:2], "Windows-1252 or Latin-1, as Excel writes “CSV”")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"line {_line_at(data, error.start)}: it is not UTF-8 text (it looks like {kind})"
    return "line 1: it is not UTF-8 text"
