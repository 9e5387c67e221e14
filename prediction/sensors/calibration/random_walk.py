"""How fast an error wanders, told apart from the noise with which each calibration finds it.

Differences of neighbouring errors have the covariance ``growth x time`` plus that of differenced noise, which
ties neighbours together. Both parts are found by likelihood over their share; the upper limit is that of the
profile likelihood (Pawitan, "In All Likelihood", 2001).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_SHARES = np.linspace(0.0, 1.0, 41)
_UPPER = 1.642
"""Twice the likelihood that the upper 90 % limit may lose: the 0.8 quantile of chi squared, one degree."""


@dataclass(frozen=True)
class RandomWalk:
    """A random walk behind noise.

    Parameters
    ----------
    growth : float
        Variance that the walk gains a day.
    largest : float
        Its upper 90 % limit.
    noise : float
        Standard deviation of the noise of one calibration.
    """

    growth: float
    largest: float
    noise: float


def growth(moved: Array, days: Array) -> RandomWalk:
    """The walk behind differences of errors.

    Parameters
    ----------
    moved : float64, shape (n,)
        Differences of neighbouring errors.
    days : float64, shape (n,)
        Time between them; not all of it zero.
    """
    count, pace = len(moved), float(days.mean())
    if not moved.any():
        return RandomWalk(0.0, 0.0, 0.0)
    tied = np.eye(count) - 0.5 * (np.eye(count, k=1) + np.eye(count, k=-1))
    fits = [_fit(share * np.diag(days / pace) + (1.0 - share) * tied, moved) for share in _SHARES]
    losses = [count * math.log(size) + left for size, left in fits]
    best = int(np.argmin(losses))
    spare = [min(losses) + _UPPER - loss for loss in losses]
    largest = [
        share * size * _stretch(room / count) if room >= 0 else 0.0
        for share, (size, _), room in zip(_SHARES.tolist(), fits, spare, strict=True)
    ]
    share, size = float(_SHARES[best]), fits[best][0]
    return RandomWalk(share * size / pace, max(largest) / pace, math.sqrt((1.0 - share) * size / 2.0))


def _fit(shape: Array, moved: Array) -> tuple[float, float]:
    """The size that fits a covariance of this shape best, and the loss that any size leaves."""
    values, vectors = np.linalg.eigh(shape)
    values = np.maximum(values, 1e-9)
    size = float(((vectors.T @ moved) ** 2 / values).mean())
    return size, float(np.log(values).sum())


def _stretch(room: float) -> float:
    """By how much a size may grow until ``log(s) + 1 / s - 1`` has used up the room; s is at least 1."""
    low, high = 1.0, math.exp(room + 1.0)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.log(middle) + 1 / middle - 1 < room else (low, middle)
    return low
