"""Prediction intervals from errors on devices that were not trained on: split-conformal, by level.

Errors are large for healthy devices and small near the end, so their distribution is stored for several
levels of the prediction (Mondrian conformal prediction, Vovk et al., 2005). Rows of one device are alike: the
coverage is corrected by the number of devices, not of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# A coverage in, the bounds of each prediction out.
IntervalFunction = Callable[[float], tuple[Floats, Floats]]

GRID: Final = np.linspace(0.0, 1.0, 201)
DEFAULT_COVERAGE: Final = 0.9
_MAX_LEVELS: Final = 8
_MIN_ROWS_PER_LEVEL: Final = 60


class ResidualsRecord(TypedDict):
    """`Residuals` as ``model_metadata.json`` holds them."""

    levels: list[float]
    table: list[list[float]]
    devices: int


@dataclass(frozen=True)
class Residuals:
    """Quantiles of truth minus prediction, in hours, by level of the prediction.

    Parameters
    ----------
    levels : shape (levels,)
        Mean predictions of the levels, ascending.
    table : shape (levels, 201)
        Quantiles 0 to 1 in steps of half a per cent.
    devices : int
        Number of devices behind them.
    """

    levels: Floats
    table: Floats
    devices: int

    @classmethod
    def fit(cls, predictions: Floats, truth: NDArray[np.generic], devices: NDArray[np.int64]) -> Residuals:
        """Fit to the rows of held-out devices."""
        count = max(1, min(_MAX_LEVELS, len(predictions) // _MIN_ROWS_PER_LEVEL))
        groups = np.array_split(np.argsort(predictions, kind="stable"), count)
        errors = np.asarray(truth, dtype=np.float64) - predictions
        levels = np.array([predictions[group].mean() for group in groups])
        table = np.array([np.quantile(errors[group], GRID) for group in groups])
        return cls(levels, table, len(np.unique(devices)))

    def quantiles(self, predictions: Floats, level: float) -> Floats:
        """Return the truths that are exceeded with probability ``1 - level``, for each prediction."""
        by_level = np.array([np.interp(level, GRID, row) for row in self.table])
        quantiles: Floats = predictions + np.interp(predictions, self.levels, by_level)
        return quantiles

    def interval(self, predictions: Floats, coverage: float, horizon_hours: float) -> tuple[Floats, Floats]:
        """Return bounds that hold the truth (capped at the horizon) with the promised probability.

        They always hold the prediction itself: where its errors on held-out devices lie on one side, an
        interval from their quantiles alone would exclude it.
        """
        corrected = min(1.0, coverage * (1.0 + 1.0 / max(self.devices, 1)))
        low = np.minimum(self.quantiles(predictions, (1 - corrected) / 2), predictions)
        high = np.maximum(self.quantiles(predictions, (1 + corrected) / 2), predictions)
        return np.clip(low, 0.0, horizon_hours), np.clip(high, 0.0, horizon_hours)

    def alarm_hours(self, prediction: float, late: float, early: float) -> float:
        """Return the hours from now at which to stop, so that the expected cost is least.

        With a cost for each hour too late and one for each hour too early, the best moment is the quantile
        ``early / (early + late)`` of the remaining life (the newsvendor problem).
        """
        return max(0.0, float(self.quantiles(np.array([prediction]), early / (early + late))[0]))

    def to_dict(self) -> ResidualsRecord:
        """Return what `from_dict` reads."""
        return {"levels": self.levels.tolist(), "table": self.table.tolist(), "devices": self.devices}

    @classmethod
    def from_dict(cls, content: ResidualsRecord) -> Residuals:
        """Rebuild what `to_dict` returned."""
        return cls(np.array(content["levels"]), np.array(content["table"]), content["devices"])


def cross_interval(
    predictions: Floats,
    truth: Floats,
    devices: NDArray[np.int64],
    coverage: float,
    horizon_hours: float,
) -> tuple[Floats, Floats]:
    """Return `Residuals.interval` of held-out predictions, for each device from the errors on the others."""
    low, high = np.empty_like(predictions), np.empty_like(predictions)
    for device in np.unique(devices):
        own = devices == device
        others = Residuals.fit(predictions[~own], truth[~own], devices[~own])
        low[own], high[own] = others.interval(predictions[own], coverage, horizon_hours)
    return low, high


def is_covered(truth: Floats, low: Floats, high: Floats) -> NDArray[np.bool_]:
    """Return whether each truth lies in its interval, up to rounding."""
    covered: NDArray[np.bool_] = (truth >= low - 1e-6) & (truth <= high + 1e-6)
    return covered
