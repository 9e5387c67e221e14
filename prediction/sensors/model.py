"""What the three kinds of model learn, and how each is judged: one recipe a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prediction.contract import JSON, Scores
from prediction.sensors.anomaly import training
from prediction.sensors.calibration import correction
from prediction.sensors.drift import forecasting
from prediction.sensors.training_data import TrainingData


@dataclass(frozen=True)
class TrainedSensorModel:
    """A trained model; ``judged`` learnt from the past only, ``served`` from everything.

    Both are a ``Detector``, a ``DriftModel`` or a ``CalibrationModel``; ``served`` is None until the refit.
    """

    kind: str
    judged: Any
    served: Any = None


def learnt(material: TrainingData, rows: Any, options: JSON) -> Any:
    """A model of this kind from these rows, to be judged on later ones."""
    if material.kind == "anomaly":
        return training.train(rows, options, training.EVALUATION_HELD_OUT_SHARE)
    return _fitted(material, rows, options)


def moved_on(material: TrainingData, model: Any, options: JSON) -> Any:
    """The judged model, or its recipe, on all rows."""
    if material.kind == "anomaly":
        return training.recalibrate(model, material.rows, options)
    return _fitted(material, material.rows, options)


def _fitted(material: TrainingData, rows: Any, options: JSON) -> Any:
    if material.kind == "drift":
        assert material.base is not None
        return forecasting.train(rows, material.base, options["coverage"])
    return correction.train(rows, options)


def judged(material: TrainingData, model: Any) -> Scores:
    """The model's scores on the held-out rows."""
    if material.kind == "anomaly":
        return training.evaluate(model, material.past, material.held_out)
    if material.kind == "drift":
        return forecasting.evaluate(model, material.rows, material.first)
    return correction.evaluate(model, material.held_out)
