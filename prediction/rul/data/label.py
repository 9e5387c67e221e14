"""Remaining useful life: hours from each row to the next failure of its device, and the health status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from storage.devices.telemetry import DeviceTelemetry

MICROSECONDS_PER_HOUR: Final = 3_600_000_000
STATUSES: Final = ("critical", "warning", "normal")


@dataclass(frozen=True)
class RulLabels:
    """The labels of each row of one device.

    Parameters
    ----------
    rul_hours : float64, shape (n,)
        Hours to the end of the row's run, capped at the horizon; NaN where no target can be given.
    hours_left : float64, shape (n,)
        Hours to the end of the row's run, not capped; for a censored run to its last row, a lower bound.
    run : int64, shape (n,)
        Number of the device's run; a run ends with an event or with the telemetry.
    censored : bool, shape (n,)
        Whether the row's run has not ended in a failure.
    """

    rul_hours: NDArray[np.float64]
    hours_left: NDArray[np.float64]
    run: NDArray[np.int64]
    censored: NDArray[np.bool_]


class LabelerRecord(TypedDict):
    """The fields of a `DataLabeler` as ``model_metadata.json`` holds them."""

    horizon_hours: float
    critical_hours: float
    warning_hours: float
    censored: str


@dataclass(frozen=True)
class LabelledDevice:
    """One device's rows with their labels."""

    telemetry: DeviceTelemetry
    labels: RulLabels

    def runs(self) -> Iterator[NDArray[np.int64]]:
        """Yield the positions of the rows of each run."""
        edges = np.flatnonzero(np.diff(self.labels.run)) + 1
        yield from np.split(np.arange(len(self.telemetry)), edges)

    def is_usable(self, min_rows: int) -> bool:
        """Return whether a row has a target and so many rows of its run up to it."""
        run = self.labels.run
        cycle = np.arange(len(run)) - np.searchsorted(run, run, side="left") + 1
        return bool((np.isfinite(self.labels.rul_hours) & (cycle >= min_rows)).any())


@dataclass(frozen=True)
class DataLabeler:
    """Labels rows by the failures of their device.

    Parameters
    ----------
    horizon_hours : float
        Targets are capped here: nothing in the data of a healthy device shows how long it will live.
    critical_hours, warning_hours : float
        Upper bounds of the statuses critical and warning.
    censored : str
        ``leave_out`` gives rows of censored runs no target; ``lower_bound`` gives the cap as target to rows
        whose run went on for at least the horizon.
    """

    horizon_hours: float = 100.0
    critical_hours: float = 10.0
    warning_hours: float = 50.0
    censored: str = "leave_out"

    def label(self, times: NDArray[np.int64], ends: Sequence[tuple[int, bool]]) -> RulLabels:
        """Label one device's rows.

        Parameters
        ----------
        times : int64, shape (n,)
            Microseconds since 1970, ascending.
        ends : sequence of (int, bool)
            When runs ended, ascending, and whether in a failure. A row at the time of an end belongs to the
            run that ends.
        """
        end_times = np.array([time for time, _ in ends], dtype=np.int64)
        failed = np.array([failure for _, failure in ends] + [False])
        run = np.searchsorted(end_times, times, side="left")
        censored = ~failed[run]
        last_time = times[-1] if len(times) else 0
        last_row_of_run = times[np.searchsorted(run, run, side="right") - 1]
        run_end = np.where(censored, last_row_of_run, np.append(end_times, last_time)[run])
        hours_left = (run_end - times) / MICROSECONDS_PER_HOUR
        has_target = ~censored
        if self.censored == "lower_bound":
            has_target = has_target | (hours_left >= self.horizon_hours)
        rul_hours = np.where(has_target, np.minimum(hours_left, self.horizon_hours), np.nan)
        return RulLabels(rul_hours, hours_left, run.astype(np.int64), censored)

    def status(self, rul_hours: NDArray[np.float64]) -> NDArray[np.str_]:
        """Return ``critical``, ``warning`` or ``normal`` for each remaining life in hours."""
        below = [rul_hours < self.critical_hours, rul_hours < self.warning_hours]
        return np.select(below, STATUSES[:2], STATUSES[2]).astype("U8")
