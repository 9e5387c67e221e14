"""Calibration models: correct a raw value by past calibrations, with its uncertainty and a due date.

``build_pairs`` joins calibrations with the readings before them; ``train`` fits a ``CalibrationModel`` on them.
"""

from prediction.sensors.calibration.model import CalibrationModel, Correction
from prediction.sensors.calibration.pairs import (
    MIN_CALIBRATIONS,
    MIN_PAIRS,
    READINGS_BEFORE,
    CalibrationPairs,
    build_pairs,
    check_enough_data,
)
from prediction.sensors.calibration.training import evaluate, train

__all__ = [
    "MIN_CALIBRATIONS",
    "MIN_PAIRS",
    "READINGS_BEFORE",
    "CalibrationModel",
    "CalibrationPairs",
    "Correction",
    "build_pairs",
    "check_enough_data",
    "evaluate",
    "train",
]
