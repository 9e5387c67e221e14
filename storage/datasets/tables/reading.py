"""Uploaded files into tables, a block at a time: CSV (also gzipped) and Parquet."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from errors import BodyTooLarge, InvalidContent
from storage import times
from storage.datasets.tables import column_names as column_names_module
from storage.datasets.tables import parquet
from storage.datasets.tables.table import NO_TIME, DataTable, InvalidCells

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK: Final = 4 << 20
_SAMPLE: Final = 500
_NAMED: Final = 20
"""Rows of a fault that are named one by one."""
_MISSING: Final = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "none", "-", "?")
_NUMBER_BYTES: Final = 8
_LARGEST_GROWTH: Final = 2
"""So many times the limit of an upload its numbers may take: four characters become eight bytes."""
_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"


def read_table(path: Path, max_bytes: int) -> DataTable:
    """The numbers and times of an uploaded file.

    Parameters
    ----------
    largest_bytes : int
        Most bytes a packed file may unfold to, and half of what the numbers of a table may take.

    Raises
    ------
    InvalidContent
        It is no table: broken rows, a doubled column name, no numeric column.
    BodyTooLarge
        It unfolds to more than allowed.
    """
    import pyarrow as pa

    with path.open("rb") as opened:
        start = opened.read(4)
    try:
        if start == b"PAR1":
            return _gathered(parquet.blocks(path, max_bytes), max_bytes, decimal_comma=False)
        if start[:2] == b"\x1f\x8b":
            path = _unfolded(path, max_bytes)
        delimiter = column_names_module.delimiter_of(path)
        return _gathered(_csv_blocks(path, delimiter), max_bytes, decimal_comma=delimiter == ";")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault; pyarrow calls a damaged file an OSError without a number
        raise InvalidContent(f"The file cannot be read as a table: {error}") from error


def _unfolded(path: Path, max_bytes: int) -> Path:
    """The gzipped file's content beside it, if it stays within bounds."""
    target = path.with_name(f"{path.name}.csv")
    size = 0
    try:
        with gzip.open(path) as packed, target.open("wb") as plain:
            while block := packed.read(1 << 20):
                size += len(block)
                if size > max_bytes:
                    raise BodyTooLarge(f"The file unfolds to more than {max_bytes / 1e6:g} MB")
                plain.write(block)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InvalidContent(f"The gzip file is damaged: {error}") from error
    return target


def _csv_blocks(path: Path, delimiter: str) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names, lines = column_names_module.read_column_names(path, delimiter)
    broken: list[str] = []

    def note(row: Any) -> str:
        if len(broken) < _NAMED:
            line = f"line {row.number}" if row.number else "a line"
            broken.append(f"{line} has {row.actual_columns} cells, the header has {row.expected_columns}")
        return "skip"

    if _ends_after(path, lines):
        return
    reader = arrow_csv.open_csv(
        path,
        read_options=arrow_csv.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=names, skip_rows=lines
        ),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, invalid_row_handler=note),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    yield from reader
    if broken:
        raise InvalidContent(f"The file is no table: {'; '.join(broken)}", validation_errors=broken)


def _ends_after(path: Path, lines: int) -> bool:
    """Whether nothing but blank lines comes below the column names, which Arrow cannot read."""
    with path.open("rb") as opened:
        for _ in range(lines):
            opened.readline()
        return not any(line.strip() for line in iter(lambda: opened.readline(_BLOCK), b""))


@dataclass
class _Column:
    """One column while it is read: whatever it turns out to be, its cells are kept once."""

    name: str
    time_format: str | None = None
    blocks: list[NDArray[Any]] = field(default_factory=list)
    numbers: int = 0
    wrong: int = 0
    rows: list[int] = field(default_factory=list)
    values: list[str] = field(default_factory=list)

    @property
    def is_time(self) -> bool:
        return self.time_format is not None

    @property
    def is_text(self) -> bool:
        """More cells that are no numbers than cells that are."""
        return not self.is_time and self.wrong > self.numbers

    def whole(self) -> NDArray[Any]:
        return np.concatenate(self.blocks)


def _gathered(blocks: Iterator[pa.RecordBatch], max_bytes: int, *, decimal_comma: bool) -> DataTable:
    columns: list[_Column] = []
    rows = 0
    for block in blocks:
        columns = columns or _opened(block)
        for column, cells in zip(columns, block.columns, strict=True):
            _take(column, cells, rows, decimal_comma)
        rows += block.num_rows
        if rows * len(columns) * _NUMBER_BYTES > _LARGEST_GROWTH * max_bytes:
            raise BodyTooLarge(
                f"The numbers of the table take more than {_LARGEST_GROWTH * max_bytes / 1e6:g} MB"
            )
    if not rows:
        raise InvalidContent("The table has no rows")
    return _table(columns, rows)


