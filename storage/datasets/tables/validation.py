"""Find what is wrong with a table, in which rows, and which fix would help. Nothing is changed here."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from storage.calendar_steps import CalendarStep, StepKind
from storage.datasets.findings import MAX_NAMED, DatasetFinding, list_rows
from storage.datasets.tables.table import DataTable
from storage.placeholders import find_placeholder_rows
from storage.text.csv_headers import is_time_word
from storage.text.csv_layout import count_of
from storage.times import (
    NO_TIME,
    format_nanoseconds,
    is_event_driven,
    most_common_step,
    step_tolerance,
)

# A cell is extreme from so many times the usual distance from its column's median on.
EXTREME_RATIO: Final = 300
_MAX_NAMED_TEXTS: Final = 5
_HOUR_NS: Final = 3600 * 10**9
_SUNDAY: Final = 6
# North and south of the equator.
_MONTHS_OF_CLOCK_CHANGES: Final = {3, 4, 9, 10, 11}
_USUAL_PERCENTILE: Final = 95.0
# Relative difference below which a cell equals the median: rounding, not another value.
_EQUAL: Final = 1e-9


def validate_table(table: DataTable) -> list[DatasetFinding]:
    """Return every finding, those about the file and about time first."""
    return [*table.notes, *_check_times(table), *_check_cells(table)]


def _check_times(table: DataTable) -> list[DatasetFinding]:
    if table.times is None:
        return [_describe_missing_times(table)]
    unreadable = np.flatnonzero(table.times == NO_TIME)
    rows = np.flatnonzero(table.times != NO_TIME)
    times = table.times[rows]
    is_long = any(note.code == "long_table" for note in table.notes)
    is_late = np.append(False, np.diff(times) < 0)
    order = np.argsort(times, kind="stable")
    is_repeated = np.zeros(len(times), dtype=bool)
    is_repeated[order[1:][np.diff(times[order]) == 0]] = True
    hour = _find_repeated_hour(times, is_repeated)
    late, repeated = rows[is_late & ~hour], rows[is_repeated & ~hour]
    return [
        *list_rows(
            "unreadable_timestamps",
            f"{count_of(len(unreadable), 'timestamp')} in {table.time_column!r} missing or unreadable",
            unreadable,
            column=table.time_column,
            fix="drop_unreadable_timestamps",
        ),
        *list_rows(
            "unordered_timestamps",
            f"{count_of(len(late), 'row')} earlier than the row above",
            late,
            fix="sort_by_time",
        ),
        *list_rows(
            "duplicate_timestamps",
            f"{count_of(len(repeated), 'row')} of a time that an earlier row has too",
            repeated,
            # In a long table the rows of one time are different values, and none is one too many.
            fix=None if is_long else "drop_duplicate_timestamps",
        ),
        # Neither sorting nor dropping rows would do such a table good.
        *list_rows(
            "repeated_hour",
            f"{count_of(int(hour.sum()), 'row')} of the hour that repeats when clocks are set back "
            f"({_list_days(times[hour])}): export the times in UTC or with their offset",
            rows[hour],
        ),
        *_check_steps(times[order], rows[order]),
    ]


def _find_repeated_hour(times: NDArray[np.int64], is_repeated: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Mark rows that repeat an hour of a Sunday night, in order, as local times without offset do once a year."""
    marks = np.zeros(len(times), dtype=bool)
    step = most_common_step(times)
    if step is None or step > _HOUR_NS:
        return marks
    starts = np.flatnonzero(is_repeated & np.append(False, np.diff(times) <= 0))
    # The row above is the last one of the hour, a step before its end.
    starts = starts[np.abs(times[starts - 1] + step - times[starts] - _HOUR_NS) <= step_tolerance(step)]
    for start in starts.tolist():
        local = np.datetime64(int(times[start]), "ns").astype("datetime64[s]").item()
        end = start + int(
            np.searchsorted(times[start : start + _HOUR_NS // step + 1], times[start - 1], "right")
        )
        if local.weekday() == _SUNDAY and local.hour < 4 and local.month in _MONTHS_OF_CLOCK_CHANGES:
            marks[start:end] = is_repeated[start:end]
    return marks


def _list_days(times: NDArray[np.int64]) -> str:
    days = np.unique(times.astype("datetime64[ns]").astype("datetime64[D]")).astype(str).tolist()
    return ", ".join(days[:_MAX_NAMED_TEXTS]) + (", …" if len(days) > _MAX_NAMED_TEXTS else "")


def _describe_missing_times(table: DataTable) -> DatasetFinding:
    """Return the finding about a table without times; a column that is named like one may be meant."""
    name = next(filter(is_time_word, (*table.texts, *table.columns)), None)
    reason = "There is no time column"
    if name is not None:
        invalid = table.invalid_cells.get(name)
        example = invalid.values[0] if invalid else f"{table.values[0, table.columns.index(name)]:g}"
        reason = f"{name!r} does not read as times ({example})"
    message = f"{reason}: rows are taken as evenly spaced, and forecasts have no timestamps."
    return DatasetFinding("no_time_column", message, 1, column=name)


def _check_steps(times: NDArray[np.int64], rows: NDArray[np.intp]) -> list[DatasetFinding]:
    """Find gaps (a whole number of steps is missing) and irregular steps, in order of time."""
    rhythm = CalendarStep.detect(times)
    if rhythm is None:
        return []
    step = rhythm.nanoseconds
    if rhythm.kind is StepKind.FIXED and is_event_driven(times, step):
        message = (
            f"Rows follow no rhythm, as where values are stored when they change; {step / 1e9:g} s is the most "
            "common step. Put them on an even grid before a training."
        )
        return [DatasetFinding("event_driven_timestamps", message, 1, fix="resample")]
    steps = np.diff(times)
    whole, is_regular = rhythm.count(times)
    is_gap, follows = is_regular & (whole > 1), rhythm.follows(times)
    gaps, holidays = np.flatnonzero(is_gap & ~follows), np.flatnonzero(is_gap & follows)
    irregular = rows[1:][~is_regular & (steps > 0)]

    def count_missing(gaps: NDArray[np.intp]) -> int:
        return int((whole[gaps] - 1).sum())

    def list_examples(gaps: NDArray[np.intp]) -> tuple[str, ...]:
        return tuple(f"{format_nanoseconds(times[gap])}: {count_missing(gap)} missing" for gap in gaps[:5])

    return [
        *list_rows(
            "missing_timestamps",
            f"{count_of(count_missing(gaps), 'timestamp')} missing, after the rows named",
            rows[:-1][gaps],
            fix="fill_missing_timestamps",
            values=list_examples(gaps),
        ),
        *list_rows(
            "holidays",
            f"{count_of(count_missing(holidays), 'working day')} missing, after the rows named, counted as holidays: "
            "steps are days worked, and nothing is filled",
            rows[:-1][holidays],
            values=list_examples(holidays),
        ),
        *list_rows(
            "irregular_timestamps",
            f"{count_of(len(irregular), 'row')} not a whole number of steps ({rhythm.describe()}) after another",
            irregular,
            fix="resample",
        ),
    ]


def _check_cells(table: DataTable) -> list[DatasetFinding]:
    findings = []
    for column, name in enumerate(table.columns):
        cells = table.values[:, column]
        if invalid := table.invalid_cells.get(name):
            findings.append(invalid)
        findings += _check_missing(name, cells, invalid)
        findings += _check_constant(name, cells)
        placeholders = find_placeholder_rows(cells)
        findings += _check_placeholders(name, cells, placeholders)
        findings += _check_extremes(name, cells, placeholders)
    for name in table.texts:
        if invalid := table.invalid_cells.get(name):
            message = f"{name!r} holds text, so it cannot be learnt from"
            rows, values = invalid.rows[:_MAX_NAMED_TEXTS], invalid.values[:_MAX_NAMED_TEXTS]
            findings.append(DatasetFinding("text_column", message, 1, rows, name, values))
    return findings


def _check_missing(
    name: str, cells: NDArray[np.float64], invalid: DatasetFinding | None
) -> list[DatasetFinding]:
    """Find empty cells. Invalid cells are NaN as well and have a finding of their own."""
    rows = np.flatnonzero(np.isnan(cells)) + 1
    count = len(rows) - (invalid.count if invalid else 0)
    if count <= 0:
        return []
    others = set(invalid.rows) if invalid else set()
    first = [int(row) for row in rows[: MAX_NAMED + len(others)] if int(row) not in others][:MAX_NAMED]
    message = f"{count_of(count, 'cell')} empty in {name!r}"
    fix = "interpolate_missing_cells"
    return [DatasetFinding("missing_cells", message, count, tuple(first), name, (), fix)]


def _check_constant(name: str, cells: NDArray[np.float64]) -> list[DatasetFinding]:
    numbers = cells[~np.isnan(cells)]
    if len(numbers) and numbers.min() != numbers.max():
        return []
    content = f"always {numbers[0]:g}" if len(numbers) else "empty"
    message = f"{name!r} is {content}"
    return [DatasetFinding("constant_column", message, 1, (), name, (), "drop_constant_columns")]


def _check_placeholders(
    name: str, cells: NDArray[np.float64], rows: NDArray[np.intp]
) -> list[DatasetFinding]:
    values = tuple(f"{value:g}" for value in np.unique(cells[rows]))
    message = f"{count_of(len(rows), 'cell')} {' or '.join(values)} in {name!r}, which often stands for a missing value"
    fix = "empty_placeholder_values"
    return list_rows("placeholder_values", message, rows, column=name, fix=fix, values=values)


def _check_extremes(
    name: str, cells: NDArray[np.float64], placeholders: NDArray[np.intp]
) -> list[DatasetFinding]:
    rows = np.setdiff1d(find_extreme_rows(cells), placeholders)
    message = (
        f"{count_of(len(rows), 'cell')} over {EXTREME_RATIO:,} times as far from the middle of {name!r} as "
        "most others: the rest may not be learnt beside such values"
    )
    values = tuple(f"{cells[row]:g}" for row in rows[:MAX_NAMED])
    return list_rows("extreme_cells", message, rows, column=name, fix="empty_extreme_cells", values=values)


def find_extreme_rows(cells: NDArray[np.floating], ratio: float = EXTREME_RATIO) -> NDArray[np.intp]:
    """Return rows whose cell is ``ratio`` times as far from the median as 95 % of the cells that differ.

    Cells equal to the median are left out: of a column that is mostly 0, every other value would be extreme.
    """
    numbers = cells[~np.isnan(cells)]
    if not len(numbers):
        return np.zeros(0, dtype=np.intp)
    # A distance beyond all floats is infinite, which is extreme enough.
    with np.errstate(over="ignore"):
        median = float(np.median(numbers))
        distance = np.abs(cells - median)
        differing = distance[distance > _EQUAL * abs(median)]
        usual = float(np.percentile(differing, _USUAL_PERCENTILE)) if len(differing) else np.inf
        return np.flatnonzero(distance > ratio * usual)
