"""Estimate how fast an error wanders, apart from the noise with which each calibration finds it.

Differences of neighbouring errors have the covariance ``growth x time`` plus that of differenced noise, which
correlates neighbours. The likelihood is maximised over the share of the two parts; the upper limit is that of the
profile likelihood (Pawitan, "In All Likelihood", 2001).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from prediction.sensors.readings.series import Array

# Shares of the walk in the variance that are tried.
_SHARES = np.linspace(0.0, 1.0, 41)
# Twice the log likelihood that the upper 90 % limit may lose: the 0.8 quantile of chi squared, one degree.
_MAX_LOSS = 1.642


@dataclass(frozen=True)
class RandomWalk:
    """A random walk observed with noise.

    Parameters
    ----------
    growth : float
        Variance that the walk gains per day.
    max_growth : float
        Upper 90 % limit of the growth.
    noise : float
        Standard deviation of the noise of one calibration.
    """

    growth: float
    max_growth: float
    noise: float


def estimate(differences: Array, days: Array) -> RandomWalk:
    """Return the walk behind differences of errors.

    Parameters
    ----------
    differences : float64, shape (n,)
        Differences of neighbouring errors.
    days : float64, shape (n,)
        Time between them; not all of it zero.
    """
    count, mean_days = len(differences), float(days.mean())
    if not differences.any():
        return RandomWalk(0.0, 0.0, 0.0)
    noise_covariance = np.eye(count) - 0.5 * (np.eye(count, k=1) + np.eye(count, k=-1))
    walk_covariance = np.diag(days / mean_days)
    fits = [
        _fit_variance(share * walk_covariance + (1.0 - share) * noise_covariance, differences)
        for share in _SHARES
    ]
    losses = [count * math.log(variance) + log_determinant for variance, log_determinant in fits]
    best = int(np.argmin(losses))
    max_growth = 0.0
    for share, (variance, _), loss in zip(_SHARES.tolist(), fits, losses, strict=True):
        margin = losses[best] + _MAX_LOSS - loss
        if margin >= 0:
            max_growth = max(max_growth, share * variance * _max_factor(margin / count))
    share, variance = float(_SHARES[best]), fits[best][0]
    noise = math.sqrt((1.0 - share) * variance / 2.0)
    return RandomWalk(share * variance / mean_days, max_growth / mean_days, noise)


def _fit_variance(covariance: Array, differences: Array) -> tuple[float, float]:
    """Return the variance that fits a covariance of this shape best, and the log of its determinant."""
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 1e-9)
    variance = float(((vectors.T @ differences) ** 2 / values).mean())
    return variance, float(np.log(values).sum())


def _max_factor(margin: float) -> float:
    """Return the factor s >= 1 at which ``log(s) + 1 / s - 1`` reaches the margin, by bisection."""
    low, high = 1.0, math.exp(margin + 1.0)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.log(middle) + 1 / middle - 1 < margin else (low, middle)
    return low
