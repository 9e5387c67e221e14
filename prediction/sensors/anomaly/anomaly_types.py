"""Classify an anomaly and rate its severity, by rules that a technician can check by eye."""

from __future__ import annotations

import numpy as np

from prediction.sensors.readings.series import Array
from storage.alarms.tables import SEVERITY_NAMES

TYPES = ("Drift", "Spike", "Dropout", "Noise", "Calibration Error")
# Readings, the anomalous one included, that decide its type.
CONTEXT_LENGTH = 12
_SEVERITY_STEPS = (4.0, 6.0, 10.0)
_MIN_WINDOW = 5


def rate_severity(deviation: float, is_out_of_range: bool) -> str:
    """Return the severity of a deviation.

    Parameters
    ----------
    deviation : float
        Distance from the expected value in robust standard deviations of the sensor.
    is_out_of_range : bool
        Whether the reading lies beyond everything the sensor has shown: at least ``High``.
    """
    step = int(np.searchsorted(_SEVERITY_STEPS, abs(deviation), side="right"))
    return SEVERITY_NAMES[max(step, 2 if is_out_of_range else 0)]


def classify(value: float, expected: float, spread: float, step: float, recent: Array) -> str:
    """Return the type of an anomalous reading.

    Parameters
    ----------
    value, expected, spread : float
        The reading, the sensor's usual value at that time, and its robust standard deviation.
    step : float
        Robust standard deviation of the usual change from one reading to the next.
    recent : float, shape (k,)
        The readings before this one, oldest first; may be empty.
    """
    window = np.append(recent[-(CONTEXT_LENGTH - 1) :], value)
    reads_nothing = value == 0 and abs(expected) > 5 * spread
    # A sensor that usually changes is stuck when it repeats one value.
    last = window[-_MIN_WINDOW:]
    is_stuck = len(window) >= _MIN_WINDOW and step > 0 and np.all(last == window[-1])
    if reads_nothing or is_stuck:
        return "Dropout"
    if len(window) < _MIN_WINDOW:
        return "Spike"
    if _alternates(window, step):
        return "Noise"
    offsets = last - expected
    if np.all(np.sign(offsets) == np.sign(offsets[-1])) and np.abs(offsets).min() > 1.5 * spread:
        return "Drift" if _is_sloping(window) else "Calibration Error"
    return "Drift" if _is_sloping(window) and abs(window[-1] - window[0]) > 3 * spread else "Spike"


def _alternates(window: Array, step: float) -> bool:
    """Return whether the readings change to and fro; one jump does not, since the median change counts."""
    changes = np.diff(window)
    turns = np.mean(np.sign(changes[1:]) != np.sign(changes[:-1]))
    return bool(step > 0 and np.median(np.abs(changes)) > 3 * step and turns > 0.4)


def _is_sloping(window: Array) -> bool:
    """Return whether a straight line explains most of the window and no single change does."""
    positions = np.arange(len(window)) - (len(window) - 1) / 2
    slope = float(positions @ window) / float(positions @ positions)
    residuals = window - window.mean() - slope * positions
    rise = abs(slope) * (len(window) - 1)
    return bool(rise > 3 * residuals.std() and np.abs(np.diff(window)).max() < 0.6 * rise)
