"""Write the ``.joblib`` files that people expect, from the served arrays, when somebody asks for one.

Millwright writes them and never reads one.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from prediction.sensors.anomaly import composite, detector, knn_cad, sklearn_forest
from prediction.sensors.calibration import model as calibration
from prediction.sensors.drift import model as drift
from prediction.sensors.readings.series import Array
from storage.filesystem.checked_write import write_checked

if TYPE_CHECKING:
    from sklearn.linear_model import LinearRegression


def build_file_name(kind: str, sensor_name: str, sensor_id: int) -> str:
    """Return ``anomaly_model_Cooling_Tank_Pressure_13.joblib``, with the sensor's name made safe."""
    safe = re.sub(r"[^A-Za-z0-9]+", "_", sensor_name).strip("_")[:50] or "sensor"
    return f"{kind}_model_{safe}_{sensor_id}.joblib"


def write_download(folder: Path, kind: str, target: Path) -> bool:
    """Write the scikit-learn model of a version's folder; return False where the folder holds another kind."""
    import joblib

    if kind == "anomaly" and (folder / detector.FILE_NAME).exists():
        forest = detector.ForestDetector.load(folder)
        columns = 3 if forest.mode == "classic" else 5
        model = sklearn_forest.as_scikit_learn(forest.forest, forest.threshold, columns)
    elif kind == "anomaly" and (folder / knn_cad.FILE_NAME).exists():
        from sklearn.neighbors import NearestNeighbors

        # Over the windows of readings that the stream starts from.
        stream = knn_cad.StreamDetector.load(folder)
        windows = np.lib.stride_tricks.sliding_window_view(stream.history, stream.settings.window)
        model = NearestNeighbors(n_neighbors=stream.settings.neighbours).fit(windows)
    elif kind == "anomaly" and (folder / composite.FILE_NAME).exists():
        # The autoregression of the residuals: the one part for which scikit-learn has a class.
        weights = composite.CompositeDetector.load(folder).parts.weights
        model = _build_linear_regression(weights[1:], float(weights[0]))
    elif kind == "drift" and (folder / drift.FILE_NAME).exists():
        regression = drift.DriftModel.load(folder).regression
        model = _build_linear_regression(regression.weights, regression.intercept)
    elif kind == "calibration" and (folder / calibration.FILE_NAME).exists():
        line = calibration.CalibrationModel.load(folder)
        model = _build_linear_regression(np.array([line.slope]), line.intercept)
    else:
        return False
    content = io.BytesIO()
    joblib.dump(model, content, compress=3)
    write_checked(target, content.getbuffer())
    return True


def _build_linear_regression(weights: Array, intercept: float) -> LinearRegression:
    from sklearn.linear_model import LinearRegression

    model = LinearRegression()
    model.coef_, model.intercept_ = weights, intercept
    model.n_features_in_, model.rank_ = len(weights), len(weights)
    return model
