"""Conformal intervals, for each target and step of the horizon by itself.

Windows that overlap are not exchangeable, so the coverage is approximate; that of the test part is measured and
reported. Where windows are so few that the outer coverages have no residual of their own, neighbouring steps of
the horizon lend theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prediction.conformal import conformal_quantiles
from prediction.forecasting.data.windows import Floats

COVERAGES: NDArray[np.float64] = np.round(np.arange(0.50, 0.995, 0.01), 2)
"""Coverages whose half widths are stored; those between are interpolated."""
DEFAULT_COVERAGE = 0.9
MAX_WINDOWS = 2_000
"""Windows that residuals are taken from: more would not change the quantiles visibly."""
_MIN_RESIDUALS = 99
"""As many as the highest coverage, 0.99, needs to have a residual of its own."""


def compute_half_widths(residuals: Floats) -> NDArray[np.float32]:
    """Return half widths of the intervals by coverage.

    Parameters
    ----------
    residuals : ndarray, shape (n, steps, n_targets)
        Forecast minus truth of windows outside the training part.

    Returns
    -------
    ndarray, shape (len(COVERAGES), steps, n_targets)
        Conformal quantiles of the absolute residuals, or of those of as many neighbouring steps as the highest
        coverage needs, where these are larger.
    """
    errors = np.abs(residuals)
    half_widths = conformal_quantiles(errors, COVERAGES).astype(np.float32)
    count, steps, targets = errors.shape
    reach = min(steps, -(-_MIN_RESIDUALS // count)) // 2
    if count >= _MIN_RESIDUALS or not reach:
        return half_widths
    for step in range(steps):
        # Errors grow slowly along the horizon, so those of near steps are almost exchangeable.
        nearby = errors[:, max(0, step - reach) : step + reach + 1].reshape(-1, targets)
        half_widths[:, step] = np.maximum(half_widths[:, step], conformal_quantiles(nearby, COVERAGES))
    return half_widths


def interpolate_half_widths(half_widths: NDArray[np.float32], coverage: float) -> NDArray[np.float64]:
    """Return half widths ``(steps, n_targets)`` at one coverage between 0.5 and 0.99."""
    position = float(np.interp(coverage, COVERAGES, np.arange(len(COVERAGES))))
    below, share = int(position), position - int(position)
    above = min(below + 1, len(COVERAGES) - 1)
    widths: NDArray[np.float64] = (
        half_widths[below] * (1 - share) + half_widths[above].astype(np.float64) * share
    )
    return widths
