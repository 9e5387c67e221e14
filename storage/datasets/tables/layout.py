"""Recognise tables in which a row is not one moment: dates and clocks in two columns, and long tables."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage import times
from storage.datasets.tables.column_names import MAX_COLUMNS
from storage.datasets.tables.table import DataTable

if TYPE_CHECKING:
    import pyarrow as pa

_CLOCK: Final = r"^\s*\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s*[AaPp][Mm])?\s*$"
_MIN_SHARE: Final = 0.8


def find_clock_column(block: pa.RecordBatch, date_column: str, time_format: str) -> str | None:
    """Return the column with the time of day that belongs to a column of dates without one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    read = times.to_nanoseconds(times.parse_timestamps(block.column(date_column), time_format))
    if (read[read != times.NO_TIME] % times.DAY_NS).any():
        return None
    # The names of such columns differ by language; what their cells look like does not.
    for name in map(str, block.schema.names):
        cells = block.column(name)
        if name == date_column or not pa.types.is_string(cells.type):
            continue
        is_clock = pc.match_substring_regex(cells, _CLOCK).fill_null(False)
        if pc.sum(is_clock).as_py() >= _MIN_SHARE * len(cells):
            return name
    return None


def join_clock(block: pa.RecordBatch, date_column: str, clock_column: str) -> pa.RecordBatch:
    """Return the block with dates and times of day in one column."""
    import pyarrow as pa
    import pyarrow.compute as pc

    dates, clocks = (pc.utf8_trim_whitespace(block.column(name)) for name in (date_column, clock_column))
    joined = pc.binary_join_element_wise(dates, clocks, " ")
    # A row without a time of day is not one of midnight.
    has_clock = pc.match_substring_regex(clocks, _CLOCK).fill_null(False)
    joined = pc.if_else(has_clock, joined, pc.binary_join_element_wise(joined, "?", " "))
    names = [name for name in block.schema.names if name != clock_column]
    columns = [joined if name == date_column else block.column(name) for name in names]
    return pa.RecordBatch.from_arrays(columns, names=names)


def find_key_column(block: pa.RecordBatch, row_times: NDArray[np.int64]) -> str | None:
    """Return the column of texts that tells rows of equal times apart, as in a table of tag and value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(np.unique(row_times)) == len(row_times):
        return None
    for name in map(str, block.schema.names):
        cells = block.column(name)
        if not pa.types.is_string(cells.type):
            continue
        encoded = cells.dictionary_encode()
        is_few = 2 <= len(encoded.dictionary) <= min(MAX_COLUMNS, len(cells) // 2)
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        # Equal times and equal names together would be real duplicates.
        pairs = np.unique(np.stack([row_times, codes]), axis=1).shape[1]
        # A column of repeated numbers is a measurement, not a name.
        is_number = pc.match_substring_regex(encoded.dictionary, r"^[+-]?[\d.,]+([eE][+-]?\d+)?$")
        if is_few and pairs == len(cells) and not pc.all(is_number).as_py():
            return name
    return None


def pivot(table: DataTable, codes: NDArray[np.int64], keys: list[str]) -> tuple[DataTable, int]:
    """Return a table with a row for each time and a column for each key, and how many cells were set twice.

    Parameters
    ----------
    codes : ndarray of int64, shape (rows,)
        Indices in ``keys`` of the rows; -1 where a row has none.

    Raises
    ------
    InvalidContent
        The table has no times, or there would be too many columns.
    """
    if table.times is None:
        raise InvalidContent("A table can be pivoted only by a time column and a column of names")
    names = [f"{key} {column}" if len(table.columns) > 1 else key for column in table.columns for key in keys]
    if len(names) > MAX_COLUMNS:
        raise InvalidContent(
            f"Pivoted, the table would have {len(names):,} columns; {MAX_COLUMNS:,} are allowed"
        )
    is_used = (codes >= 0) & (table.times != times.NO_TIME)
    moments, rows = np.unique(table.times[is_used], return_inverse=True)
    values = np.full((len(moments), len(names)), np.nan)
    for number in range(len(table.columns)):
        # Of two rows with one time and name the later one stays, as with other duplicates.
        values[rows, number * len(keys) + codes[is_used]] = table.values[is_used, number]
    pairs = len(np.unique(rows * len(keys) + codes[is_used]))
    pivoted = replace(table, columns=tuple(names), values=values, times=moments, invalid_cells={})
    return pivoted, int(is_used.sum()) - pairs
