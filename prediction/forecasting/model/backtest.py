"""Rolling-origin backtest: every window of a part is forecast and compared with what followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.forecasting.data.series import ForecastSeries, WindowSplit
from prediction.forecasting.data.windows import Rows
from prediction.forecasting.intervals import LEVELS

Forecasts = Callable[[WindowSplit, Rows], NDArray[np.float32]]
"""Forecasts in z units ``(n, steps, n_targets)`` for windows that start at these rows."""

_BATCH = 256


@dataclass(frozen=True)
class Backtest:
    """Errors over all windows of a part.

    Parameters
    ----------
    squared, absolute : ndarray, shape (steps, n_targets)
        Mean errors in z units.
    covered : ndarray, shape (len(LEVELS),)
        Share of true values within the intervals at each level; empty where no margins were given.
    losses : list of float
        Mean squared error of neighbouring windows whose futures overlap, one a block of ``steps`` windows, so
        that two models can be compared on blocks that share little.
    """

    squared: NDArray[np.float64]
    absolute: NDArray[np.float64]
    covered: NDArray[np.float64]
    losses: list[float]
    windows: int

    @property
    def mse(self) -> float:
        """Mean squared error over steps and targets, in z units."""
        return float(self.squared.mean())

    @property
    def mae(self) -> float:
        """Mean absolute error over steps and targets, in z units."""
        return float(self.absolute.mean())


def backtest(forecasts: Forecasts, part: WindowSplit, margins: NDArray[np.float32] | None = None) -> Backtest:
    """Forecast a part batch by batch; memory does not grow with the number of windows."""
    shape = part.series.steps, len(part.series.targets)
    squared, absolute = np.zeros(shape), np.zeros(shape)
    covered = np.zeros(0 if margins is None else len(LEVELS))
    by_window = []
    for start in range(0, len(part), _BATCH):
        starts = part.starts[start : start + _BATCH]
        off = np.abs(forecasts(part, starts).astype(np.float64) - part.futures(starts))
        squared += (off**2).sum(axis=0)
        absolute += off.sum(axis=0)
        by_window.append((off**2).mean(axis=(1, 2)))
        if margins is not None:
            covered += [(off <= half).mean(axis=(1, 2)).sum() for half in margins]
    count = len(part)
    losses = _by_block(np.concatenate(by_window), part.starts, part.series.steps)
    return Backtest(squared / count, absolute / count, covered / count, losses, count)


def _by_block(losses: NDArray[np.float64], starts: Rows, steps: int) -> list[float]:
    blocks = (starts - starts[0]) // steps
    _, place = np.unique(blocks, return_inverse=True)
    means = np.bincount(place, weights=losses) / np.bincount(place)
    return [float(mean) for mean in means]


def last_value(part: WindowSplit, starts: Rows) -> NDArray[np.float32]:
    """The baseline that says: it stays as it is."""
    series = part.series
    level = series.z[starts + series.window - 1][:, series.targets]
    return np.repeat(level[:, None, :], series.steps, axis=1)


def seasonal_naive(part: WindowSplit, starts: Rows) -> NDArray[np.float32]:
    """The baseline that says: it goes as it went one season ago. Needs rows before the window at times."""
    series = part.series
    ahead = np.arange(series.steps) % series.season
    rows = (starts + series.window - series.season)[:, None] + ahead
    found: NDArray[np.float32] = series.z[np.maximum(rows, 0)][:, :, series.targets]
    return found


def baselines(series: ForecastSeries) -> dict[str, Forecasts]:
    """The naive forecasts that suit a series."""
    found: dict[str, Forecasts] = {"last_value": last_value}
    if series.season:
        found["seasonal_naive"] = seasonal_naive
    return found
