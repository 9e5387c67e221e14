"""Estimate when a sensor should be calibrated next."""

from __future__ import annotations

import math
from typing import NotRequired, TypedDict

import numpy as np

from prediction.sensors.calibration import random_walk
from prediction.sensors.calibration.pairs import CalibrationPairs
from prediction.sensors.calibration.weighted_regression import fit
from prediction.sensors.readings.series import DAY, Array

# Of the largest corrected value, where the client names no tolerance.
_DEFAULT_TOLERANCE_SHARE = 0.02
# Raw values farther from the true ones than this, relatively, are in another unit.
_MAX_RELATIVE_ERROR = 0.5
# Longer intervals than five times the longest one seen are extrapolations that nothing supports.
_MAX_INTERVALS = 5.0


class DueDate(TypedDict):
    """When to calibrate next, and what that rests on.

    ``date`` is in seconds since 1970, None where the history does not tell. ``kept_over_usual_interval`` is the
    tolerance that the usual interval between calibrations keeps with this reliability.
    """

    reliability: float
    tolerance: float
    date: float | None
    interval_days: float | None
    note: str
    usual_interval_days: NotRequired[float]
    kept_over_usual_interval: NotRequired[float]
    growth_a_day: NotRequired[float]
    noise: NotRequired[float]


def estimate_due_date(pairs: CalibrationPairs, reliability: float, tolerance: float | None) -> DueDate:
    """Return the day on which the probability of being within the tolerance falls to ``reliability``.

    The error found at a calibration, less the error left by the one before, is taken as a random walk in time,
    observed with the noise of single calibrations (see ``random_walk``). Its growth is the upper 90 % limit that
    so few calibrations allow. This is the variables method of NCSL RP-1, "Establishment and adjustment of
    calibration intervals".

    Parameters
    ----------
    pairs : CalibrationPairs
    reliability : float
        Wanted probability of being within the tolerance on the due date.
    tolerance : float, optional
        In the sensor's unit; 2 % of the largest corrected value where it is not given.
    """
    from scipy.stats import norm

    if tolerance is None:
        tolerance = _DEFAULT_TOLERANCE_SHARE * float(np.abs(pairs.corrected).max())
    steps = np.diff(pairs.times) / DAY
    if (steps > 0).sum() < 2 or tolerance <= 0:
        return {
            "reliability": reliability,
            "tolerance": tolerance,
            "date": None,
            "interval_days": None,
            "note": "too few calibrations at different times to tell",
        }
    walk = random_walk.estimate(np.diff(_errors_before_correction(pairs)), steps)
    sigmas = float(norm.ppf(0.5 + reliability / 2))
    usual = float(np.median(steps[steps > 0]))
    kept_tolerance = sigmas * math.sqrt(walk.max_growth * usual)
    max_days = _MAX_INTERVALS * float(steps.max())
    days = min((tolerance / sigmas) ** 2 / walk.max_growth if walk.max_growth > 0 else max_days, max_days)
    note = "limited to five times the longest interval seen" if days == max_days else ""
    if days < float(steps[steps > 0].min()):
        note = (
            f"shorter than any interval seen: over the usual {usual:.3g} days "
            f"this sensor keeps {kept_tolerance:.3g}"
        )
    return {
        "reliability": reliability,
        "tolerance": tolerance,
        "date": float(pairs.times[-1]) + days * DAY,
        "interval_days": days,
        "note": note,
        "usual_interval_days": usual,
        "kept_over_usual_interval": kept_tolerance,
        "growth_a_day": walk.growth,
        "noise": walk.noise,
    }


def _errors_before_correction(pairs: CalibrationPairs) -> Array:
    """Return the error each calibration found; for raw values in another unit, the residuals of the line."""
    error = pairs.raw - pairs.corrected
    if np.abs(error).mean() <= _MAX_RELATIVE_ERROR * np.abs(pairs.corrected).mean():
        return error
    line = fit(pairs.raw, pairs.corrected)
    residuals: Array = line.slope * pairs.raw + line.intercept - pairs.corrected
    return residuals
