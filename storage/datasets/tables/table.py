"""A table as training reads it: numbers by column, and the time of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage.calendar_steps import CalendarStep
from storage.datasets.facts import Description
from storage.datasets.findings import DatasetFinding
from storage.times import NO_TIME, format_nanoseconds, most_common_step


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
        A name of `storage.times.FORMATS`, so that predictions read 3/4 as training did.
    texts : tuple of str
        Columns that hold text and cannot be trained on.
    invalid_cells : mapping of str to DatasetFinding
        By column: cells that are neither numbers nor empty.
    notes : tuple of DatasetFinding
        What was assumed or left out when the file was read.
    """

    columns: tuple[str, ...]
    values: NDArray[np.float64]
    times: NDArray[np.int64] | None = None
    time_column: str | None = None
    time_format: str | None = None
    texts: tuple[str, ...] = ()
    invalid_cells: Mapping[str, DatasetFinding] = field(default_factory=dict)
    notes: tuple[DatasetFinding, ...] = ()

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values)

    @property
    def frequency_ns(self) -> int | None:
        """The most common step between two rows; None where rows have no times."""
        return None if self.times is None else most_common_step(self.times)

    def detect_step(self, time_zone: str | None = None) -> CalendarStep | None:
        """Return the step of most rows, by the clock of a zone; None where rows have no times."""
        return None if self.times is None else CalendarStep.detect(self.times, time_zone)

    def regular_steps(self, time_zone: str | None = None) -> NDArray[np.bool_]:
        """Mark rows that come one regular step after the row above; all do where there are no times."""
        step = self.detect_step(time_zone)
        if self.times is None or step is None:
            return np.ones(self.rows, dtype=bool)
        return np.concatenate([[True], step.follows(self.times)])


def describe_table(table: DataTable) -> Description:
    """Return rows, columns, types, time span and frequency."""
    step = table.frequency_ns
    times = np.zeros(0, dtype=np.int64) if table.times is None else table.times
    times = times[times != NO_TIME]
    types = dict.fromkeys(table.columns, "number") | dict.fromkeys(table.texts, "text")
    return {
        "rows": table.rows,
        "columns": [*table.columns, *table.texts],
        "numeric": list(table.columns),
        "texts": list(table.texts),
        "types": types | ({table.time_column: "time"} if table.time_column else {}),
        "time_column": table.time_column,
        "time_format": table.time_format,
        "frequency_seconds": None if step is None else step / 1e9,
        "first_timestamp": format_nanoseconds(times.min()) if len(times) else None,
        "last_timestamp": format_nanoseconds(times.max()) if len(times) else None,
    }
