"""What a drift is measured from; a baseline of zero is handled here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_LARGEST: Final = 1e12
_NOTHING: Final = 1e-12


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
        """Per cent away from the baseline."""
        return max(-_LARGEST, min(_LARGEST, (reading - self.value) / self.scale * 100.0))


def make_baseline(value: float, low: float | None = None, high: float | None = None) -> Baseline:
    """A baseline; one of zero counts in spans of the sensor's limits, or in units where it has none."""
    if abs(value) > _NOTHING:
        return Baseline(value, abs(value))
    if low is not None and high is not None and high > low:
        return Baseline(value, high - low)
    return Baseline(value, 1.0)
