"""Read uploaded files into tables, a block at a time: CSV (also gzipped) and Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from errors import BodyTooLarge, InvalidContent
from storage import times
from storage.datasets import csv_files
from storage.datasets.findings import MAX_NAMED, DatasetFinding
from storage.datasets.hints import UploadHints
from storage.datasets.tables import parquet
from storage.datasets.tables.column_names import MAX_COLUMNS, check_column_names, check_is_header
from storage.datasets.tables.layout import find_clock_column, find_key_column, join_clock, pivot
from storage.datasets.tables.plain_text import transcode, unify_line_ends, unpack_gzip
from storage.datasets.tables.table import DataTable
from storage.text.csv_headers import has_time_word
from storage.text.csv_layout import CsvLayout, count_of
from storage.text.encoding import describe_file_problem
from storage.text.numbers import (
    MISSING_WORDS,
    AmbiguousNumber,
    DecimalSign,
    describe_ambiguity,
    parse_number_text,
)
from storage.text.table_cells import to_json

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE_ROWS: Final = 500
_MAX_EXAMPLES: Final = 3
_NUMBER_BYTES: Final = 8
# How many times the upload limit its numbers may take: four characters become eight bytes.
_MAX_GROWTH: Final = 2
_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
# Spreadsheets, and %g, show six digits at most; times since 1970 have ten and more.
_SHORTENED: Final = r"^\d([.,]\d{1,5})?[eE]\+\d{2}$"
# Format of columns to which Parquet gives a time type.
_TIMESTAMP: Final = "timestamp"


def read_table(path: Path, max_bytes: int, hints: UploadHints | None = None) -> DataTable:
    """Read the numbers and times of an uploaded file.

    Parameters
    ----------
    max_bytes : int
        Most bytes a packed file may unfold to, and half of what the numbers of a table may take.
    hints : UploadHints, optional
        What the sender says: the order of dates, and by which column the table is pivoted.

    Raises
    ------
    InvalidContent
        It is no table: broken rows, a doubled column name, no numeric column.
    BodyTooLarge
        It unfolds to more than allowed.
    """
    import pyarrow as pa

    with path.open("rb") as opened:
        magic = opened.read(4)
    try:
        if magic == b"PAR1":
            return _TableReader(max_bytes, hints or UploadHints()).read(parquet.read_batches(path, max_bytes))
        if magic[:2] == b"\x1f\x8b":
            path = unpack_gzip(path, max_bytes)
        if hints is not None and hints.encoding != "utf-8":
            path = transcode(path, hints.encoding)
        path = unify_line_ends(path)
        with path.open("rb") as opened:
            layout = csv_files.read_layout(opened)
        check_column_names(layout.columns)
        check_is_header(layout.columns)
        reader = _TableReader(max_bytes, hints or UploadHints(), layout.decimal_sign)
        table = reader.read(csv_files.read_batches(path, layout))
        return replace(table, notes=(*_note_layout(layout), *table.notes))
    except MemoryError:  # Arrow's own is an ArrowException as well.
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # pyarrow reports a damaged file as an OSError without a number; one with a number is the disk's.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if "UTF8" in str(error):
            raise InvalidContent(f"The file {describe_file_problem(path)}, or send its encoding") from error
        raise InvalidContent(f"The file cannot be read as a table: {error}") from error


@dataclass
class _Column:
    """One column while it is read; whether it holds numbers or text shows only at the end.

    Parameters
    ----------
    blocks : list of ndarray
        Numbers as float64 (NaN where there is none), times as int64 nanoseconds.
    numbers, invalid, ambiguous : int
        How many cells are numbers, and how many are neither numbers nor empty; of the latter, how many would be
        numbers if it were known what their comma means.
    shortened : str, optional
        A cell of the first ones, where a spreadsheet has shortened all of them.
    rows, cells : list
        Row numbers and texts of the first invalid cells.
    """

    name: str
    time_format: str | None = None
    blocks: list[NDArray[np.float64] | NDArray[np.int64]] = field(default_factory=list)
    numbers: int = 0
    invalid: int = 0
    ambiguous: int = 0
    first_ambiguous: tuple[int, str] | None = None
    first_of_lines: tuple[int, str] | None = None
    shortened: str | None = None
    rows: list[int] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)

    @property
    def is_text(self) -> bool:
        """Whether more cells are invalid than are numbers."""
        return self.time_format is None and self.invalid > self.numbers

    def read(self, cells: pa.Array, rows_above: int, decimal_sign: DecimalSign | None) -> None:
        """Add a block of cells."""
        import pyarrow as pa

        if self.time_format is not None:
            if self.time_format != _TIMESTAMP:
                cells = times.parse_timestamps(cells, self.time_format)
            self.blocks.append(times.to_nanoseconds(cells))
        elif pa.types.is_string(cells.type):
            self.read_texts(cells, rows_above, decimal_sign)
        else:
            self.read_typed(cells, rows_above)

    def read_texts(self, cells: pa.Array, rows_above: int, decimal_sign: DecimalSign | None) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        text = pc.utf8_trim_whitespace(cells)
        words = pa.array(sorted(MISSING_WORDS))
        is_missing = pc.is_in(pc.utf8_lower(text), value_set=words).to_numpy(zero_copy_only=False)
        plain = text
        if decimal_sign == ",":
            # A point may stand between thousands here: such cells are read one by one below.
            has_point = pc.match_substring(text, ".")
            plain = pc.if_else(has_point, None, pc.replace_substring(text, ",", "."))
        is_number = pc.match_substring_regex(plain, _NUMBER).fill_null(False)
        # Arrow would raise an error for the whole column at the first text.
        values = pc.if_else(is_number, plain, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
        # 1e999 has the form of a number and is infinite.
        numbers = np.where(np.isinf(values), np.nan, values)
        is_invalid = np.isnan(numbers) & ~is_missing & ~cells.is_null().to_numpy(zero_copy_only=False)
        if not self.blocks:
            sample = _sample(text.drop_null())
            if len(sample) and pc.all(pc.match_substring_regex(sample, _SHORTENED)).as_py():
                self.shortened = sample[0].as_py()
        # A column of text has an invalid cell in every row; after a sample they are not looked at any more.
        if self.numbers + self.invalid < _SAMPLE_ROWS or not self.is_text:
            self.read_unusual(text, numbers, is_invalid, rows_above, decimal_sign)
            self.note_invalid(text, is_invalid, rows_above)
        self.numbers += int(np.isfinite(numbers).sum())
        self.blocks.append(numbers)

    def read_unusual(
        self,
        text: pa.Array,
        numbers: NDArray[np.float64],
        is_invalid: NDArray[np.bool_],
        rows_above: int,
        decimal_sign: DecimalSign | None,
    ) -> None:
        """Fill in the numbers of cells with signs between thousands, and clear their marks."""
        for position in np.flatnonzero(is_invalid).tolist():
            cell = text[position].as_py()
            try:
                numbers[position] = parse_number_text(cell, decimal_sign)
            except AmbiguousNumber:
                self.ambiguous += 1
                self.first_ambiguous = self.first_ambiguous or (rows_above + position + 1, cell)
            except ValueError:
                if "\n" in cell and self.first_of_lines is None:
                    self.first_of_lines = (rows_above + position + 1, cell)
        is_invalid &= ~np.isfinite(numbers)

    def read_typed(self, cells: pa.Array, rows_above: int) -> None:
        """Add a Parquet column with a type: numbers and truth values are taken, anything else is text."""
        import pyarrow as pa

        try:
            values = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            self.note_invalid(cells, np.isinf(values), rows_above)
            self.numbers += int(np.isfinite(values).sum())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            values = np.full(len(cells), np.nan)
            self.invalid += len(cells)
        self.blocks.append(np.where(np.isfinite(values), values, np.nan))

    def note_invalid(self, cells: pa.Array, is_invalid: NDArray[np.bool_], rows_above: int) -> None:
        positions = np.flatnonzero(is_invalid)
        self.invalid += len(positions)
        for position in positions[: MAX_NAMED - len(self.rows)]:
            self.rows.append(rows_above + int(position) + 1)
            self.cells.append(str(cells[int(position)])[:60])

    def check_is_clear(self) -> None:
        """Refuse a column of numbers where a cell may mean two numbers, or has swallowed lines of the file."""
        if self.first_of_lines is not None and not self.is_text:
            row, cell = self.first_of_lines
            raise InvalidContent(
                f"Row {row} of {self.name!r} spans several lines ({cell[:40]!r}): "
                "a quote opens there that nothing closes"
            )
        is_text = self.invalid - self.ambiguous > self.numbers + self.ambiguous
        if self.first_ambiguous is None or is_text:
            return
        row, cell = self.first_ambiguous
        raise InvalidContent(f"Row {row} of {self.name!r}: {describe_ambiguity(cell)}")

    def finding(self) -> DatasetFinding:
        """Return the finding about the invalid cells."""
        message = f"{count_of(self.invalid, 'cell')} no number in {self.name!r}"
        rows, cells, fix = tuple(self.rows), tuple(self.cells), "interpolate_missing_cells"
        return DatasetFinding("non_numeric_cells", message, self.invalid, rows, self.name, cells, fix)


def _note_layout(layout: CsvLayout) -> Iterator[DatasetFinding]:
    """Yield what is left out of a CSV file, so that nothing is dropped silently."""
    for code, message, count in layout.notes():
        values = tuple(layout.units[:MAX_NAMED]) if code == "unit_row" else ()
        yield DatasetFinding(code, message, count, values=values)


class _TableReader:
    """Builds a table block by block."""

    def __init__(self, max_bytes: int, hints: UploadHints, decimal_sign: DecimalSign | None = None) -> None:
        self.max_bytes = max_bytes
        self.hints = hints
        self.decimal_sign = decimal_sign
        self.columns: list[_Column] = []
        self.rows = 0
        self.blank_rows = 0
        self.notes: list[DatasetFinding] = []
        self.date_and_clock: tuple[str, str] | None = None
        self.keys: dict[str, int] = {}
        self.codes: list[NDArray[np.int64]] = []

    def read(self, blocks: Iterator[pa.RecordBatch]) -> DataTable:
        """Read all blocks."""
        for block in blocks:
            self.read_block(block)
            if self.rows * len(self.columns) * _NUMBER_BYTES > _MAX_GROWTH * self.max_bytes:
                raise BodyTooLarge(
                    f"The numbers of the table take more than {_MAX_GROWTH * self.max_bytes / 1e6:g} MB"
                )
        if not self.rows:
            raise InvalidContent("The table has no rows")
        if self.blank_rows:
            message = f"{count_of(self.blank_rows, 'row')} blank and left out; rows are counted without them"
            self.notes.append(DatasetFinding("blank_rows", message, self.blank_rows))
        table = _build_table(self.columns, self.rows, self.hints.time_column)
        if self.hints.pivot_by:
            table, doubled = pivot(table, np.concatenate(self.codes), list(self.keys))
            if doubled:
                message = (
                    f"{count_of(doubled, 'row')} of a time and name that another row has; the last one counts"
                )
                self.notes.append(DatasetFinding("pivot_duplicates", message, doubled))
        return replace(table, notes=tuple(self.notes))

    def read_block(self, block: pa.RecordBatch) -> None:
        """Add a block, without its blank rows."""
        is_blank = _find_blank_rows(block)
        if is_blank.any():
            self.blank_rows += int(is_blank.sum())
            block = block.take(np.flatnonzero(~is_blank))
        if not self.columns:
            self.find_date_and_clock(block)
        if self.date_and_clock:
            block = join_clock(block, *self.date_and_clock)
        if self.hints.pivot_by:
            block = self.take_keys(block, self.hints.pivot_by)
        if not self.columns:
            self.start_columns(block)
        for column, cells in zip(self.columns, block.columns, strict=True):
            column.read(cells, self.rows, self.decimal_sign)
        self.rows += block.num_rows

    def find_date_and_clock(self, block: pa.RecordBatch) -> None:
        """Find dates and times of day in two columns."""
        import pyarrow as pa

        for name in _order_by_name(block.schema.names):
            cells = block.column(name)
            if not pa.types.is_string(cells.type) or self.hints.time_column not in (None, name):
                continue
            time_format = times.detect_format(_sample(cells), self.hints.date_order)
            if time_format is None:
                continue
            if clock := find_clock_column(block, name, time_format):
                self.date_and_clock = (name, clock)
                message = f"{name!r} and {clock!r} are read as one time column"
                self.notes.append(DatasetFinding("joined_date_and_time", message, 1, column=name))
            return

    def take_keys(self, block: pa.RecordBatch, name: str) -> pa.RecordBatch:
        """Take the column out by which the table is pivoted."""
        if name not in block.schema.names:
            raise InvalidContent(f"pivot_by names {name!r}; the columns are: {', '.join(block.schema.names)}")
        keys = [_to_key(cell) for cell in block.column(name).to_pylist()]
        for key in keys:
            self.keys.setdefault(key, len(self.keys))
        if len(self.keys) > MAX_COLUMNS + 1:
            raise InvalidContent(f"{name!r} has more than {MAX_COLUMNS:,} different names to pivot by")
        self.codes.append(np.array([self.keys[key] for key in keys], dtype=np.int64))
        return block.drop_columns([name])

    def start_columns(self, block: pa.RecordBatch) -> None:
        """Create the columns; the first one that reads as timestamps is the time column.

        Columns that are named like a time come first: dates may name devices as well.
        """
        import pyarrow as pa

        chosen = self.hints.time_column
        if chosen is not None and chosen not in block.schema.names:
            raise InvalidContent(
                f"time_column names {chosen!r}; the columns are: {', '.join(block.schema.names)}"
            )
        has_time = False
        columns = {}
        for name in _order_by_name(block.schema.names):
            cells, time_format = block.column(name), None
            may_be_time = not has_time and chosen in (None, name)
            if may_be_time and (pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type)):
                time_format = _TIMESTAMP
            elif may_be_time and pa.types.is_string(cells.type):
                sample = _sample(cells)
                time_format = times.detect_format(sample, self.hints.date_order)
                if time_format and not self.hints.date_order and times.is_date_order_ambiguous(sample):
                    self.note_date_order(name, str(sample[0]), time_format)
                if time_format and not self.hints.pivot_by:
                    self.note_long_table(name, block, time_format)
            has_time = has_time or time_format is not None
            columns[name] = _Column(name, time_format)
        self.columns = [columns[name] for name in block.schema.names]

    def note_long_table(self, column: str, block: pa.RecordBatch, time_format: str) -> None:
        """Tell that rows of one time are several values, which no fix for duplicates should remove."""
        row_times = times.to_nanoseconds(times.parse_timestamps(block.column(column), time_format))
        key = find_key_column(block.drop_columns([column]), row_times)
        if key is not None:
            message = f"Rows of one time differ in {key!r}: send pivot_by={key} to get a column for each of its names"
            self.notes.append(DatasetFinding("long_table", message, 1, column=key))

    def note_date_order(self, column: str, example: str, time_format: str) -> None:
        """Tell which order was taken where both could be meant."""
        order, alternative = ("day", "month") if time_format.startswith("%d") else ("month", "day")
        message = (
            f"Dates in {column!r} such as {example[:30]} are read with the {order} first; "
            f"send date_order={alternative} if the {alternative} comes first"
        )
        self.notes.append(DatasetFinding("assumed_date_order", message, 1, column=column))


def _to_key(cell: object) -> str:
    """Return the name in a cell; a whole number has no decimals, also in a Parquet column of floats."""
    return "" if cell is None else str(to_json(cell)).strip()


def _order_by_name(names: Sequence[str]) -> list[str]:
    """Return the names of columns, those that are named like a time first."""
    return sorted(names, key=lambda name: not has_time_word(name))


def _sample(cells: pa.Array) -> pa.Array:
    """Return some cells of a whole block: the first days of a month do not tell days from months."""
    return cells.take(np.unique(np.linspace(0, max(len(cells) - 1, 0), _SAMPLE_ROWS).astype(np.int64)))


def _find_blank_rows(block: pa.RecordBatch) -> NDArray[np.bool_]:
    """Mark rows whose cells are all empty texts or null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_blank: NDArray[np.bool_] = np.ones(block.num_rows, dtype=bool)
    for cells in block.columns:
        is_empty = cells.is_null()
        if pa.types.is_string(cells.type):
            is_empty = pc.or_(is_empty, pc.equal(pc.utf8_trim_whitespace(cells), "").fill_null(True))
        is_blank &= is_empty.to_numpy(zero_copy_only=False)
        if not is_blank.any():
            break
    return is_blank


