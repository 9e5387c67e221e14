"""Drift models: how far a sensor is from its baseline, in per cent, and where it is going.

``train`` fits a linear regression on past drift and backtests it; the ``DriftModel`` it returns forecasts step by
step, with an interval whose coverage was measured.
"""

from prediction.sensors.drift.model import DriftForecast, DriftModel, DriftPoint
from prediction.sensors.drift.regression import build_features, compute_drift
from prediction.sensors.drift.training import MIN_READINGS, evaluate, train

__all__ = [
    "MIN_READINGS",
    "DriftForecast",
    "DriftModel",
    "DriftPoint",
    "build_features",
    "compute_drift",
    "evaluate",
    "train",
]
