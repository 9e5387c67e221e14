"""A regression line through calibrations; old ones count less where the sensor has been seen to change.

The half-life is the one whose line would have predicted every later calibration best from the earlier ones alone
("prequential": Dawid 1984). The same errors, which no fit has seen, bound the uncertainty (split conformal
prediction with normalised residuals: Papadopoulos et al. 2002; Lei et al. 2018).

Own numerics, because scikit-learn's weighted regression gives neither the leverage nor the effective number of
calibrations, and takes longer to import than to fit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from prediction.sensors.readings.series import Array

# In calibrations; the first is used unless another one is clearly better.
HALF_LIVES = (math.inf, 16.0, 8.0, 4.0)
# A line through two calibrations has no residuals; with four, a prediction of the next one tells something.
_MIN_PAST = 4
_MIN_ERRORS = 6
# A quantile of 0.95 of fewer than ten errors is their maximum, which bounds too little.
_MIN_ERRORS_FOR_BOUND = 10
# Standard errors by which the predictions of a shorter half-life must be better.
_MIN_IMPROVEMENT = 0.5


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

    def prediction_scale(self, raw: float) -> float:
        """Return the spread of a single prediction, in standard deviations of the residuals."""
        leverage = (raw - self.centre) ** 2 / self.squares if self.squares > 0 else 0.0
        return math.sqrt(1.0 + 1.0 / self.count + leverage)

    def residual(self, raw: float, corrected: float) -> float:
        """Return the absolute error of the line at one calibration."""
        return abs(corrected - self.slope * raw - self.intercept)


def fit(raw: Array, corrected: Array, half_life: float = math.inf) -> WeightedLine:
    """Return the line of at least two calibrations in order of time.

    Parameters
    ----------
    raw, corrected : float64, shape (n,)
    half_life : float
        In calibrations.
    """
    weight = 0.5 ** (np.arange(len(raw))[::-1] / half_life)
    total = float(weight.sum())
    centre, mean_corrected = float(weight @ raw) / total, float(weight @ corrected) / total
    distance = raw - centre
    squares = float(weight @ distance**2)
    # Equal raw values up to rounding: no slope can be seen, so the line is their mean.
    is_flat = squares <= 1e-24 * (1.0 + centre**2) * total
    slope = 0.0 if is_flat else float(weight @ (distance * (corrected - mean_corrected))) / squares
    intercept = mean_corrected - slope * centre
    residuals = corrected - slope * raw - intercept
    count = total**2 / float(weight @ weight)
    freedom = max(1.0, count - 2.0) / count
    deviation = math.sqrt(float(weight @ residuals**2) / total / freedom)
    return WeightedLine(slope, intercept, centre, 0.0 if is_flat else squares, count, deviation)


@dataclass(frozen=True)
class DiscountedFit:
    """The line to use, its half-life, and the errors of its past predictions over their scale, ascending."""

    line: WeightedLine
    half_life: float
    normalised_errors: Array

    def bound_errors(self, probability: float = 0.95) -> float | None:
        """Return what past errors bound the next one with; None where they are too few to tell."""
        count = len(self.normalised_errors)
        if count < _MIN_ERRORS_FOR_BOUND:
            return None
        rank = math.ceil((count + 1) * probability)
        return float(self.normalised_errors[min(rank, count) - 1])


def select_half_life(raw: Array, corrected: Array) -> DiscountedFit:
    """Return the line whose half-life predicted best; infinite unless that was clearly worse."""
    errors = {half_life: _prequential_errors(raw, corrected, half_life) for half_life in HALF_LIVES}
    undiscounted, best, best_improvement = errors[math.inf][0], math.inf, _MIN_IMPROVEMENT
    if len(undiscounted) >= _MIN_ERRORS:
        for half_life in HALF_LIVES[1:]:
            improvement = undiscounted - errors[half_life][0]
            standard_error = float(improvement.std(ddof=1)) / math.sqrt(len(improvement))
            if standard_error > 0 and float(improvement.mean()) / standard_error > best_improvement:
                best, best_improvement = half_life, float(improvement.mean()) / standard_error
    return DiscountedFit(fit(raw, corrected, best), best, np.sort(errors[best][1]))


def _prequential_errors(raw: Array, corrected: Array, half_life: float) -> tuple[Array, Array]:
    """Return the errors of predicting each calibration from the earlier ones, as they are and over their scale."""
    errors, normalised = [], []
    for position in range(_MIN_PAST, len(raw)):
        line = fit(raw[:position], corrected[:position], half_life)
        errors.append(line.residual(float(raw[position]), float(corrected[position])))
        normalised.append(errors[-1] / line.prediction_scale(float(raw[position])))
    return np.array(errors), np.array(normalised)
