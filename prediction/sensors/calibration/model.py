"""The calibration model that serves: a line through past calibrations, its uncertainty and a due date."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

from prediction.sensors.calibration.due_date import DueDate
from prediction.sensors.calibration.methods import LINE, RAW
from prediction.sensors.readings.prediction_input import PredictionInput
from storage.filesystem.checked_write import save_json

FILE_NAME = "calibration.json"
# In calibrated ranges: farther beyond them the error of the line is anybody's guess.
_MAX_EXTRAPOLATION = 0.5


class Correction(TypedDict, total=False):
    """A corrected value with its expanded uncertainty (95 %) in the sensor's unit.

    A model that declines has only ``model_used`` (None), ``fallback_reason`` and ``extrapolated``.
    """

    corrected_value: float
    correction_factor: float | None
    uncertainty: float | None
    extrapolated: bool | None
    calibrated_range: list[float] | None
    half_life: float | None
    due: DueDate | None
    model_used: str | None
    fallback_reason: str | None
    model_version: int | None
    calibration_id: int


def decline(reason: str, extrapolated: bool = False) -> Correction:
    """Return a correction without a value: the caller falls back to a rule and gives the reason."""
    return {"model_used": None, "fallback_reason": reason, "extrapolated": extrapolated}


@dataclass(frozen=True)
class CalibrationModel:
    """corrected = slope x raw + intercept, within the calibrated range.

    Old calibrations count less where the sensor has been seen to change (see ``weighted_regression``).

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
        Half the width of 95 % in such deviations: Student's t, or more where the errors of past predictions
        were larger.
    count : float
        Calibrations the line amounts to; 0 where nothing was estimated from them.
    half_life : float or None
        Calibrations after which one counts half; None where all count the same.
    due : DueDate
    method : str
        ``linear_regression``, or a simpler correction that was closer to past calibrations.
    reason : str
        Why the line is not used.
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
    due: DueDate
    method: str = LINE
    reason: str = ""

    def correct(self, raw: float) -> float:
        """Return the corrected value."""
        return self.slope * raw + self.intercept

    def uncertainty(self, raw: float) -> float:
        """Return the expanded uncertainty of one corrected value: half a 95 % prediction interval of the line.

        It grows with the distance from the calibrated values (JCGM 100:2008, and any text on regression).
        """
        leverage = (raw - self.centre) ** 2 / self.squares if self.squares > 0 else 0.0
        estimation = 1.0 / self.count if self.count else 0.0
        return self.cover * self.deviation * math.sqrt(1.0 + estimation + leverage)

    def predict(self, inputs: Sequence[PredictionInput]) -> list[Correction]:
        """Return a correction for each input."""
        return [self.answer(item["value"]) for item in inputs]

    def answer(self, raw: float) -> Correction:
        """Return the correction of a raw value, or the reason why the line does not apply to it."""
        beyond = max(self.low - raw, raw - self.high, 0.0)
        # A raw value that needs no correction needs none outside the calibrated range either.
        if self.method != RAW and beyond > _MAX_EXTRAPOLATION * (self.high - self.low):
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
            "model_used": self.method,
            "fallback_reason": self.reason or None,
        }

    def save(self, folder: Path) -> None:
        """Write ``calibration.json``."""
        save_json(folder / FILE_NAME, {"format": 1, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> CalibrationModel:
        """Read a calibration model from its folder."""
        document = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        document.pop("format")
        return cls(**document)
