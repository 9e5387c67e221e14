"""What is wrong with a table, in which rows, and which fix would help. Nothing is mended here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from storage.datasets.tables.table import (
    NO_TIME,
    DataTable,
    InvalidCells,
    format_nanoseconds,
    step_tolerance,
)

MAX_NAMED_ROWS: Final = 20
"""Rows of a finding that are named one by one; all are counted."""
FAR: Final = 300
"""So many times farther from the median than most cells of its column, a cell is told as extreme."""
_TEXTS_NAMED: Final = 5
_MOST: Final = 95.0
_PRECISION: Final = 1e-9


@dataclass(frozen=True)
class DatasetFinding:
    """One kind of fault.

    Parameters
    ----------
    rows : tuple of int
        The first data rows concerned, counted from 1: the first row below the header is row 1.
    fix : str, optional
        The fix that would mend it, applied only when somebody asks for it.
    """

    code: str
    message: str
    count: int
    rows: tuple[int, ...] = ()
    column: str | None = None
    values: tuple[str, ...] = ()
    fix: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON."""
        return {**asdict(self), "rows": list(self.rows), "values": list(self.values)}


def validate_table(table: DataTable) -> list[DatasetFinding]:
    """Every finding, those about time first."""
    return [*_about_time(table), *_about_cells(table)]


def _about_time(table: DataTable) -> list[DatasetFinding]:
    if table.times is None:
        message = (
            "There is no time column: rows are taken as evenly spaced, and forecasts have no timestamps."
        )
        return [DatasetFinding("no_time_column", message, 1)]
    readable = np.flatnonzero(table.times != NO_TIME)
    return [
        *_unreadable(table),
        *_unordered(table.times[readable], readable),
        *_duplicates(table.times[readable], readable),
        *_steps(table, np.flatnonzero(table.times != NO_TIME)),
    ]


def _unreadable(table: DataTable) -> list[DatasetFinding]:
    assert table.times is not None
    rows = np.flatnonzero(table.times == NO_TIME)
    message = f"{_counted(rows, 'timestamp')} in {table.time_column!r} missing or unreadable"
    return _found(
        "unreadable_timestamps", message, rows, column=table.time_column, fix="drop_unreadable_timestamps"
    )


def _unordered(times: NDArray[np.int64], rows: NDArray[np.intp]) -> list[DatasetFinding]:
    late = rows[1:][np.diff(times) < 0]
    message = f"{_counted(late, 'row')} earlier than the row above"
    return _found("unordered_timestamps", message, late, fix="sort_by_time")


def _duplicates(times: NDArray[np.int64], rows: NDArray[np.intp]) -> list[DatasetFinding]:
    order = np.argsort(times, kind="stable")
    again = np.sort(rows[order[1:][np.diff(times[order]) == 0]])
    message = f"{_counted(again, 'row')} of a time that an earlier row has too"
    return _found("duplicate_timestamps", message, again, fix="drop_duplicate_timestamps")


def _steps(table: DataTable, readable: NDArray[np.intp]) -> list[DatasetFinding]:
    """Gaps (a whole number of steps is missing) and steps that fit no rhythm, in order of time."""
    assert table.times is not None
    step = table.frequency_ns
    if step is None:
        return []
    order = readable[np.argsort(table.times[readable], kind="stable")]
    steps = np.diff(table.times[order])
    whole = np.round(steps / step)
    regular = np.abs(steps - whole * step) <= step_tolerance(step)
    gap, odd = (regular & (whole > 1)), (~regular & (steps > 0))
    lost = int((whole[gap] - 1).sum())
    examples = tuple(
        f"{format_nanoseconds(table.times[order[i]])}: {int(whole[i] - 1)} missing"
        for i in np.flatnonzero(gap)[:5]
    )
    gaps = _found(
        "missing_timestamps", f"{_are(lost, 'timestamp')} missing, behind the rows named",
        order[:-1][gap], fix="fill_missing_timestamps", values=examples,
    )  # fmt: skip
    message = f"{_counted(order[1:][odd], 'row')} no whole number of {step / 1e9:g} s steps behind another"
    return gaps + _found("irregular_timestamps", message, order[1:][odd], fix="resample")


