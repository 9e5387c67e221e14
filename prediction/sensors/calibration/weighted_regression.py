"""A line through calibrations that may fade: old ones count less where the sensor has been seen to change.

How fast they fade is chosen by what each choice would have predicted of every later calibration from the
earlier ones alone ("prequential": Dawid 1984). The same errors, which no fit has seen, bound the uncertainty
(split conformal prediction with normalised residuals: Papadopoulos et al. 2002; Lei et al. 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

HALF_LIVES = (math.inf, 16.0, 8.0, 4.0)
"""Calibrations after which one counts half; the first stands unless another is clearly better."""
_FIRST = 4
"""Calibrations that are needed before a prediction of the next one counts."""
_FEWEST_ERRORS = 6
_CLEARLY = 0.5
"""Standard errors by which a fading line's past predictions must have been better."""


@dataclass(frozen=True)
class WeightedLine:
    """A weighted regression line.

    Parameters
    ----------
    slope, intercept : float
    centre, squares : float
        Weighted mean of the raw values, and the weighted sum of squared distances from it.
    count : float
        Calibrations it amounts to: the squared sum of the weights over the sum of their squares.
    deviation : float
        Standard deviation of the residuals, ``count - 2`` degrees of freedom.
    """

    slope: float
    intercept: float
    centre: float
    squares: float
    count: float
    deviation: float

    def room(self, raw: float) -> float:
        """The spread of a single prediction at ``raw``, in standard deviations of the residuals."""
        lever = (raw - self.centre) ** 2 / self.squares if self.squares > 0 else 0.0
        return math.sqrt(1.0 + 1.0 / self.count + lever)

    def off(self, raw: float, corrected: float) -> float:
        """How far the line is off, at one calibration."""
        return abs(corrected - self.slope * raw - self.intercept)


def fit(raw: Array, corrected: Array, half_life: float = math.inf) -> WeightedLine:
    """The line of calibrations in order of time, two at least.

    Parameters
    ----------
    raw, corrected : float64, shape (n,)
    half_life : float
        In calibrations.
    """
    weight = 0.5 ** (np.arange(len(raw))[::-1] / half_life)
    total = float(weight.sum())
    centre, middle = float(weight @ raw) / total, float(weight @ corrected) / total
    away = raw - centre
    squares = float(weight @ away**2)
    flat = squares <= 1e-24 * (1.0 + centre**2) * total
    slope = 0.0 if flat else float(weight @ (away * (corrected - middle))) / squares
    intercept = middle - slope * centre
    rest = corrected - slope * raw - intercept
    count = total**2 / float(weight @ weight)
    share = max(1.0, count - 2.0) / count
    deviation = math.sqrt(float(weight @ rest**2) / total / share)
    return WeightedLine(slope, intercept, centre, 0.0 if flat else squares, count, deviation)


@dataclass(frozen=True)
class DiscountedFit:
    """The line to use, how fast it fades, and the errors of its predictions over their room, ascending."""

    line: WeightedLine
    half_life: float
    errors: Array


def select_half_life(raw: Array, corrected: Array) -> DiscountedFit:
    """The line with the half-life that has predicted best; no fading unless that was clearly worse."""
    told = {half_life: _ahead(raw, corrected, half_life) for half_life in HALF_LIVES}
    plain, best, lead = told[math.inf][0], math.inf, _CLEARLY
    for half_life in HALF_LIVES[1:] if len(plain) >= _FEWEST_ERRORS else ():
        better = plain - told[half_life][0]
        spread = float(better.std(ddof=1)) / math.sqrt(len(better))
        if spread > 0 and float(better.mean()) / spread > lead:
            best, lead = half_life, float(better.mean()) / spread
    return DiscountedFit(fit(raw, corrected, best), best, np.sort(told[best][1]))


def _ahead(raw: Array, corrected: Array, half_life: float) -> tuple[Array, Array]:
    """Errors of predicting each calibration from the earlier ones, as they are and over their room."""
    errors, normed = [], []
    for at in range(_FIRST, len(raw)):
        line = fit(raw[:at], corrected[:at], half_life)
        errors.append(line.off(float(raw[at]), float(corrected[at])))
        normed.append(errors[-1] / line.room(float(raw[at])))
    return np.array(errors), np.array(normed)


def bound_errors(faded: DiscountedFit, share: float = 0.95) -> float | None:
    """What past errors, over their room, bound with that chance; None where they are too few to tell."""
    count = len(faded.errors)
    rank = math.ceil((count + 1) * share)
    if count < _FEWEST_ERRORS + _FIRST:
        return None
    return float(faded.errors[min(rank, count) - 1])
