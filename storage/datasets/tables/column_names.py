"""The names of a table's columns: what is no name is refused before a row is read."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from errors import InvalidContent
from storage import times

MAX_COLUMNS: Final = 1_000
MAX_NAME_LENGTH: Final = 200
_LONGEST_LINE: Final = 1 << 20
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_FOREIGN: Final = (b"<", b"[{", b"{")
_NAMED: Final = 5


def delimiter_of(path: Path) -> str:
    """Comma, semicolon or tab: whichever the first line has most of.

    Raises
    ------
    InvalidContent
        The file does not begin like a table of text.
    """
    with path.open("rb") as opened:
        line = _first_line(opened)
    if line.startswith(_UTF_16):
        raise InvalidContent("The file is UTF-16 text. Save it as UTF-8.")
    if b"\0" in line:
        raise InvalidContent("The file is neither CSV nor Parquet: it holds NUL characters")
    if line.startswith(_FOREIGN):
        raise InvalidContent("The file is neither CSV nor Parquet: it begins like JSON or a web page")
    if not line:
        raise InvalidContent("The file is blank: its first line should name the columns")
    if len(line) == _LONGEST_LINE:
        raise InvalidContent("The first line has more than a megabyte; it should name the columns")
    return max((",", ";", "\t"), key=lambda mark: line.count(mark.encode()))


def read_column_names(path: Path, delimiter: str) -> tuple[list[str], int]:
    """The column names of a CSV file, and the number of lines down to them.

    Raises
    ------
    InvalidContent
        The line is not UTF-8, or :func:`check` refuses it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.reader(opened, delimiter=delimiter)
            names = [name.strip() for name in next(filter(None, reader), [])]
    except UnicodeDecodeError as error:
        raise InvalidContent(
            f"The file is not UTF-8: byte {error.start + 1} cannot be read. Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise InvalidContent(f"The line of column names cannot be read: {error}") from error
    check_column_names(names)
    _refuse_values(names)
    return names, reader.line_num


def check_column_names(names: Sequence[str]) -> None:
    """Every column needs a name of its own, of a reasonable length.

    Raises
    ------
    InvalidContent
        The message says which name is at fault, or which column has none.
    """
    if len(names) > MAX_COLUMNS:
        raise InvalidContent(f"A dataset may have {MAX_COLUMNS:,} columns, this one has {len(names):,}")
    places = [place for place, name in enumerate(names, 1) if not name]
    if places:
        told = ", ".join(map(str, places[:_NAMED])) + (", …" if len(places) > _NAMED else "")
        raise InvalidContent(f"Every column needs a name of its own; without one: column {told}")
    if wrong := [name for name in names if len(name) > MAX_NAME_LENGTH or "\n" in name]:
        raise InvalidContent(
            f"A column's name has one line and at most {MAX_NAME_LENGTH} characters; at fault: {wrong[0][:50]!r}"
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        told = ", ".join(repr(name[:50]) for name in twice[:_NAMED]) + (", …" if len(twice) > _NAMED else "")
        raise InvalidContent(f"Every column needs a name of its own; at fault: {told}")


def _first_line(opened: IO[bytes]) -> bytes:
    """The first line that is not blank, without what surrounds it."""
    line = b"\n"
    while line and not line.strip():
        line = opened.readline(_LONGEST_LINE)
    return line if len(line) == _LONGEST_LINE else line.strip(b" \r\n")


def _refuse_values(names: Sequence[str]) -> None:
    """A first line of times and numbers is a row that somebody would miss; rising numbers may be names."""
    numbers = [_number(name) for name in names]
    others = [name for name, number in zip(names, numbers, strict=True) if number is None]
    if any(times.detect_format_of_texts([name]) is None for name in others):
        return
    known = [number for number in numbers if number is not None]
    if others or known != sorted(set(known)):
        raise InvalidContent(
            f"The first line holds values ({', '.join(names[:3])}, …), not names: "
            "write a line of column names above it"
        )


def _number(name: str) -> float | None:
    try:
        return float(name)
    except ValueError:
        return None