def _about_cells(table: DataTable) -> list[DatasetFinding]:
    found = []
    for place, name in enumerate(table.columns):
        cells = table.values[:, place]
        if fault := table.faults.get(name):
            message = f"{_are(fault.count, 'cell')} no number in {name!r}"
            fix = "interpolate_missing_cells"
            found.append(
                DatasetFinding("non_numeric_cells", message, fault.count, fault.rows, name, fault.values, fix)
            )
        found += _missing(name, cells, fault.count if fault else 0, set(fault.rows) if fault else set())
        found += _constant(name, cells)
        found += _extreme(name, cells)
    return found + [_text(name, table.faults[name]) for name in table.texts if name in table.faults]


def find_extreme_rows(cells: NDArray[np.floating], times: float = FAR) -> NDArray[np.intp]:
    """Rows whose cell is so many times farther from the median than 95 of 100 cells that differ from it."""
    known = cells[~np.isnan(cells)]
    if not len(known):
        return np.zeros(0, dtype=np.intp)
    with np.errstate(over="ignore"):
        middle = float(np.median(known))
        far = np.abs(cells - middle)
        differing = far[far > _PRECISION * abs(middle)]
        usual = float(np.percentile(differing, _MOST)) if len(differing) else np.inf
        return np.flatnonzero(far > times * usual)


def _extreme(name: str, cells: NDArray[np.float64]) -> list[DatasetFinding]:
    rows = find_extreme_rows(cells)
    message = (
        f"{_are(len(rows), 'cell')} over {FAR:,} times as far from the middle of {name!r} as most others: "
        "the rest may not be learnt beside such values"
    )
    values = tuple(f"{cells[row]:g}" for row in rows[:MAX_NAMED_ROWS])
    return _found("extreme_cells", message, rows, column=name, fix="empty_extreme_cells", values=values)


def _text(name: str, fault: InvalidCells) -> DatasetFinding:
    """A column that is left out, with the first cells that are no numbers."""
    rows, values = fault.rows[:_TEXTS_NAMED], fault.values[:_TEXTS_NAMED]
    return DatasetFinding(
        "text_column", f"{name!r} holds text, so it cannot be learnt from", 1, rows, name, values
    )


def _missing(name: str, cells: NDArray[np.float64], wrong: int, named: set[int]) -> list[DatasetFinding]:
    """Empty cells, without those that were named as being no numbers."""
    rows = np.flatnonzero(np.isnan(cells))
    count = len(rows) - wrong
    if count <= 0:
        return []
    first = tuple(int(row) + 1 for row in rows[: MAX_NAMED_ROWS + len(named)] if int(row) + 1 not in named)[
        :MAX_NAMED_ROWS
    ]
    message = f"{_are(count, 'cell')} empty in {name!r}"
    return [DatasetFinding("missing_cells", message, count, first, name, (), "interpolate_missing_cells")]


def _constant(name: str, cells: NDArray[np.float64]) -> list[DatasetFinding]:
    known = cells[~np.isnan(cells)]
    if len(known) and known.min() != known.max():
        return []
    said = f"always {known[0]:g}" if len(known) else "empty"
    return [
        DatasetFinding("constant_column", f"{name!r} is {said}", 1, (), name, (), "drop_constant_columns")
    ]


def _found(
    code: str,
    message: str,
    rows: NDArray[np.intp],
    *,
    column: str | None = None,
    fix: str | None = None,
    values: tuple[str, ...] = (),
) -> list[DatasetFinding]:
    if not len(rows):
        return []
    return [
        DatasetFinding(
            code, message, len(rows), tuple(int(r) + 1 for r in rows[:MAX_NAMED_ROWS]), column, values, fix
        )
    ]


def _counted(rows: NDArray[np.intp], noun: str) -> str:
    return _are(len(rows), noun)


def _are(count: int, noun: str) -> str:
    return f"1 {noun} is" if count == 1 else f"{count} {noun}s are"