def _opened(block: pa.RecordBatch) -> list[_Column]:
    """The columns; the first one that reads as timestamps is the time."""
    import pyarrow as pa

    columns = []
    found = False
    for name, cells in zip(block.schema.names, block.columns, strict=True):
        kind = None
        if not found and (pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type)):
            kind = "timestamp"
        elif not found and pa.types.is_string(cells.type):
            kind = times.detect_format(_spread(cells))
        found = found or kind is not None
        columns.append(_Column(name, kind))
    return columns


def _spread(cells: pa.Array) -> pa.Array:
    """Some cells from everywhere in a block: the first hours of a month do not tell days from months."""
    return cells.take(np.unique(np.linspace(0, max(len(cells) - 1, 0), _SAMPLE).astype(np.int64)))


def _take(column: _Column, cells: pa.Array, before: int, decimal_comma: bool) -> None:
    import pyarrow as pa

    if column.is_time:
        if column.time_format != "timestamp":
            cells = times.parse(cells, column.time_format or "")
        column.blocks.append(parquet.nanoseconds(cells))
    elif pa.types.is_string(cells.type):
        column.blocks.append(_numbers(column, cells, before, decimal_comma))
    else:
        _take_typed(column, cells, before)


def _take_typed(column: _Column, cells: pa.Array, before: int) -> None:
    """A column that Parquet gives a type: numbers and truth values are taken, anything else is text."""
    import pyarrow as pa

    try:
        block = cells.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        _note_wrong(column, cells, np.isinf(block), before)
        column.numbers += int(np.isfinite(block).sum())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        block = np.full(len(cells), np.nan)
        column.wrong += len(cells)
    column.blocks.append(np.where(np.isfinite(block), block, np.nan))


def _numbers(column: _Column, cells: pa.Array, before: int, decimal_comma: bool) -> NDArray[np.float64]:
    """The cells' numbers, NaN where there is none; cells that are neither are noted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(cells)
    missing = pc.is_in(text, value_set=pa.array(_MISSING)).to_numpy(zero_copy_only=False)
    plain = pc.replace_substring(text, ",", ".") if decimal_comma else text
    good = pc.match_substring_regex(plain, _NUMBER).fill_null(False)
    read = pc.if_else(good, plain, None).cast(pa.float64()).to_numpy(zero_copy_only=False)
    numbers: NDArray[np.float64] = np.where(np.isinf(read), np.nan, read)  # 1e999 is no number
    wrong = np.isnan(numbers) & ~missing & ~cells.is_null().to_numpy(zero_copy_only=False)
    if column.numbers + column.wrong < _SAMPLE or not column.is_text:
        _note_wrong(column, text, wrong, before)
    column.numbers += int(np.isfinite(numbers).sum())
    return numbers


def _note_wrong(column: _Column, cells: pa.Array, wrong: NDArray[np.bool_], before: int) -> None:
    positions = np.flatnonzero(wrong)
    column.wrong += len(positions)
    for position in positions[: _NAMED - len(column.rows)]:
        column.rows.append(before + int(position) + 1)
        column.values.append(str(cells[int(position)])[:60])


def _table(columns: list[_Column], rows: int) -> DataTable:
    time = next((column for column in columns if column.is_time), None) or _epoch(columns)
    columns = [column for column in columns if time is None or column.name != time.name]
    numeric = [column for column in columns if not column.is_text]
    if not numeric:
        raise InvalidContent("The table has no numeric column, so there is nothing to learn")
    values = np.empty((rows, len(numeric)))
    for place, column in enumerate(numeric):
        values[:, place] = column.whole()
        column.blocks.clear()
    return DataTable(
        columns=tuple(column.name for column in numeric),
        values=values,
        times=time.whole() if time else None,
        time_column=time.name if time else None,
        time_format=time.time_format if time else None,
        texts=tuple(column.name for column in columns if column.is_text),
        faults={c.name: InvalidCells(c.wrong, tuple(c.rows), tuple(c.values)) for c in columns if c.wrong},
    )


def _epoch(columns: list[_Column]) -> _Column | None:
    """A numeric column of that name that counts seconds, milli-, micro- or nanoseconds since 1970."""
    for column in columns:
        numbers = column.whole()
        unit = None if column.is_text else times.epoch_unit(column.name, numbers)
        if unit is not None:
            known = np.isfinite(numbers)
            moments = np.where(known, np.where(known, numbers, 0) * float(unit), NO_TIME)
            return _Column(column.name, "epoch", [moments.astype(np.int64)])
    return None
