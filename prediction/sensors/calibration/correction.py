"""How a raw value is corrected: a line through past calibrations, its uncertainty and its due date."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errors import NotEnoughData
from prediction.contract import JSON, Scores
from prediction.figures import scatter
from prediction.sensors.calibration import random_walk, weighted_regression
from prediction.sensors.drift.linear_regression import fit
from prediction.sensors.readings.series import DAY

Array = NDArray[Any]

MIN_CALIBRATIONS = 5
MIN_PAIRS = 3
READINGS_BEFORE = 3
FILE_NAME = "calibration.json"
_SAME_UNIT = 0.5
_FAR = 0.5
"""How far beyond the calibrated range, in parts of that range, a line is still asked at all."""


@dataclass(frozen=True)
class CalibrationPairs:
    """Past calibrations in order of time.

    Parameters
    ----------
    times : float64, shape (n,)
        Seconds since 1970.
    raw : float64, shape (n,)
        Mean of the three readings before each calibration.
    corrected : float64, shape (n,)
        The value the calibration found to be true.
    records : int
        Calibration records there are, those without readings before them included.
    """

    times: Array
    raw: Array
    corrected: Array
    records: int

    def __len__(self) -> int:
        return len(self.raw)

    def fingerprint(self) -> str:
        """sha256 of everything: equal calibrations, equal fingerprint."""
        return hashlib.sha256(np.stack([self.times, self.raw, self.corrected]).tobytes()).hexdigest()

    def part(self, chosen: slice) -> CalibrationPairs:
        """Some of the pairs."""
        return CalibrationPairs(self.times[chosen], self.raw[chosen], self.corrected[chosen], self.records)


def build_pairs(
    times: Array, corrected: Array, reading_times: Array, reading_values: Array
) -> CalibrationPairs:
    """Join calibrations with the mean of the three readings before each.

    Parameters
    ----------
    times, corrected : float64, shape (c,)
    reading_times, reading_values : float64, shape (n,)
        In order of time.
    """
    last = np.searchsorted(reading_times, times, side="right")
    usable = np.flatnonzero(last >= READINGS_BEFORE)
    sums = np.concatenate([[0.0], np.cumsum(reading_values - _origin(reading_values))])
    raw = (sums[last[usable]] - sums[last[usable] - READINGS_BEFORE]) / READINGS_BEFORE
    raw += _origin(reading_values)
    return CalibrationPairs(times[usable], raw, corrected[usable], len(times))


def _origin(values: Array) -> float:
    """What is taken off before summing, so that a large offset costs no digits."""
    return float(values[0]) if len(values) else 0.0


@dataclass(frozen=True)
class CalibrationModel:
    """corrected = slope x raw + intercept, within the calibrated range.

    Old calibrations count less where the sensor has been seen to change (see ``fading``).

    Parameters
    ----------
    slope, intercept : float
    low, high : float
        Raw values that calibrations have covered.
    centre, squares : float
        Weighted mean of the raw values and weighted sum of their squared distances from it.
    deviation : float
        Residual standard deviation, in the sensor's unit, ``count`` - 2 degrees of freedom.
    cover : float
        Half the width of 95 % in such deviations: Student's t or, where it is wider, what the errors of
        past predictions ask for.
    count : float
        Calibrations the line amounts to.
    half_life : float or None
        Calibrations after which one counts half; None where all count the same.
    due : mapping
        The next due date and what it rests on.
    """

    slope: float
    intercept: float
    low: float
    high: float
    centre: float
    squares: float
    deviation: float
    cover: float
    count: float
    half_life: float | None
    due: JSON

    def correct(self, raw: float) -> float:
        """The corrected value."""
        return self.slope * raw + self.intercept

    def uncertainty(self, raw: float) -> float:
        """Expanded uncertainty of one corrected value: 95 % prediction interval of the line, half its width.

        No narrower than the errors of past predictions ask for. Grows with the distance from the calibrated
        values (JCGM 100:2008, and any text on regression).
        """
        lever = (raw - self.centre) ** 2 / self.squares if self.squares > 0 else 0.0
        return self.cover * self.deviation * math.sqrt(1.0 + 1.0 / self.count + lever)

    def answer(self, raw: float) -> JSON:
        """The correction, or why the line is not asked."""
        beyond = max(self.low - raw, raw - self.high, 0.0)
        if beyond > _FAR * (self.high - self.low):
            reason = f"{raw:g} lies far beyond the calibrated range {self.low:g} to {self.high:g}"
            return decline(reason, extrapolated=True)
        corrected = self.correct(raw)
        return {
            "corrected_value": corrected,
            "correction_factor": corrected / raw if raw else None,
            "uncertainty": self.uncertainty(raw),
            "extrapolated": beyond > 0,
            "calibrated_range": [self.low, self.high],
            "half_life": self.half_life,
            "due": self.due,
            "model_used": "linear_regression",
            "fallback_reason": None,
        }

    def save(self, folder: Path) -> None:
        """Write ``calibration.json``."""
        (folder / FILE_NAME).write_text(json.dumps({"format": 1, **asdict(self)}, indent=1), encoding="utf-8")


def load(folder: Path) -> CalibrationModel:
    """A calibration model from its folder."""
    said = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    said.pop("format")
    return CalibrationModel(**said)


def decline(reason: str, extrapolated: bool = False) -> JSON:
    """No model's answer: the caller falls back and says why."""
    return {"model_used": None, "fallback_reason": reason, "extrapolated": extrapolated}


