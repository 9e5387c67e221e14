"""Conformal intervals, for each target and step of the horizon by itself.

Windows that overlap are not exchangeable, so the coverage is approximate; that of the test part is measured and
reported. Where windows are so few that the outer coverages have no residual of their own, the steps of the horizon
lend each other theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prediction.conformal import conformal_quantiles
from prediction.forecasting.data.windows import Floats

# Coverages whose half widths are stored; those between are interpolated.
COVERAGES: NDArray[np.float64] = np.round(np.arange(0.50, 0.995, 0.01), 2)
DEFAULT_COVERAGE = 0.9
# Windows that residuals are taken from: more would not change the quantiles visibly.
MAX_WINDOWS = 2_000
# Residuals that the highest coverage, 0.99, needs to have one of its own.
_MIN_RESIDUALS = 99
# Futures without common rows from which each step has quantiles of its own.
_MIN_FUTURES = 20
# Steps over which the usual error is averaged.
_SMOOTHED_STEPS = 5
_MIN_SCALE = 1e-12


def compute_half_widths(residuals: Floats, futures: float | None = None) -> NDArray[np.float32]:
    """Return half widths of the intervals by coverage.

    Of few windows, all steps lend each other their errors, each in units of the usual error at its step. What is
    taken from n independent futures is uncertain by 1/n of its variance, for the usual error as for the forecast
    itself, so widths grow by sqrt(1 + 2/n).

    Parameters
    ----------
    residuals : ndarray, shape (n, steps, n_targets)
        Forecast minus truth of windows that the forecast was not fitted to.
    futures : float, optional
        How many of them share no row; all, where nothing is said.

    Returns
    -------
    ndarray, shape (len(COVERAGES), steps, n_targets)
        Conformal quantiles of the absolute residuals.
    """
    errors = np.abs(residuals)
    count, _, targets = errors.shape
    independent = count if futures is None else max(futures, 1.0)
    if count >= _MIN_RESIDUALS and independent >= _MIN_FUTURES:
        return conformal_quantiles(errors, COVERAGES).astype(np.float32)
    scale = _compute_usual_errors(errors)
    quantiles = conformal_quantiles((errors / scale).reshape(-1, targets), COVERAGES)
    inflation = np.sqrt(1 + 2 / independent)
    half_widths: NDArray[np.float32] = (inflation * quantiles[:, None, :] * scale).astype(np.float32)
    return half_widths


def _compute_usual_errors(errors: Floats) -> NDArray[np.float64]:
    """Return root mean squares ``(steps, n_targets)``, smoothed, and never falling along the horizon."""
    usual = np.sqrt((errors.astype(np.float64) ** 2).mean(axis=0))
    reach = _SMOOTHED_STEPS // 2
    padded = np.pad(usual, ((reach, reach), (0, 0)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, _SMOOTHED_STEPS, axis=0)
    growing: NDArray[np.float64] = np.maximum.accumulate(views.mean(axis=2), axis=0)
    return np.maximum(growing, _MIN_SCALE)


def interpolate_half_widths(half_widths: NDArray[np.float32], coverage: float) -> NDArray[np.float64]:
    """Return half widths ``(steps, n_targets)`` at one coverage between 0.5 and 0.99."""
    position = float(np.interp(coverage, COVERAGES, np.arange(len(COVERAGES))))
    below, share = int(position), position - int(position)
    above = min(below + 1, len(COVERAGES) - 1)
    widths: NDArray[np.float64] = (
        half_widths[below] * (1 - share) + half_widths[above].astype(np.float64) * share
    )
    return widths
