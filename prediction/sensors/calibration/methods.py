"""Choose how to correct a raw value: by a line, by the mean offset, or not at all.

A correction that is worse than the raw value does harm: a good instrument with few calibrations gets the noise of
the line. Each method is therefore measured on every calibration in turn, computed from the others alone
(leave-one-out), and a more complex one must be clearly closer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prediction.sensors.calibration.pairs import CalibrationPairs
from prediction.sensors.calibration.weighted_regression import (
    DiscountedFit,
    WeightedLine,
    fit,
    select_half_life,
)
from prediction.sensors.readings.series import Array

LINE, OFFSET, RAW = "linear_regression", "mean_offset", "raw_value"
# In the order of their complexity.
_NAMES = {RAW: "the raw value", OFFSET: "the mean offset", LINE: "the line"}
_MIN_PAIRS = 3
# Chosen on simulated instruments with 5 to 15 calibrations: with 0.8 the applied correction of a good one is 2 to
# 6 % worse than its raw value (a line: 8 to 31 %), and one that needs a line loses at most 8 %.
_MAX_ERROR_RATIO = 0.8


@dataclass(frozen=True)
class Method:
    """How to correct, and why not by a line.

    Parameters
    ----------
    name : str
        ``linear_regression``, ``mean_offset`` or ``raw_value``.
    line : WeightedLine
        An offset has a slope of one, the raw value also an intercept of zero.
    half_life : float
    bound : float or None
        What past normalised errors bound the next one with.
    freedom : float
        Degrees of freedom of the residuals.
    reason : str
        Empty for a line.
    """

    name: str
    line: WeightedLine
    half_life: float
    bound: float | None
    freedom: float
    reason: str = ""


def select_method(pairs: CalibrationPairs) -> Method:
    """Return the simplest method that no other one is clearly closer than."""
    count, offsets = len(pairs), pairs.corrected - pairs.raw
    if count < _MIN_PAIRS:
        return _without_line(
            RAW, offsets, "there are too few calibrations to tell whether a correction helps"
        )
    discounted = select_half_life(pairs.raw, pairs.corrected)
    # The line is fitted to the other calibrations each time.
    line_errors = []
    for position in range(count):
        others = np.arange(count) != position
        line = fit(pairs.raw[others], pairs.corrected[others], discounted.half_life)
        line_errors.append(line.residual(float(pairs.raw[position]), float(pairs.corrected[position])))
    errors = {
        RAW: float(np.abs(offsets).mean()),
        OFFSET: float(np.abs(offsets - offsets.mean()).mean()) * count / (count - 1),
        LINE: float(np.mean(line_errors)),
    }
    best = RAW
    for name in (OFFSET, LINE):
        if errors[name] < _MAX_ERROR_RATIO * errors[best]:
            best = name
    if best == LINE:
        freedom = max(1.0, discounted.line.count - 2.0)
        return Method(LINE, discounted.line, discounted.half_life, discounted.bound_errors(), freedom)
    reason = (
        f"{_NAMES[best]} is used: on {count} past calibrations it is off by {errors[best]:.3g} on average, "
        f"the line by {errors[LINE]:.3g}, which is not clearly better"
    )
    return _without_line(best, offsets, reason)


def _without_line(name: str, offsets: Array, reason: str) -> Method:
    """Return a correction by the mean offset, or by none."""
    count = len(offsets)
    intercept = float(offsets.mean()) if name == OFFSET else 0.0
    freedom = max(1.0, count - 1.0) if name == OFFSET else float(count)
    deviation = float(np.sqrt(((offsets - intercept) ** 2).sum() / freedom))
    # The raw value estimates nothing, as if from infinitely many calibrations.
    line = WeightedLine(1.0, intercept, 0.0, 0.0, count if name == OFFSET else np.inf, deviation)
    normalised = np.sort(np.abs(offsets - intercept)) / line.prediction_scale(0.0)
    bound = DiscountedFit(line, np.inf, normalised).bound_errors()
    return Method(name, line, np.inf, bound, freedom, reason)
