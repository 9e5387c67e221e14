"""Read CSV uploads with Arrow: one rule for delimiters, decimal commas, missing cells and encodings."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from errors import InvalidContent
from storage.text.csv_headers import detect_delimiter

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

MISSING: Final = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "none", "-", "?")
"""Texts that stand for an empty cell."""
BLOCK_BYTES: Final = 4 << 20
_MAX_HEADER_BYTES: Final = 1 << 20
_SAMPLE_BYTES, _SAMPLE_ROWS = 64 << 10, 50
_MIN_ROWS_BELOW_PREAMBLE: Final = 3
_MAX_UNIT_LENGTH: Final = 15
_SEPARATOR_LINE: Final = re.compile(r"\ufeff?\"?sep=(.)\"?\r?\n", re.IGNORECASE)
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_DECIMAL_POINT: Final = re.compile(r"[+-]?\d+\.\d+([eE][+-]?\d+)?")
_NUMBER_START: Final = re.compile(r"[+-]?[.,]?\d")
_MAX_NAMED: Final = 20
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_FOREIGN: Final = (b"<", b"[{", b"{")


@dataclass(frozen=True)
class CsvLayout:
    """What the first lines of a CSV file tell.

    Parameters
    ----------
    first_row : list of str
        The cells of the first row of the table, usually the names of the columns.
    lines : int
        Lines of the file down to the end of that row, others above it included.
    preamble : int
        Lines above that row which are neither blank nor of the table: what loggers write about themselves.
    units : list of str
        The row of units right below the names; empty where there is none.
    empty_columns : tuple of int
        Columns without a name and, as far as the beginning shows, without a cell: left by spreadsheets.
    """

    first_row: list[str]
    delimiter: str
    lines: int
    preamble: int = 0
    units: list[str] = field(default_factory=list)
    empty_columns: tuple[int, ...] = ()
    uses_decimal_comma: bool = False

    @property
    def decimal_point(self) -> str:
        """The sign between whole and fraction."""
        return "," if self.uses_decimal_comma else "."

    @property
    def columns(self) -> list[str]:
        """Names of the columns that are not empty."""
        return [name for number, name in enumerate(self.first_row) if number not in self.empty_columns]

    @property
    def skip_lines(self) -> int:
        """Lines above the first row of values."""
        return self.lines + bool(self.units)


def read_layout(opened: IO[bytes]) -> CsvLayout:
    """Find the table in the first lines of a CSV file.

    Raises
    ------
    InvalidContent
        The file does not begin like a table in UTF-8.
    """
    line = b"\n"
    while line and not line.strip():
        line = opened.readline(_MAX_HEADER_BYTES)
    if line.startswith(_UTF_16):
        raise InvalidContent("The file is UTF-16 text. Save it as UTF-8, or send encoding=utf-16.")
    if b"\0" in line:
        raise InvalidContent("The file is no text: it holds NUL characters")
    if line.startswith(_FOREIGN):
        raise InvalidContent("The file is no table: it begins like JSON or a web page")
    if not line.strip(b" \r\n"):
        raise InvalidContent("The file is blank: its first line should name the columns")
    if len(line) == _MAX_HEADER_BYTES:
        raise InvalidContent("The first line has more than a megabyte; it should name the columns")
    opened.seek(0)
    try:
        # The sample ends with the last whole line, so that no character is cut.
        sample = opened.read(_MAX_HEADER_BYTES + _SAMPLE_BYTES)
        cut = sample.rfind(b"\n") + 1 if opened.read(1) else len(sample)
        text = sample[:cut].decode("utf-8-sig")
        return _find_table(text)
    except UnicodeDecodeError as error:
        raise InvalidContent(
            f"The file is not UTF-8: byte {error.start + 1} cannot be read. Save it as UTF-8, or send its encoding."
        ) from error
    except csv.Error as error:
        raise InvalidContent(f"The line of column names cannot be read: {error}") from error


def _find_table(text: str) -> CsvLayout:
    """Find delimiter, names and units: most rows of a table have as many cells as its names."""
    # Excel writes such a line for other copies of Excel.
    stated = _SEPARATOR_LINE.match(text)
    delimiter = stated[1] if stated else _choose_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    for row in reader:
        if any(cell.strip() for cell in row) and not (stated and reader.line_num == 1):
            rows.append((reader.line_num, [cell.strip() for cell in row]))
        if len(rows) == _SAMPLE_ROWS:
            break
    if not rows:
        raise InvalidContent("The file is blank: its first line should name the columns")
    # The rows below decide: a preamble and a broken row are few.
    width = Counter(len(cells) for _, cells in rows[1:] or rows).most_common(1)[0][0]
    header = next((number for number, (_, cells) in enumerate(rows) if len(cells) == width), 0)
    # A row that is wider than the others is a mistake in it, not the end of a preamble.
    if len(rows[0][1]) >= width or len(rows) - header < _MIN_ROWS_BELOW_PREAMBLE:
        header = 0
    line, names = rows[header]
    values = [cells for _, cells in rows[header + 1 :]]
    units = values[0] if len(values) > 1 and _is_unit_row(values[0], values[1]) else []
    empty = [
        number
        for number, name in enumerate(names)
        if not name and values and all(len(cells) > number and not cells[number] for cells in values)
    ]
    cells = [cell for row in values for cell in row]
    # Some programs separate with semicolons and write decimal points all the same.
    has_commas = delimiter == ";" and any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
    has_points = any(_DECIMAL_POINT.fullmatch(cell) for cell in cells)
    uses_decimal_comma = delimiter == ";" and (has_commas or not has_points)
    return CsvLayout(names, delimiter, line, header, units, tuple(empty), uses_decimal_comma)


def _choose_delimiter(text: str) -> str:
    """Return the delimiter that gives most rows one width; the first line decides where several do."""
    lines = [line for line in text.splitlines()[:_SAMPLE_ROWS] if line.strip()]
    first = detect_delimiter(lines[0])
    best, best_rows = first, 0
    for delimiter in (first, ",", ";", "\t"):
        try:
            widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter))
        except csv.Error:  # With another delimiter a whole line is one cell, which may be too long.
            continue
        width, rows = max(widths.items(), key=lambda item: (item[0] > 1, item[1]))
        if width > 1 and rows > best_rows:
            best, best_rows = delimiter, rows
    return best


def _is_unit_row(cells: list[str], values: list[str]) -> bool:
    """Tell whether a row of short texts without a digit at the start stands above a row of numbers."""
    is_text = all(len(cell) <= _MAX_UNIT_LENGTH and not _NUMBER_START.match(cell) for cell in cells)
    numbers = sum(bool(_NUMBER_START.match(cell)) for cell in values)
    return is_text and any(cells) and 2 * numbers >= len(values)


def read_batches(path: Path, layout: CsvLayout) -> Iterator[pa.RecordBatch]:
    """Read a large table below its header, block by block, all cells as text.

    Raises
    ------
    InvalidContent
        Rows have more or fewer cells than the header; the first ones are named.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    broken: list[str] = []

    def note_row(row: arrow_csv.InvalidRow) -> str:
        if len(broken) < _MAX_NAMED:
            line = f"line {row.number}" if row.number else "a line"
            broken.append(f"{line} has {row.actual_columns} cells, the header has {row.expected_columns}")
        return "skip"

    if _is_blank_after(path, layout.skip_lines):
        return
    # Arrow needs a name for each cell of a row, also of columns that are left out.
    names = [name or f"\0{number}" for number, name in enumerate(layout.first_row)]
    types = dict.fromkeys(layout.columns, pa.string())
    yield from arrow_csv.open_csv(
        path,
        read_options=_read_options(names, layout.skip_lines),
        parse_options=arrow_csv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=note_row),
        convert_options=arrow_csv.ConvertOptions(
            column_types=types, include_columns=layout.columns, strings_can_be_null=False
        ),
    )
    if broken:
        raise InvalidContent(f"The file is no table: {'; '.join(broken)}", validation_errors=broken)


