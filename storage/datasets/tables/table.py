"""A table as training reads it: numbers by column, and the time of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

NO_TIME: Final = np.iinfo(np.int64).min
"""The time of a row whose timestamp is missing or cannot be read."""

DAY_NS: Final = 86_400 * 10**9


@dataclass(frozen=True)
class InvalidCells:
    """Cells of one column that are no numbers: all are counted, the first few are named.

    Parameters
    ----------
    rows : tuple of int
        Data rows, counted from 1.
    """

    count: int
    rows: tuple[int, ...]
    values: tuple[str, ...]


@dataclass(frozen=True)
class DataTable:
    """The numbers of a dataset.

    Parameters
    ----------
    columns : tuple of str
        Names of the numeric columns.
    values : ndarray, shape (rows, len(columns))
        float64; NaN where a cell is missing or no number.
    times : ndarray of int64, shape (rows,), optional
        Nanoseconds since 1970 UTC, `NO_TIME` where unreadable; None without a time column.
    time_format : str, optional
        How its times were written, as `times.recognise` names it: 3/4 is a day in April for some.
    texts : tuple of str
        Columns that hold text and cannot be trained on.
    faults : mapping of str to Fault
        By column.
    """

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    times: NDArray[np.int64] | None = None
    time_column: str | None = None
    time_format: str | None = None
    texts: tuple[str, ...] = ()
    faults: Mapping[str, InvalidCells] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values)

    @property
    def frequency_ns(self) -> int | None:
        """The usual step between two rows: the most common one; None where rows have no times."""
        return None if self.times is None else most_common_step(self.times)

    def follows(self) -> NDArray[np.bool_]:
        """Rows that come one regular step behind the row above; all do where there are no times."""
        step = self.frequency_ns
        if self.times is None or step is None:
            return np.ones(self.rows, dtype=bool)
        return np.concatenate([[True], np.abs(np.diff(self.times) - step) <= step_tolerance(step)])


def most_common_step(times: NDArray[np.int64]) -> int | None:
    """The most common distance between neighbouring times, in nanoseconds; None where there are no two."""
    steps = np.diff(np.unique(times[times != NO_TIME]))
    if not len(steps):
        return None
    found, counts = np.unique(steps, return_counts=True)
    return int(found[counts.argmax()])


def step_tolerance(step_ns: int) -> int:
    """How far a step may be off and still be regular: 1 %, and an eighth for months and longer."""
    return step_ns // 8 if step_ns >= 27 * DAY_NS else step_ns // 100


def format_nanoseconds(time_ns: int) -> str | None:
    """A time as RFC 3339; None for an unreadable one."""
    if time_ns == NO_TIME:
        return None
    seconds, rest = divmod(int(time_ns), 10**9)
    text = str(np.datetime64(seconds, "s"))
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else f"{text}Z"


def describe_table(table: DataTable) -> dict[str, Any]:
    """Rows, columns, types, time span and frequency as JSON."""
    step = table.frequency_ns
    known = None if table.times is None else table.times[table.times != NO_TIME]
    kinds = dict.fromkeys(table.columns, "number") | dict.fromkeys(table.texts, "text")
    return {
        "rows": table.rows,
        "columns": [*table.columns, *table.texts],
        "types": kinds | ({table.time_column: "time"} if table.time_column else {}),
        "time_column": table.time_column,
        "time_format": table.time_format,
        "frequency_seconds": None if step is None else step / 1e9,
        "first": None if known is None or not len(known) else format_nanoseconds(known.min()),
        "last": None if known is None or not len(known) else format_nanoseconds(known.max()),
    }
