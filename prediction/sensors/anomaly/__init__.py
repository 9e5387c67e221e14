"""Anomaly models: find the readings that do not fit what the sensor usually shows.

``train`` returns a ``Detector``: an isolation forest by default, ``knn_cad`` on request. ``threshold`` and
``range_margin`` decide when a score or a value is an anomaly, ``anomaly_types`` says which kind it is.
"""

from prediction.sensors.anomaly.detector import Detection, Detector, ForestDetector
from prediction.sensors.anomaly.knn_cad import StreamDetector
from prediction.sensors.anomaly.training import MIN_READINGS, evaluate, recalibrate, train

__all__ = [
    "MIN_READINGS",
    "Detection",
    "Detector",
    "ForestDetector",
    "StreamDetector",
    "evaluate",
    "recalibrate",
    "train",
]
