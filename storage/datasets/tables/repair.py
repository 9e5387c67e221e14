"""Fixes of a table, applied only when somebody asks for them, in the one order in which they make sense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from storage.datasets.tables.table import NO_TIME, DataTable
from storage.datasets.tables.validation import find_extreme_rows

MOST_FILLED: Final = 5_000_000
"""Rows a table may have after gaps in time were filled."""


def apply_fixes(table: DataTable, fixes: Sequence[str]) -> DataTable:
    """The table with the named fixes applied.

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


def _drop_unreadable(table: DataTable) -> DataTable:
    """Leave out rows whose time is unknown."""
    return _rows(table, np.flatnonzero(_times(table) != NO_TIME))


def _sort(table: DataTable) -> DataTable:
    """Rows in order of time; rows of one time keep their order."""
    return _rows(table, np.argsort(_times(table), kind="stable"))


def _drop_duplicates(table: DataTable) -> DataTable:
    """Of the rows of one time, the last one."""
    backwards = _times(table)[::-1]
    _, last = np.unique(backwards, return_index=True)
    return _rows(table, np.sort(table.rows - 1 - last))


def _fill_gaps(table: DataTable) -> DataTable:
    """An empty row for every missing step of the usual distance."""
    times, step = _regular(table)
    steps = np.maximum(1, np.round(np.diff(times) / step).astype(np.int64))
    places = np.concatenate([[0], np.cumsum(steps)])
    _check_size(int(places[-1]) + 1)
    count = int(places[-1]) + 1
    values = np.full((count, len(table.columns)), np.nan)
    values[places] = table.values
    filled = times[0] + np.round(np.interp(np.arange(count), places, (times - times[0]).astype(float)))
    made = filled.astype(np.int64)
    made[places] = times
    return replace(table, values=values, times=made)


def _resample(table: DataTable) -> DataTable:
    """Values on an even grid of the usual distance, linear between the neighbours."""
    times, step = _regular(table)
    _check_size(int((times[-1] - times[0]) // step) + 1)
    grid = np.arange(times[0], times[-1] + 1, step)
    since, wanted = (times - times[0]).astype(float), (grid - times[0]).astype(float)
    columns = [_linear(since, table.values[:, place], wanted) for place in range(len(table.columns))]
    return replace(table, values=np.stack(columns, axis=1), times=grid, faults={})


def _interpolate(table: DataTable) -> DataTable:
    """Empty cells filled on the line between their neighbours, at the ends with the nearest value."""
    position = np.arange(table.rows, dtype=float)
    columns = [_linear(position, table.values[:, place], position) for place in range(len(table.columns))]
    return replace(table, values=np.stack(columns, axis=1), faults={})


def _empty_extremes(table: DataTable) -> DataTable:
    """Cells far from all others of their column are emptied."""
    values = np.array(table.values)
    for place in range(len(table.columns)):
        values[find_extreme_rows(values[:, place]), place] = np.nan
    return replace(table, values=values)


def _drop_constant(table: DataTable) -> DataTable:
    """Leave out columns without two different values."""
    filled = np.where(np.isnan(table.values), -np.inf, table.values)
    highest = filled.max(axis=0)
    lowest = np.where(np.isnan(table.values), np.inf, table.values).min(axis=0)
    kept = np.flatnonzero(highest > lowest)
    if not len(kept):
        raise InvalidContent("Every column is constant: there would be nothing left")
    names = tuple(table.columns[place] for place in kept)
    faults = {name: fault for name, fault in table.faults.items() if name in names}
    return replace(table, columns=names, values=np.ascontiguousarray(table.values[:, kept]), faults=faults)


FIXES: Final[dict[str, Callable[[DataTable], DataTable]]] = {
    "drop_unreadable_timestamps": _drop_unreadable,
    "sort_by_time": _sort,
    "drop_duplicate_timestamps": _drop_duplicates,
    "empty_extreme_cells": _empty_extremes,
    "fill_missing_timestamps": _fill_gaps,
    "resample": _resample,
    "interpolate_missing_cells": _interpolate,
    "drop_constant_columns": _drop_constant,
}


def _linear(
    known_at: NDArray[np.float64], values: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    known = ~np.isnan(values)
    if not known.any():
        return np.full(len(wanted), np.nan)
    return np.interp(wanted, known_at[known], values[known])


def _rows(table: DataTable, kept: NDArray[np.intp]) -> DataTable:
    """The table with these rows in this order. Row numbers of faults are no longer true, so they go."""
    times = None if table.times is None else table.times[kept]
    return replace(table, values=table.values[kept], times=times, faults={})


def _times(table: DataTable) -> NDArray[np.int64]:
    if table.times is None:
        raise InvalidContent("There is no time column to mend")
    return table.times


def _regular(table: DataTable) -> tuple[NDArray[np.int64], int]:
    times, step = _times(table), table.frequency_ns
    if step is None or (times == NO_TIME).any() or (np.diff(times) <= 0).any():
        raise InvalidContent(
            "Times must be readable, in order and without duplicates before gaps can be filled: "
            "ask for drop_unreadable_timestamps, sort_by_time and drop_duplicate_timestamps too"
        )
    return times, step


def _check_size(rows: int) -> None:
    if rows > MOST_FILLED:
        raise InvalidContent(f"The mended table would have {rows:,} rows; {MOST_FILLED:,} are allowed")
