"""Rolling origins: models learn up to a row and are judged on forecasts of the rows behind it, several times."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.intervals import MAX_WINDOWS, compute_half_widths
from prediction.forecasting.model.backtest import ForecastFunction

# Windows up to which a series counts as short. Networks that learn in epochs do not compete there: with fewer
# windows they err more than smoothing does, and their short trials are chance.
MAX_SHORT_WINDOWS = 500
# Shares of the rows that may be forecast: learn up to the first, judge up to the next, and so on.
_CUTS = (0.6, 0.8, 1.0)
_SHORT_CUTS = (0.4, 0.52, 0.64, 0.76, 0.88, 1.0)
# The last share of what a fold learns from, where a model needs a validation part of its own.
_VALIDATION_SHARE = 0.2
# Numbers that the residuals of the intervals may have: 80 MB.
_MAX_RESIDUALS = 20_000_000
_MIN_RESIDUAL_WINDOWS = 20


@dataclass(frozen=True)
class Fold:
    """Windows to learn from, and later ones to judge on; no row of a judged future has been learnt."""

    learn: WindowSplit
    judged: WindowSplit

    def split_learn(self) -> tuple[WindowSplit, WindowSplit]:
        """Return the windows to fit and those to validate on, so that the judged ones choose nothing."""
        return split_windows(self.learn)


@dataclass(frozen=True)
class Calibration:
    """Errors of a forecast on windows that it was not fitted to.

    Parameters
    ----------
    windows : WindowSplit
    residuals : ndarray, shape (n, steps, n_targets)
        Forecast minus truth, of all windows or of some that are evenly spread.
    """

    windows: WindowSplit
    residuals: NDArray[np.float32]

    @property
    def mse(self) -> float:
        """Mean squared error in z units."""
        return float((self.residuals.astype(np.float64) ** 2).mean())

    def compute_half_widths(self) -> NDArray[np.float32]:
        """Return the half widths of the intervals, for futures as uncertain as these were."""
        steps = self.windows.series.steps
        return compute_half_widths(self.residuals, len(np.unique(self.windows.starts // steps)))

    def extend(self, other: Calibration) -> Calibration:
        """Return the errors of both."""
        starts = np.concatenate([self.windows.starts, other.windows.starts])
        residuals = np.concatenate([self.residuals, other.residuals])
        return Calibration(WindowSplit(self.windows.series, starts), residuals)


def split_windows(windows: WindowSplit) -> tuple[WindowSplit, WindowSplit]:
    """Return early windows to fit and late ones to validate on; all in both parts where they are too few."""
    series, starts = windows.series, windows.starts
    cut = starts[-1] - _VALIDATION_SHARE * (starts[-1] - starts[0])
    early, late = starts[starts + series.steps <= cut], starts[starts >= cut]
    if not len(early):
        return windows, windows
    return WindowSplit(series, early), WindowSplit(series, late)


def is_short(development: WindowSplit) -> bool:
    """Tell whether windows are so few that every origin counts."""
    return len(development) <= MAX_SHORT_WINDOWS


def build_folds(development: WindowSplit) -> list[Fold]:
    """Return folds with ever more windows to learn from; none where the windows are too few."""
    series, starts = development.series, development.starts
    firsts = starts + series.window
    shares = _SHORT_CUTS if is_short(development) else _CUTS
    cuts = firsts[0] + (firsts[-1] + 1 - firsts[0]) * np.array(shares)
    folds = []
    for cut, end in itertools.pairwise(cuts):
        learn = starts[firsts + series.steps <= cut]
        judged = starts[(firsts >= cut) & (firsts < end)]
        if len(learn) and len(judged):
            folds.append(Fold(WindowSplit(series, learn), WindowSplit(series, judged)))
    return folds


def measure_residuals(forecast: ForecastFunction, windows: WindowSplit) -> Calibration:
    """Forecast windows, or as many as memory allows, and compare with what followed."""
    by_memory = max(_MIN_RESIDUAL_WINDOWS, _MAX_RESIDUALS // windows.series.output_size)
    some = windows.subsample(min(MAX_WINDOWS, by_memory))
    return Calibration(windows, forecast(some, some.starts) - some.futures(some.starts))
