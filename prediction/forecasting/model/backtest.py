"""Rolling-origin backtest: every window of a split is forecast and compared with what followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.forecasting.data.series import ForecastSeries, WindowSplit
from prediction.forecasting.data.windows import Rows
from prediction.forecasting.intervals import COVERAGES
from prediction.forecasting.model.rules import LAST_VALUE, SEASONAL_NAIVE

# Returns forecasts in z units ``(n, steps, n_targets)`` for windows that start at these rows.
ForecastFunction = Callable[[WindowSplit, Rows], NDArray[np.float32]]

_BATCH_SIZE = 256


@dataclass(frozen=True)
class Backtest:
    """Errors over all windows of a split.

    Parameters
    ----------
    squared, absolute : ndarray, shape (steps, n_targets)
        Mean errors in z units.
    coverage : ndarray, shape (len(COVERAGES),)
        Share of true values within the intervals of each coverage; empty where there are no intervals.
    losses : list of float
        Mean squared error of neighbouring windows whose futures overlap, one a block of ``steps`` windows, so
        that two models can be compared on blocks that share little.
    """

    squared: NDArray[np.float64]
    absolute: NDArray[np.float64]
    coverage: NDArray[np.float64]
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


def backtest(
    forecast: ForecastFunction, split: WindowSplit, half_widths: NDArray[np.float32] | None = None
) -> Backtest:
    """Forecast a split batch by batch; memory does not grow with the number of windows."""
    steps, count = split.series.steps, len(split)
    # Sums over batches: the errors of all windows at once would not fit into memory.
    squared, absolute = np.zeros((2, steps, len(split.series.targets)))
    covered = np.zeros(0 if half_widths is None else len(COVERAGES))
    window_losses = []
    for start in range(0, count, _BATCH_SIZE):
        starts = split.starts[start : start + _BATCH_SIZE]
        errors = np.abs(forecast(split, starts).astype(np.float64) - split.futures(starts))
        squared += (errors**2).sum(axis=0)
        absolute += errors.sum(axis=0)
        window_losses.append((errors**2).mean(axis=(1, 2)))
        if half_widths is not None:
            covered += [(errors <= half).mean(axis=(1, 2)).sum() for half in half_widths]
    _, block = np.unique((split.starts - split.starts[0]) // steps, return_inverse=True)
    losses = np.bincount(block, weights=np.concatenate(window_losses)) / np.bincount(block)
    return Backtest(squared / count, absolute / count, covered / count, losses.tolist(), count)


def last_value(split: WindowSplit, starts: Rows) -> NDArray[np.float32]:
    """Repeat the last value."""
    series = split.series
    level = series.z[starts + series.window - 1][:, series.targets]
    return np.repeat(level[:, None, :], series.steps, axis=1)


def seasonal_naive(split: WindowSplit, starts: Rows) -> NDArray[np.float32]:
    """Repeat the values of one season ago, which may lie before the window."""
    series = split.series
    ahead = np.arange(series.steps) % series.season
    rows = (starts + series.window - series.season)[:, None] + ahead
    forecast: NDArray[np.float32] = series.z[np.maximum(rows, 0)][:, :, series.targets]
    return forecast


def baselines(series: ForecastSeries) -> dict[str, ForecastFunction]:
    """Return the naive forecasts that suit a series, by name."""
    naive: dict[str, ForecastFunction] = {LAST_VALUE: last_value}
    if series.season:
        naive[SEASONAL_NAIVE] = seasonal_naive
    return naive
