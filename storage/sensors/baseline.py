"""The baseline from which a drift is measured. Only this module treats a baseline of zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_DRIFT_PERCENT: Final = 1e12
# Baselines closer to zero count as zero: per cent of them would be rounding errors.
_MIN_MAGNITUDE: Final = 1e-12


@dataclass(frozen=True)
class Baseline:
    """The value a sensor should show.

    Parameters
    ----------
    value : float
        The nominal value, else the value at creation, else the mean of the first readings.
    scale : float
        What counts as 100 per cent, in the sensor's unit.
    """

    value: float
    scale: float

    def drift(self, reading: float) -> float:
        """Return the distance of a reading from the baseline in per cent."""
        percent = (reading - self.value) / self.scale * 100.0
        return max(-MAX_DRIFT_PERCENT, min(MAX_DRIFT_PERCENT, percent))


def make_baseline(value: float, low: float | None = None, high: float | None = None) -> Baseline:
    """Return a baseline; one of zero counts in spans of the sensor's limits, or in units without limits."""
    if abs(value) > _MIN_MAGNITUDE:
        return Baseline(value, abs(value))
    if low is not None and high is not None and high > low:
        return Baseline(value, high - low)
    return Baseline(value, 1.0)
