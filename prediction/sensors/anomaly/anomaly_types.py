"""What kind of anomaly a reading is, and how severe: rules a technician can check by eye."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

TYPES = ("Drift", "Spike", "Dropout", "Noise", "Calibration Error")
SEVERITIES = ("Low", "Medium", "High", "Critical")
_SEVERITY_STEPS = (4.0, 6.0, 10.0)
CONTEXT_LENGTH = 12
_FEWEST = 5


def rate_severity(deviation: float, beyond_range: bool) -> str:
    """How severe a deviation is.

    Parameters
    ----------
    deviation : float
        Distance from the expected value in robust standard deviations of the sensor.
    beyond_range : bool
        Whether the reading lies beyond everything the sensor has shown: at least ``High``.
    """
    step = int(np.searchsorted(_SEVERITY_STEPS, abs(deviation), side="right"))
    return SEVERITIES[max(step, 2 if beyond_range else 0)]


def classify(value: float, expected: float, spread: float, step: float, recent: Array) -> str:
    """The kind of an anomalous reading.

    Parameters
    ----------
    value, expected, spread : float
        The reading, what the sensor usually shows then, and its robust standard deviation.
    step : float
        Robust standard deviation of the usual change from one reading to the next.
    recent : float, shape (k,)
        The readings before this one, oldest first; may be empty.
    """
    window = np.append(recent[-(CONTEXT_LENGTH - 1) :], value)
    if _lost(value, expected, spread) or _stuck(window, step):
        return "Dropout"
    if len(window) < _FEWEST:
        return "Spike"
    if _restless(window, step):
        return "Noise"
    away = (window - expected)[-_FEWEST:]
    if np.all(np.sign(away) == np.sign(away[-1])) and np.abs(away).min() > 1.5 * spread:
        return "Drift" if _sloping(window) else "Calibration Error"
    return "Drift" if _sloping(window) and abs(window[-1] - window[0]) > 3 * spread else "Spike"


def _lost(value: float, expected: float, spread: float) -> bool:
    """A sensor that reads nothing although it should read something."""
    return value == 0 and abs(expected) > 5 * spread


def _stuck(window: Array, step: float) -> bool:
    return len(window) >= _FEWEST and step > 0 and bool(np.all(window[-_FEWEST:] == window[-1]))


def _restless(window: Array, step: float) -> bool:
    """Large changes to and fro, not one jump: the median change counts, and the sign turns."""
    changes = np.diff(window)
    turns = np.mean(np.sign(changes[1:]) != np.sign(changes[:-1]))
    return bool(step > 0 and np.median(np.abs(changes)) > 3 * step and turns > 0.4)


def _sloping(window: Array) -> bool:
    """A straight line explains most of the window and no single change does."""
    at = np.arange(len(window)) - (len(window) - 1) / 2
    slope = float(at @ window) / float(at @ at)
    rest = window - window.mean() - slope * at
    rise = abs(slope) * (len(window) - 1)
    return bool(rise > 3 * rest.std() and np.abs(np.diff(window)).max() < 0.6 * rise)
