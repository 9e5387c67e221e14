"""Remaining useful life: hours from each row to the next failure of its device, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MICROSECONDS_AN_HOUR: Final = 3_600_000_000
STATUSES: Final = ("critical", "warning", "normal")


@dataclass(frozen=True)
class RulLabels:
    """What is known of each row of one device.

    Parameters
    ----------
    rul_hours : float64, shape (n,)
        Hours to the end of the row's run, capped at the horizon; NaN where no target can be given.
    hours_left : float64, shape (n,)
        Hours to the end of the row's run, not capped; of a censored run to its last row, a lower bound.
    run : int64, shape (n,)
        Number of the run of the device; a run ends with an event or with the telemetry.
    censored : bool, shape (n,)
        The row's run did not end in a failure (yet).
    """

    rul_hours: NDArray[np.float64]
    hours_left: NDArray[np.float64]
    run: NDArray[np.int64]
    censored: NDArray[np.bool_]


@dataclass(frozen=True)
class DataLabeler:
    """Labels rows by the failures of their device.

    Parameters
    ----------
    horizon_hours : float
        Targets are capped here: nothing shows in a healthy device how long it will live.
    critical_hours, warning_hours : float
        Below these a device is critical, or to be watched.
    censored : str
        ``leave_out`` gives rows of censored runs no target; ``lower_bound`` gives those the cap as target
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
            When runs ended, ascending, and whether in a failure. A row at that instant belongs to the run
            that ends there.
        """
        instants = np.array([time for time, _ in ends], dtype=np.int64)
        failed = np.array([failure for _, failure in ends] + [False])
        run = np.searchsorted(instants, times, side="left")
        last = times[-1] if len(times) else 0
        until = np.append(instants, last)[run]
        censored = ~failed[run]
        bounds = np.where(censored, _last_rows(times, run), until)
        hours_left = (bounds - times) / MICROSECONDS_AN_HOUR
        capped = np.minimum(hours_left, self.horizon_hours)
        known = ~censored
        if self.censored == "lower_bound":
            known = known | (hours_left >= self.horizon_hours)
        return RulLabels(np.where(known, capped, np.nan), hours_left, run.astype(np.int64), censored)

    def status(self, rul_hours: NDArray[np.float64]) -> NDArray[np.str_]:
        """``critical``, ``warning`` or ``normal`` for each remaining life in hours."""
        grave = [rul_hours < self.critical_hours, rul_hours < self.warning_hours]
        return np.select(grave, STATUSES[:2], STATUSES[2]).astype("U8")


def _last_rows(times: NDArray[np.int64], run: NDArray[np.int64]) -> NDArray[np.int64]:
    """The instant of the last row of each row's run."""
    places = np.searchsorted(run, run, side="right") - 1
    found: NDArray[np.int64] = times[places]
    return found
