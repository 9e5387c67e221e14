"""Find the model that serves a sensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from errors import MillwrightError
from prediction.contract import AnyPredictor, ModelKey, Options
from prediction.sensors.anomaly.detector import Detection, Detector
from prediction.sensors.calibration.model import CalibrationModel, Correction
from prediction.sensors.drift.model import DriftForecast, DriftModel
from prediction.sensors.serving.predictor import SensorsPredictor

ModelT = TypeVar("ModelT", Detector, DriftModel, CalibrationModel)
AnswerT = TypeVar("AnswerT", Detection, DriftForecast, Correction)


class ServedVersion(Protocol):
    """A loaded champion; ``warnings`` say where an earlier version serves, or trainings are rejected."""

    @property
    def number(self) -> int:
        """Return the version."""

    @property
    def predictor(self) -> AnyPredictor:
        """Return the loaded model."""

    @property
    def warnings(self) -> list[str]:
        """Return sentences for its answers."""


# Returns the champion of a key; raises a ``MillwrightError`` where no version can answer.
ChampionLookup = Callable[[ModelKey], ServedVersion]
# Keeps what a version answered, by its inputs and options; returns the fields that an answer has besides.
AnswerKeeper = Callable[
    [ServedVersion, Sequence[Mapping[str, object]], Options, Sequence[Mapping[str, object]]],
    Mapping[str, object],
]


@dataclass(frozen=True)
class ModelLookup(Generic[ModelT]):
    """The model that serves a sensor, or the reason the fallback rule is used.

    ``reason`` is also set where an earlier version serves instead of the champion, and where the champion is frozen.
    """

    model: ModelT | None
    served: ServedVersion | None
    reason: str

    def annotate(self, answer: AnswerT, **fields: object) -> AnswerT:
        """Return an answer with its version, the reason where there is one, and further fields."""
        reason = answer["fallback_reason"] or self.reason or None
        version = self.served.number if self.served else None
        return cast("AnswerT", {**answer, "fallback_reason": reason, "model_version": version, **fields})

    @classmethod
    def find(cls, champion: ChampionLookup, key: ModelKey) -> ModelLookup[Any]:
        """Return the champion of a key, or why there is none that can answer."""
        try:
            served = champion(key)
        except MillwrightError as error:
            return cls(None, None, error.message)
        predictor = cast("SensorsPredictor", served.predictor)
        return ModelLookup(predictor.model, served, ". ".join(served.warnings))
