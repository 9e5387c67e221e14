"""Read CSV uploads with Arrow: one rule for delimiters, decimal commas, missing cells and encodings."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from errors import InvalidContent
from storage.text.csv_layout import CsvLayout, find_layout
from storage.text.csv_rows import number_rows
from storage.text.numbers import MISSING_WORDS

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

# In the spellings that programs use: Arrow compares whole cells.
MISSING_CELLS: Final = sorted(
    {spelling(word) for word in MISSING_WORDS for spelling in (str, str.upper, str.title)} | {"NaN"}
)
BLOCK_BYTES: Final = 4 << 20
MAX_HEADER_BYTES: Final = 1 << 20
_SAMPLE_BYTES: Final = 64 << 10
_MAX_NAMED: Final = 20
_TAIL_BYTES: Final = 4 << 10
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
NAMELESS_CELL: Final = "The file has a cell in a column without a name: name the column"
_FOREIGN: Final = (b"<", b"[{", b"{")


def read_layout(opened: IO[bytes]) -> CsvLayout:
    """Find the table in the first lines of a CSV file.

    Raises
    ------
    InvalidContent
        The file does not begin like a table in UTF-8.
    """
    line = b"\n"
    while line and not line.strip():
        line = opened.readline(MAX_HEADER_BYTES)
    if line.startswith(_UTF_16):
        raise InvalidContent("The file is UTF-16 text. Save it as UTF-8, or send encoding=utf-16.")
    if b"\0" in line:
        raise InvalidContent("The file is no text: it holds NUL characters")
    if line.startswith(_FOREIGN):
        raise InvalidContent("The file is no table: it begins like JSON or a web page")
    if not line.strip(b" \r\n"):
        raise InvalidContent("The file is blank: its first line should name the columns")
    if len(line) == MAX_HEADER_BYTES:
        raise InvalidContent("The first line has more than a megabyte; it should name the columns")
    opened.seek(0)
    try:
        # The sample ends with the last whole line, so that no character is cut.
        sample = opened.read(MAX_HEADER_BYTES + _SAMPLE_BYTES)
        cut = sample.rfind(b"\n") + 1 if opened.read(1) else len(sample)
        return find_layout(sample[:cut].decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        raise InvalidContent(
            f"The file is not UTF-8 in line {number}: byte {error.start + 1} cannot be read. Save it as UTF-8, or send "
            "its encoding."
        ) from error
    except csv.Error as error:
        raise InvalidContent(
            f"The file cannot be read near {error}. Does a quote open there that is never closed?"
        ) from error
    except ValueError as error:
        raise InvalidContent("The file is blank: its first line should name the columns") from error


def has_bare_returns(start: bytes) -> bool:
    """Return whether lines end in a carriage return alone, as classic Mac programs and some loggers write them."""
    return b"\r" in start and b"\n" not in start


def unify_line_ends(content: bytes) -> bytes:
    """Return a small text with line feeds where its lines end in bare carriage returns; others unchanged."""
    return content.replace(b"\r", b"\n") if has_bare_returns(content) else content


def read_batches(path: Path, layout: CsvLayout) -> Iterator[pa.RecordBatch]:
    """Read a large table below its header, block by block, all cells as text.

    Raises
    ------
    InvalidContent
        Rows have more or fewer cells than the header; the first ones are named.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    broken = _BrokenRows()
    last_cell = ""
    if _is_blank_after(path, layout.skip_lines):
        return
    names = name_all(layout)
    nameless = [names[number] for number in layout.empty_columns]
    read = [*layout.columns, *nameless]
    types = dict.fromkeys(read, pa.string())
    for block in arrow_csv.open_csv(
        path,
        read_options=_read_options(names, layout.skip_lines),
        parse_options=arrow_csv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=broken.add),
        convert_options=arrow_csv.ConvertOptions(
            column_types=types, include_columns=read, strings_can_be_null=False
        ),
    ):
        # The layout knows the first lines only.
        if any(cell.strip() for name in nameless for cell in block.column(name).unique().to_pylist()):
            raise InvalidContent(NAMELESS_CELL)
        yield block.select(layout.columns)
        last_cell = block.column(block.num_columns - 1)[-1].as_py() if block.num_rows else last_cell
    if "\n" in last_cell and not _ends_with_quote(path):
        raise InvalidContent(f"A quote opens in the last row and is never closed: {last_cell[:40]!r}")
    if broken.first:
        with path.open(encoding="utf-8", errors="replace", newline="") as lines:
            faults = broken.describe(lines, layout.delimiter, layout.skip_lines)
        raise InvalidContent(f"The file is no table: {'; '.join(faults)}", validation_errors=faults)


def name_all(layout: CsvLayout) -> list[str]:
    """Return a name for each cell of a row, also where the column is left out."""
    return [name or f"\0{number}" for number, name in enumerate(layout.first_row)]


