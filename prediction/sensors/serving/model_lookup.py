"""Find the model that serves a sensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from errors import MillwrightError
from prediction.contract import ModelKey, Predictor
from prediction.sensors.anomaly.detector import Detection, Detector
from prediction.sensors.calibration.model import CalibrationModel, Correction
from prediction.sensors.drift.model import DriftForecast, DriftModel
from prediction.sensors.serving.predictor import SensorsPredictor

ModelT = TypeVar("ModelT", Detector, DriftModel, CalibrationModel)
AnswerT = TypeVar("AnswerT", Detection, DriftForecast, Correction)


class ServedVersion(Protocol):
    """A loaded champion; ``fallback_warning`` says why an earlier version serves in its place."""

    @property
    def number(self) -> int:
        """Return the version."""

    @property
    def predictor(self) -> Predictor:
        """Return the loaded model."""

    @property
    def fallback_warning(self) -> str:
        """Return the warning, or an empty text."""


ChampionLookup = Callable[[ModelKey], ServedVersion]
"""Returns the champion of a key; raises a ``MillwrightError`` where no version can answer."""


@dataclass(frozen=True)
class ModelLookup(Generic[ModelT]):
    """The model that serves a sensor, or the reason the fallback rule is used.

    ``reason`` is also set where an earlier version serves instead of the champion.
    """

    model: ModelT | None
    version: int | None
    reason: str

    def annotate(self, answer: AnswerT) -> AnswerT:
        """Add the version to an answer, and the reason where it is not the champion's."""
        answer["fallback_reason"] = answer["fallback_reason"] or self.reason or None
        answer["model_version"] = self.version
        return answer

    @classmethod
    def find(cls, champion: ChampionLookup, key: ModelKey) -> ModelLookup[Any]:
        """Return the champion of a key, or why there is none that can answer."""
        try:
            served = champion(key)
        except MillwrightError as error:
            return cls(None, None, error.message)
        predictor = cast("SensorsPredictor", served.predictor)
        return ModelLookup(predictor.model, served.number, served.fallback_warning)
