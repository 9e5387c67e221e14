"""Conformal intervals: how far a forecast was off on rows that the network had not learnt from.

Split conformal prediction with the absolute residual as score (Vovk et al., 2005; Lei et al., JASA 2018), for
each target and step of the horizon by itself. Windows that overlap are not exchangeable, so the promise is
approximate, and the coverage on the test part is measured and reported. Where windows are so few that the
outer levels have no residual of their own, neighbouring steps of the horizon lend theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prediction.forecasting.data.windows import Floats

LEVELS: NDArray[np.float64] = np.round(np.arange(0.50, 0.995, 0.01), 2)
"""Coverages whose margins are kept; those between are interpolated."""

MAX_WINDOWS = 2_000
"""Windows that residuals are taken from: a finer quantile would not be seen."""


_ENOUGH = 99
"""Residuals of which the highest level, 0.99, has one."""


def compute_half_widths(residuals: Floats) -> NDArray[np.float32]:
    """Half widths of the intervals, by level.

    Parameters
    ----------
    residuals : ndarray, shape (n, steps, n_targets)
        Forecast minus truth of windows outside the training part.

    Returns
    -------
    ndarray, shape (len(LEVELS), steps, n_targets)
        The ``ceil((n + 1) * level)``-th smallest absolute residual, or that of the residuals of as many
        neighbouring steps as the highest level needs, where that is larger.
    """
    off = np.abs(residuals)
    found = _quantiles(off)
    count, steps, _ = off.shape
    reach = min(steps, -(-_ENOUGH // count)) // 2
    if count >= _ENOUGH or not reach:
        return found
    for step in range(steps):
        near = off[:, max(0, step - reach) : step + reach + 1]
        pooled = _quantiles(near.reshape(-1, 1, near.shape[2]))[:, 0]
        found[:, step] = np.maximum(found[:, step], pooled)
    return found


def _quantiles(off: Floats) -> NDArray[np.float32]:
    """By level, of absolute residuals ``(n, …)``; the largest where n is too small."""
    ordered = np.sort(off, axis=0)
    count = len(ordered)
    ranks = np.minimum(np.ceil((count + 1) * LEVELS).astype(int), count) - 1
    found: NDArray[np.float32] = ordered[ranks].astype(np.float32)
    return found


def interpolate_half_widths(kept: NDArray[np.float32], coverage: float) -> NDArray[np.float64]:
    """Half widths ``(steps, n_targets)`` at one coverage between 0.5 and 0.99."""
    place = float(np.interp(coverage, LEVELS, np.arange(len(LEVELS))))
    below, share = int(place), place - int(place)
    above = min(below + 1, len(LEVELS) - 1)
    found: NDArray[np.float64] = kept[below] * (1 - share) + kept[above].astype(np.float64) * share
    return found