def read_columns(
    content: bytes, layout: CsvLayout, names: list[str], skip_lines: int, text_columns: Iterable[str] = ()
) -> tuple[dict[str, pa.Array], int]:
    """Read a small table whole; Arrow recognises numbers, times and texts.

    Parameters
    ----------
    text_columns : iterable of str
        Columns whose cells are texts whatever they look like: a label may be "none" or "1".

    Returns
    -------
    dict of str to Array, int
        The columns, and how many blank rows were left out.

    Raises
    ------
    InvalidContent
        It is no table.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    # Arrow would read blank rows as rows without numbers; in text, they differ from rows of "NaN".
    delimiter = re.escape(layout.delimiter.encode())
    rows, num_blank = re.subn(rb'(?m)^[ "]*%b[ "%b]*(\r?\n|\Z)' % (delimiter, delimiter), b"\n", content)
    broken = _BrokenRows()
    try:
        table = arrow_csv.read_csv(
            io.BytesIO(rows),
            read_options=_read_options(names, skip_lines),
            parse_options=arrow_csv.ParseOptions(delimiter=layout.delimiter, invalid_row_handler=broken.add),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(text_columns, pa.string()),
                null_values=MISSING_CELLS,
                decimal_point=layout.decimal_sign or ".",
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise InvalidContent(_explain(str(error))) from error
    if broken.first:
        lines = io.StringIO(rows.decode(errors="replace"), newline="")
        faults = broken.describe(lines, layout.delimiter, skip_lines)
        raise InvalidContent(f"no table: {'; '.join(faults)}")
    if not table.num_rows:
        raise InvalidContent("no rows")
    columns = {name: table.column(name).combine_chunks() for name in names}
    # Arrow reads text that is not UTF-8 as bytes instead of refusing it.
    if binary := [name for name, cells in columns.items() if pa.types.is_binary(cells.type)]:
        raise InvalidContent(f"column {binary[0][:60]!r} is not UTF-8. Save the file as UTF-8.")
    return columns, num_blank


def read_dicts(content: bytes) -> tuple[list[str], list[dict[str, str]]]:
    """Read the column names, in lower case, and the rows of a small CSV file.

    Raises
    ------
    InvalidContent
        It is no CSV text in UTF-8.
    """
    content = unify_line_ends(content)
    layout = read_layout(io.BytesIO(content))
    names = [name.lower() for name in layout.columns]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InvalidContent(f"it has the column {repeated[0][:60]!r} twice")
    try:
        text = io.StringIO(content.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidContent(f"not UTF-8: byte {error.start + 1}, in line {line}, cannot be read") from error
    columns = [number for number in range(len(layout.first_row)) if number not in layout.left_out]
    rows = []
    try:
        for line, row in number_rows(text, layout.delimiter, skip_lines=layout.skip_lines):
            if not any(cell.strip() for cell in row):
                continue
            if len(row) < len(layout.first_row) or any(row[len(layout.first_row) :]):
                raise InvalidContent(
                    f"line {line} has {len(row)} cells, the header has {len(layout.first_row)}"
                )
            if any(row[number].strip() for number in layout.empty_columns):
                raise InvalidContent(f"line {line} has a cell in a column without a name")
            rows.append({name: row[number].strip() for name, number in zip(names, columns, strict=True)})
    except csv.Error as error:
        raise InvalidContent(f"the text cannot be read near {error}") from error
    return names, rows


class _BrokenRows:
    """Rows with more or fewer cells than the header: the first ones, and the last one."""

    def __init__(self) -> None:
        self.first: list[arrow_csv.InvalidRow] = []
        self._last: arrow_csv.InvalidRow | None = None

    def add(self, row: arrow_csv.InvalidRow) -> str:
        """Remember a row, and tell Arrow to go on."""
        self._last = row
        if len(self.first) < _MAX_NAMED:
            self.first.append(row)
        return "skip"

    def describe(self, lines: Iterable[str], delimiter: str, skip_lines: int) -> list[str]:
        """Return what is wrong with each row of a text, with the line on which an editor shows it."""
        # A quote that nothing closes swallows the rest of the file, so that it can only be in the last row. It is the
        # cause of that row's number of cells.
        is_open = self._last is not None and str(self._last.text).count('"') % 2 == 1
        rows = [*self.first, self._last] if is_open else self.first
        wanted = {row.number: f"a row ({str(row.text)[:40]!r})" for row in rows if row is not None}
        # Like Arrow, `number_rows` counts no empty lines.
        numbered = enumerate(number_rows(lines, delimiter, skip_lines=skip_lines), skip_lines + 1)
        # Rows below a cell that is too long for csv are named by their beginning.
        with suppress(csv.Error):
            last = max(wanted)
            for number, (line, _) in takewhile(lambda item: item[0] <= last, numbered):
                if number in wanted:
                    wanted[number] = f"line {line}"
        if is_open and self._last is not None:
            return [f"a quote opens in {wanted[self._last.number]} and is never closed"]
        return [
            f"{wanted[row.number]} has {row.actual_columns} cells, the header has {row.expected_columns}"
            for row in self.first
        ]


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


def _ends_with_quote(path: Path) -> bool:
    with path.open("rb") as opened:
        opened.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return opened.read().rstrip().endswith(b'"')


def _explain(message: str) -> str:
    """Return Arrow's message; where it speaks of its own blocks, a sentence about the file."""
    if "straddling" in message:
        return f"no table: a line is longer than {BLOCK_BYTES >> 20} MB"
    if "skip initial" in message:
        return "no rows"
    return f"no table: {message[:200]}"
