"""The predictor of a sensor model: NumPy and JSON, neither scikit-learn nor pickles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from prediction.contract import JSON, Predictor, Resources
from prediction.sensors.anomaly import detector, knn_cad
from prediction.sensors.anomaly.detector import Detector
from prediction.sensors.calibration import model as calibration
from prediction.sensors.calibration.model import CalibrationModel
from prediction.sensors.drift import model as drift
from prediction.sensors.drift.model import DriftModel

SensorModel = Detector | DriftModel | CalibrationModel

# How to load a version, by the file that only its kind of model has.
_LOADERS: dict[str, Callable[[Path], SensorModel]] = {
    detector.FILE_NAME: detector.ForestDetector.load,
    knn_cad.FILE_NAME: knn_cad.StreamDetector.load,
    drift.FILE_NAME: DriftModel.load,
    calibration.FILE_NAME: CalibrationModel.load,
}


class SensorsPredictor(Predictor):
    """One of a sensor's three models."""

    def __init__(self, model: SensorModel) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> SensorsPredictor:
        """Read the model of a version's folder."""
        loaders = [load for name, load in _LOADERS.items() if (folder / name).exists()]
        if len(loaders) != 1:
            raise ValueError("the folder holds no sensor model")
        return cls(loaders[0](folder))

    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
        """Return an answer for each input, which is a ``PredictionInput``."""
        return cast("list[JSON]", self.model.predict(inputs))