def read_columns(
    content: bytes, layout: CsvLayout, names: list[str], skip_lines: int, text_columns: Iterable[str] = ()
) -> dict[str, pa.Array]:
    """Read a small table whole; Arrow recognises numbers, times and texts.

    Parameters
    ----------
    text_columns : iterable of str
        Columns whose cells are texts whatever they look like: a label may be "none" or "1".

    Raises
    ------
    InvalidContent
        It is no table.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    try:
        table = arrow_csv.read_csv(
            io.BytesIO(content),
            read_options=_read_options(names, skip_lines),
            parse_options=arrow_csv.ParseOptions(delimiter=layout.delimiter),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(text_columns, pa.string()),
                null_values=MISSING,
                decimal_point=layout.decimal_point,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InvalidContent(_explain(str(error))) from error
    if not table.num_rows:
        raise InvalidContent("no rows")
    columns = {name: table.column(name).combine_chunks() for name in names}
    # Arrow reads text that is not UTF-8 as bytes instead of refusing it.
    if binary := [name for name, cells in columns.items() if pa.types.is_binary(cells.type)]:
        raise InvalidContent(f"column {binary[0][:60]!r} is not UTF-8. Save the file as UTF-8.")
    return columns


def read_dicts(content: bytes) -> tuple[list[str], list[dict[str, str]]]:
    """Read the column names, in lower case, and the rows of a small CSV file.

    Raises
    ------
    InvalidContent
        It is no CSV text in UTF-8.
    """
    layout = read_layout(io.BytesIO(content))
    names = [name.lower() for name in layout.first_row]
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise InvalidContent(f"not UTF-8: byte {error.start + 1} cannot be read") from error
    for _ in range(layout.lines):
        text.readline()
    reader = csv.DictReader(text, names, delimiter=layout.delimiter)
    rows = [
        {key: (cell or "").strip() for key, cell in row.items() if isinstance(key, str)} for row in reader
    ]
    return names, rows


def _read_options(names: list[str], skip_rows: int) -> arrow_csv.ReadOptions:
    from pyarrow import csv as arrow_csv

    # One thread: several web workers share the cores, and a training child has its own.
    return arrow_csv.ReadOptions(
        use_threads=False, block_size=BLOCK_BYTES, column_names=names, skip_rows=skip_rows
    )


def _is_blank_after(path: Path, lines: int) -> bool:
    """Tell whether only blank lines follow; Arrow raises an error of its own there."""
    with path.open("rb") as opened:
        for _ in range(lines):
            opened.readline()
        return not any(line.strip() for line in iter(lambda: opened.readline(BLOCK_BYTES), b""))


def _explain(message: str) -> str:
    """Return Arrow's message; where it speaks of its own blocks, a sentence about the file."""
    if "straddling" in message:
        return f"no table: a line is longer than {BLOCK_BYTES >> 20} MB"
    if "skip initial" in message:
        return "no rows"
    return f"no table: {message[:200]}"