def _build_table(columns: list[_Column], rows: int, time_column: str | None = None) -> DataTable:
    time = next((column for column in columns if column.time_format), None) or _find_epoch_column(
        [column for column in columns if time_column in (None, column.name)]
    )
    if time is None and time_column is not None:
        raise InvalidContent(f"The column {time_column!r} does not read as times: choose another time_column")
    columns = [column for column in columns if time is None or column.name != time.name]
    for column in columns:
        column.check_is_clear()
    numeric = [column for column in columns if not column.is_text]
    if not numeric:
        examples = [f"{column.name!r} holds {column.cells[0]!r}" for column in columns if column.cells]
        content = f": {', '.join(examples[:_MAX_EXAMPLES])}" if examples else ""
        raise InvalidContent(f"The table has no numeric column, so there is nothing to learn{content}")
    values = np.empty((rows, len(numeric)))
    for number, column in enumerate(numeric):
        values[:, number] = np.concatenate(column.blocks)
        # Free each column as it is copied: two copies of the table would not fit into memory.
        column.blocks.clear()
    return DataTable(
        columns=tuple(column.name for column in numeric),
        values=values,
        times=np.concatenate(time.blocks).astype(np.int64) if time else None,
        time_column=time.name if time else None,
        time_format=time.time_format if time else None,
        texts=tuple(column.name for column in columns if column.is_text),
        invalid_cells={column.name: column.finding() for column in columns if column.invalid},
    )


def _find_epoch_column(columns: list[_Column]) -> _Column | None:
    """Find a column with the name of a time that counts seconds to nanoseconds since 1970."""
    for column in columns:
        numbers = np.concatenate(column.blocks).astype(np.float64, copy=False)
        unit = None if column.is_text else times.epoch_unit(column.name, numbers)
        if unit is not None:
            if column.shortened:
                raise InvalidContent(
                    f"The times in {column.name!r} are numbers that a spreadsheet has shortened "
                    f"({column.shortened}), so that different times became one: format the column as text and "
                    "export the table again"
                )
            is_number = np.isfinite(numbers)
            # Seconds since 1970 as floats are exact to a microsecond, which arithmetic on them would blur.
            scale = min(unit, 1000)
            counts = np.round(np.where(is_number, numbers, 0) * float(unit // scale)).astype(np.int64) * scale
            return _Column(column.name, "epoch", [np.where(is_number, counts, times.NO_TIME)])
    return None
