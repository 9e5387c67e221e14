"""Read CSV uploads with Arrow: one rule for delimiters, decimal commas, missing cells and encodings."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
_MAX_NAMED: Final = 20
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_FOREIGN: Final = (b"<", b"[{", b"{")


@dataclass(frozen=True)
class CsvLayout:
    """What the first row of a CSV file tells.

    Parameters
    ----------
    first_row : list of str
        Its cells, usually the names of the columns.
    lines : int
        Lines of the file down to the end of that row, blank ones above it included.
    """

    first_row: list[str]
    delimiter: str
    lines: int

    @property
    def decimal_point(self) -> str:
        """A comma where semicolons separate the cells, as spreadsheets of many countries write it."""
        return "," if self.delimiter == ";" else "."


def read_layout(opened: IO[bytes]) -> CsvLayout:
    """Read the first row that is not blank.

    Raises
    ------
    InvalidContent
        The file does not begin like a table in UTF-8.
    """
    line = b"\n"
    while line and not line.strip():
        line = opened.readline(_MAX_HEADER_BYTES)
    if line.startswith(_UTF_16):
        raise InvalidContent("The file is UTF-16 text. Save it as UTF-8.")
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
        delimiter = detect_delimiter(line.decode("utf-8-sig"))
        with io.TextIOWrapper(opened, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, delimiter=delimiter)
            row = next((row for row in reader if any(cell.strip() for cell in row)), [])
    except UnicodeDecodeError as error:
        raise InvalidContent(
            f"The file is not UTF-8: byte {error.start + 1} cannot be read. Save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise InvalidContent(f"The line of column names cannot be read: {error}") from error
    return CsvLayout([cell.strip() for cell in row], delimiter, reader.line_num)


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

    if _is_blank_after(path, layout.lines):
        return
    names = layout.first_row
    types = dict.fromkeys(names, pa.string())
    yield from arrow_csv.open_csv(
        path,
        read_options=_read_options(names, layout.lines),
        parse_options=arrow_csv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=note_row),
        convert_options=arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False),
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