def check_enough_data(known: CalibrationPairs) -> None:
    """Refuse to learn from too little.

    Raises
    ------
    NotEnoughData
        Fewer than 5 calibrations, or fewer than 3 of them with readings before.
    """
    if known.records < MIN_CALIBRATIONS:
        raise NotEnoughData(
            f"Not enough data: {known.records} calibrations, at least {MIN_CALIBRATIONS} needed"
        )
    if len(known) < MIN_PAIRS:
        said = f"{len(known)} calibrations with {READINGS_BEFORE} readings before them"
        raise NotEnoughData(f"Not enough data: {said}, at least {MIN_PAIRS} needed")


def train(known: CalibrationPairs, options: JSON) -> CalibrationModel:
    """A line through past calibrations, two at least."""
    from scipy.stats import t

    faded = weighted_regression.select_half_life(known.raw, known.corrected)
    line, bound = faded.line, weighted_regression.bound_errors(faded)
    cover = float(t.ppf(0.975, max(1.0, line.count - 2.0)))
    if bound is not None and line.deviation > 0:
        cover = max(cover, bound / line.deviation)
    return CalibrationModel(
        line.slope,
        line.intercept,
        float(known.raw.min()),
        float(known.raw.max()),
        line.centre,
        line.squares,
        line.deviation,
        cover,
        line.count,
        faded.half_life if math.isfinite(faded.half_life) else None,
        estimate_due_date(known, options["reliability"], options["tolerance"]),
    )


def estimate_due_date(known: CalibrationPairs, reliability: float, tolerance: float | None) -> JSON:
    """When the sensor should be calibrated next.

    The error found at a calibration, less the error left by the one before, is taken as a random walk in
    time, seen through the noise of single calibrations (see ``wandering``); its growth is the upper 90 %
    limit that so few calibrations allow. The due date is the day on which the chance that the walk is still
    within the tolerance falls to ``reliability`` (the variables method of NCSL RP-1, "Establishment and
    adjustment of calibration intervals").

    Parameters
    ----------
    known : Pairs
    reliability : float
        Wanted chance of being within the tolerance on the due date.
    tolerance : float, optional
        In the sensor's unit; 2 % of the largest corrected value where it is not given.

    Returns
    -------
    mapping
        ``date`` is seconds since 1970, None where the history does not tell; ``kept_over_usual_interval`` is
        the tolerance that the usual interval between calibrations keeps with this reliability.
    """
    from scipy.stats import norm

    allowed = tolerance if tolerance is not None else 0.02 * float(np.abs(known.corrected).max())
    facts: JSON = {"reliability": reliability, "tolerance": allowed, "date": None, "interval_days": None}
    steps = np.diff(known.times) / DAY
    if (steps > 0).sum() < 2 or allowed <= 0:
        return {**facts, "note": "too few calibrations at different times to tell"}
    walk = random_walk.growth(np.diff(_as_found(known)), steps)
    spreads = float(norm.ppf(0.5 + reliability / 2))
    reach, usual = allowed / spreads, float(np.median(steps[steps > 0]))
    kept = spreads * math.sqrt(walk.largest * usual)
    longest = 5.0 * float(steps.max())
    days = min(reach**2 / walk.largest if walk.largest > 0 else longest, longest)
    note = "limited to five times the longest interval seen" if days == longest else ""
    if days < float(steps[steps > 0].min()):
        note = f"shorter than any interval seen: over the usual {usual:.3g} days this sensor keeps {kept:.3g}"
    told = {"date": float(known.times[-1]) + days * DAY, "interval_days": days, "note": note}
    over = {"usual_interval_days": usual, "kept_over_usual_interval": kept}
    return {**facts, **told, **over, "growth_a_day": walk.growth, "noise": walk.noise}


def _as_found(known: CalibrationPairs) -> Array:
    """The error each calibration found; for a raw value in another unit, what the line leaves of it."""
    error = known.raw - known.corrected
    if np.abs(error).mean() <= _SAME_UNIT * np.abs(known.corrected).mean():
        return error
    lines = fit(known.raw[None, :, None], known.corrected[None])
    left: Array = lines.predict(known.raw[None, :, None])[0] - known.corrected
    return left


def evaluate(model: CalibrationModel, held_out: CalibrationPairs) -> Scores:
    """Error after correction on later calibrations, beside the uncorrected value and the mean offset."""
    after = np.abs(model.slope * held_out.raw + model.intercept - held_out.corrected)
    before = np.abs(held_out.raw - held_out.corrected)
    room = np.array([model.uncertainty(float(raw)) for raw in held_out.raw])
    shift = (model.slope - 1.0) * model.centre + model.intercept
    offset = np.abs(held_out.raw + shift - held_out.corrected)
    error = float(after.mean())
    found = {"uncorrected": float(before.mean()), "mean_offset": float(offset.mean())}
    metrics = {
        "error": error,
        "error_before": found["uncorrected"],
        "uncertainty_coverage": float((after <= room).mean()),
    }
    told = model.slope * held_out.raw + model.intercept
    points = {"measured": (held_out.raw, held_out.corrected), "corrected by the line": (held_out.raw, told)}
    drawn = scatter("Held-out calibrations", "raw value", "true value", points)
    better = error < min(found.values())
    return Scores(error, metrics, found, len(held_out), better, after.tolist(), [drawn])
