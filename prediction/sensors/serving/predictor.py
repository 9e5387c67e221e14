"""The predictor of a sensor model: NumPy and JSON, neither scikit-learn nor pickles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, cast

from prediction.contract import JSON, Options, Predictor, Resources
from prediction.sensors.anomaly import composite, detector, knn_cad
from prediction.sensors.anomaly.detector import Detector
from prediction.sensors.calibration import model as calibration
from prediction.sensors.calibration.model import CalibrationModel
from prediction.sensors.drift import model as drift
from prediction.sensors.drift.model import DriftModel
from prediction.sensors.readings.prediction_input import PredictionInput, stack_values
from prediction.sensors.serving.releases import release_detections

SensorModel = Detector | DriftModel | CalibrationModel

# How to load a version, by the file that only its kind of model has.
_LOADERS: dict[str, Callable[[Path], SensorModel]] = {
    detector.FILE_NAME: detector.ForestDetector.load,
    composite.FILE_NAME: composite.CompositeDetector.load,
    knn_cad.FILE_NAME: knn_cad.StreamDetector.load,
    drift.FILE_NAME: DriftModel.load,
    calibration.FILE_NAME: CalibrationModel.load,
}


class SensorsPredictor(Predictor[PredictionInput, JSON]):
    """One of a sensor's three models."""

    def __init__(self, model: SensorModel) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> Self:
        """Read the model of a version's folder."""
        loaders = [load for name, load in _LOADERS.items() if (folder / name).exists()]
        if len(loaders) != 1:
            raise ValueError("the folder holds no sensor model")
        return cls(loaders[0](folder))

    def predict(self, inputs: Sequence[PredictionInput], options: Options) -> list[JSON]:
        """Return an answer for each input.

        With the options ``before`` and ``before_times`` the inputs are readings of a series that goes on after
        those, and verdicts have ``released`` some alarms: that is how detections are asked for, and kept.
        """
        if isinstance(self.model, Detector) and "before" in options:
            values, times = stack_values(inputs)
            answers = self.model.detect_after(values, times, options["before"], options["before_times"])
            answers = release_detections(answers, values, options.get("released", ()))
            return cast("list[JSON]", answers)
        return cast("list[JSON]", self.model.predict(inputs))

    @classmethod
    def agrees(cls, answer: JSON, other: JSON) -> bool:
        """Return whether verdicts are equal, or values lie within the uncertainty of the first."""
        if "is_anomaly" in answer:
            return bool(answer["is_anomaly"] == other.get("is_anomaly"))
        if "predictions" in answer:
            points = zip(answer["predictions"], other.get("predictions", ()), strict=False)
            # A step without an interval must have the same drift.
            return all(
                point["drift"] == later["drift"]
                if point["low"] is None
                else point["low"] <= later["drift"] <= point["high"]
                for point, later in points
            )
        if "corrected_value" in answer and "corrected_value" in other:
            difference = abs(answer["corrected_value"] - other["corrected_value"])
            return bool(difference <= (answer["uncertainty"] or 0.0))
        return ("corrected_value" in answer) == ("corrected_value" in other)
