"""Fixes of a table, applied only when somebody asks for them, in the one order in which they make sense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage.calendar_steps import CalendarStep
from storage.datasets.tables.table import DataTable
from storage.datasets.tables.validation import find_extreme_rows
from storage.placeholders import find_placeholder_rows
from storage.times import NO_TIME

# Rows that a table may have after gaps in time are filled.
MAX_FILLED_ROWS: Final = 5_000_000


def apply_fixes(table: DataTable, fixes: Sequence[str]) -> DataTable:
    """Return the table with the named fixes applied.

    Raises
    ------
    InvalidContent
        There is no such fix, or it does not suit this table.
    """
    if unknown := sorted(set(fixes) - set(FIXES)):
        raise InvalidContent(f"There is no fix {', '.join(unknown)}; there are: {', '.join(FIXES)}")
    if not fixes:
        raise InvalidContent(f"Name the fixes to apply: {', '.join(FIXES)}")
    for name, fix in FIXES.items():
        if name in fixes:
            table = fix(table)
    return table


class FixChanges(TypedDict):
    """What fixes change, one after the other."""

    rows_removed: int
    rows_added: int
    columns_removed: list[str]
    cells_filled: int
    cells_emptied: int


def preview_fixes(table: DataTable, fixes: Sequence[str]) -> tuple[DataTable, FixChanges]:
    """Return the table with the named fixes applied, and what each of them changed; errors as above."""
    original = table.columns
    changes = FixChanges(rows_removed=0, rows_added=0, columns_removed=[], cells_filled=0, cells_emptied=0)
    for name in sorted(fixes, key=lambda name: list(FIXES).index(name) if name in FIXES else 0):
        fixed = apply_fixes(table, [name])
        changes["rows_removed"] += max(0, table.rows - fixed.rows)
        changes["rows_added"] += max(0, fixed.rows - table.rows)
        if fixed.rows == table.rows and fixed.columns == table.columns:
            was_missing, is_missing = np.isnan(table.values), np.isnan(fixed.values)
            changes["cells_filled"] += int((was_missing & ~is_missing).sum())
            changes["cells_emptied"] += int((~was_missing & is_missing).sum())
        table = fixed
    changes["columns_removed"] = [name for name in original if name not in table.columns]
    return table, changes


def drop_unreadable_times(table: DataTable) -> DataTable:
    """Leave out rows whose time is unknown."""
    return _take_rows(table, np.flatnonzero(_times_of(table) != NO_TIME))


def sort_by_time(table: DataTable) -> DataTable:
    """Sort rows by time; rows of equal times keep their order."""
    return _take_rows(table, np.argsort(_times_of(table), kind="stable"))


def drop_duplicate_times(table: DataTable) -> DataTable:
    """Keep the last of the rows of equal times."""
    backwards = _times_of(table)[::-1]
    _, last = np.unique(backwards, return_index=True)
    return _take_rows(table, np.sort(table.rows - 1 - last))


def fill_missing_times(table: DataTable) -> DataTable:
    """Insert an empty row for every missing step."""
    times, step = _regular_times(table)
    steps = np.maximum(1, step.count(times)[0])
    rows = np.concatenate([[0], np.cumsum(steps)])
    count = int(rows[-1]) + 1
    _check_size(count)
    values = np.full((count, len(table.columns)), np.nan)
    values[rows] = table.values
    return replace(table, values=values, times=step.fill(times, rows))


def resample(table: DataTable) -> DataTable:
    """Interpolate values linearly on an even grid of the usual step."""
    times, step = _regular_times(table)
    _check_size(step.count_grid(times))
    grid = step.build_grid(times)
    # Relative to the first time, so that float64 holds the nanoseconds exactly.
    values = _interpolate(table, (times - times[0]).astype(float), (grid - times[0]).astype(float))
    return replace(table, values=values, times=grid, invalid_cells={})


def interpolate_missing(table: DataTable) -> DataTable:
    """Fill empty cells on the line between their neighbours, at the ends with the nearest value."""
    position = np.arange(table.rows, dtype=float)
    return replace(table, values=_interpolate(table, position, position), invalid_cells={})


def empty_extremes(table: DataTable) -> DataTable:
    """Empty cells that lie far from all others of their column."""
    values = np.array(table.values)
    for column in range(len(table.columns)):
        values[find_extreme_rows(values[:, column]), column] = np.nan
    return replace(table, values=values)


def empty_placeholders(table: DataTable) -> DataTable:
    """Empty cells whose number stands for a missing value."""
    values = np.array(table.values)
    for column in range(len(table.columns)):
        values[find_placeholder_rows(values[:, column]), column] = np.nan
    return replace(table, values=values)


def drop_constant_columns(table: DataTable) -> DataTable:
    """Leave out columns without two different values."""
    is_missing = np.isnan(table.values)
    highest = np.where(is_missing, -np.inf, table.values).max(axis=0)
    lowest = np.where(is_missing, np.inf, table.values).min(axis=0)
    varying = np.flatnonzero(highest > lowest)
    if not len(varying):
        raise InvalidContent("Every column is constant: there would be nothing left")
    names = tuple(table.columns[column] for column in varying)
    values = np.ascontiguousarray(table.values[:, varying])
    invalid = {name: cells for name, cells in table.invalid_cells.items() if name in names}
    return replace(table, columns=names, values=values, invalid_cells=invalid)


# By name, in the order of application: gaps can be filled only in sorted times without duplicates.
FIXES: Final[dict[str, Callable[[DataTable], DataTable]]] = {
    "drop_unreadable_timestamps": drop_unreadable_times,
    "sort_by_time": sort_by_time,
    "drop_duplicate_timestamps": drop_duplicate_times,
    "empty_placeholder_values": empty_placeholders,
    "empty_extreme_cells": empty_extremes,
    "fill_missing_timestamps": fill_missing_times,
    "resample": resample,
    "interpolate_missing_cells": interpolate_missing,
    "drop_constant_columns": drop_constant_columns,
}


def _interpolate(
    table: DataTable, positions: NDArray[np.float64], targets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interpolate every column at the target positions; a column without a number stays empty."""
    values = np.full((len(targets), len(table.columns)), np.nan)
    for column in range(len(table.columns)):
        cells = table.values[:, column]
        is_number = ~np.isnan(cells)
        if is_number.any():
            values[:, column] = np.interp(targets, positions[is_number], cells[is_number])
    return values


def _take_rows(table: DataTable, rows: NDArray[np.intp]) -> DataTable:
    """Return the table with these rows in this order, without the row numbers of invalid cells."""
    times = None if table.times is None else table.times[rows]
    return replace(table, values=table.values[rows], times=times, invalid_cells={})


def _times_of(table: DataTable) -> NDArray[np.int64]:
    if table.times is None:
        raise InvalidContent("There is no time column to repair")
    return table.times


def _regular_times(table: DataTable) -> tuple[NDArray[np.int64], CalendarStep]:
    times, step = _times_of(table), table.detect_step()
    if step is None or (times == NO_TIME).any() or (np.diff(times) <= 0).any():
        raise InvalidContent(
            "Times must be readable, in order and without duplicates before gaps can be filled: "
            "ask for drop_unreadable_timestamps, sort_by_time and drop_duplicate_timestamps too"
        )
    return times, step


def _check_size(rows: int) -> None:
    if rows > MAX_FILLED_ROWS:
        raise InvalidContent(f"The repaired table would have {rows:,} rows; {MAX_FILLED_ROWS:,} are allowed")
