"""What answers for a sensor: NumPy and JSON, neither scikit-learn nor pickles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prediction.contract import JSON, Predictor, Resources
from prediction.sensors.anomaly import detector, knn_cad
from prediction.sensors.anomaly.detector import Detector
from prediction.sensors.calibration import correction
from prediction.sensors.calibration.correction import CalibrationModel
from prediction.sensors.drift import forecasting
from prediction.sensors.drift.forecasting import DriftModel

LOADERS: dict[str, Callable[[Path], Any]] = {
    detector.FILE_NAME: detector.load,
    knn_cad.FILE_NAME: knn_cad.load,
    forecasting.FILE_NAME: forecasting.load,
    correction.FILE_NAME: correction.load,
}


class SensorsPredictor(Predictor):
    """One of a sensor's three models.

    Parameters
    ----------
    model : Detector, DriftModel or CalibrationModel
    """

    def __init__(self, model: Any) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> SensorsPredictor:
        found = [load for name, load in LOADERS.items() if (folder / name).exists()]
        if len(found) != 1:
            raise ValueError("the folder holds no sensor model")
        return cls(found[0](folder))

    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
        """Answers to inputs of ``value``, ``time`` (seconds since 1970), ``recent`` and ``future_points``."""
        return answers(self.model, inputs)


def answers(model: Any, inputs: Sequence[JSON]) -> list[JSON]:
    """One answer an input, whatever the kind of model."""
    if isinstance(model, Detector):
        values = np.array([one["value"] for one in inputs], dtype=np.float64)
        times = np.array([one["time"] for one in inputs], dtype=np.float64)
        return model.answers(values, times, [np.array(one["recent"], dtype=np.float64) for one in inputs])
    if isinstance(model, DriftModel):
        return forecasts(model, inputs)
    assert isinstance(model, CalibrationModel)
    return [model.answer(one["value"]) for one in inputs]


def forecasts(model: DriftModel, asked: Sequence[JSON]) -> list[JSON]:
    """The drift now and its next steps, with how well such forecasts have done."""
    recent = [np.array([*one["recent"], one["value"]], dtype=np.float64) for one in asked]
    times = np.array([one["time"] for one in asked], dtype=np.float64)
    now = model.drift(np.array([one["value"] for one in asked], dtype=np.float64)).tolist()
    paths = model.forecasts(recent, times, max(one["future_points"] for one in asked))
    return [
        {
            "current_drift": forecasting,
            "predictions": path[: one["future_points"]],
            "backtest": model.facts,
            "baseline": model.baseline_value,
            "model_used": "linear_regression",
            "fallback_reason": None,
        }
        for one, forecasting, path in zip(asked, now, paths, strict=True)
    ]
