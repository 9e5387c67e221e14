"""The ``.joblib`` files people expect, made from the served arrays when somebody asks for them.

Millwright writes them and never reads one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from prediction.sensors.anomaly import detector, knn_cad, sklearn_forest
from prediction.sensors.calibration import correction
from prediction.sensors.drift import forecasting


def file_name(kind: str, sensor_name: str, sensor_id: int) -> str:
    """``anomaly_model_Cooling_Tank_Pressure_13.joblib``: the sensor's name made safe."""
    safe = re.sub(r"[^A-Za-z0-9]+", "_", sensor_name).strip("_")[:50] or "sensor"
    return f"{kind}_model_{safe}_{sensor_id}.joblib"


def write(folder: Path, kind: str, target: Path) -> bool:
    """Write the scikit-learn model of a version's folder; False where the folder holds another kind."""
    import joblib

    makers = {
        "anomaly": (detector.FILE_NAME, _forest),
        "drift": (forecasting.FILE_NAME, _drift),
        "calibration": (correction.FILE_NAME, _calibration),
    }
    facts, make = makers[kind]
    if kind == "anomaly" and (folder / knn_cad.FILE_NAME).exists():
        make = _neighbours
    elif not (folder / facts).exists():
        return False
    joblib.dump(make(folder), target, compress=3)
    return True


def _forest(folder: Path) -> Any:
    """An IsolationForest; its columns are those of ``features`` in this package's ``series``."""
    kept = detector.load(folder)
    return sklearn_forest.as_scikit_learn(kept.forest, kept.threshold, 3 if kept.mode == "classic" else 5)


def _neighbours(folder: Path) -> Any:
    """A NearestNeighbors over the windows of readings that a stream starts from."""
    from sklearn.neighbors import NearestNeighbors

    kept = knn_cad.load(folder)
    windows = np.lib.stride_tricks.sliding_window_view(kept.history, kept.shape.window)
    return NearestNeighbors(n_neighbors=kept.shape.neighbours).fit(windows)


def _drift(folder: Path) -> Any:
    kept = forecasting.load(folder)
    return _linear(np.array(kept.weights), kept.intercept)


def _calibration(folder: Path) -> Any:
    kept = correction.load(folder)
    return _linear(np.array([kept.slope]), kept.intercept)


def _linear(weights: Any, intercept: float) -> Any:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression()
    model.coef_, model.intercept_ = weights, intercept
    model.n_features_in_, model.rank_ = len(weights), len(weights)
    return model
