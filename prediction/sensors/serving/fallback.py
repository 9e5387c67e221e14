"""What answers where no model can: simple rules that say that they are simple, and why they were asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.sensors.anomaly import anomaly_types
from prediction.sensors.drift.forecasting import compute_drift
from prediction.sensors.readings.series import (
    SensorSeries,
    estimate_centre_and_scale,
    estimate_interval_seconds,
)
from storage.sensors.baseline import Baseline

Array = NDArray[Any]

RECENT = 100
_FEWEST = 10
_SIGMAS = 4.0


def threshold(values: Array, before: Array, low: float | None, high: float | None, reason: str) -> list[JSON]:
    """Odd is what lies beyond the sensor's limits or four robust deviations from its recent readings."""
    known = len(before) >= _FEWEST
    centre, scale = estimate_centre_and_scale(before) if known else (None, None)
    answers = []
    for value in values.tolist():
        beyond = (low is not None and value < low) or (high is not None and value > high)
        away = (value - centre) / scale if centre is not None and scale is not None else 0.0
        odd = beyond or abs(away) > _SIGMAS
        answers.append(
            {
                "is_anomaly": odd,
                "anomaly_score": min(1.0, abs(away) / (2 * _SIGMAS)) if known else float(beyond),
                "threshold": 0.5,
                "confidence": None,
                "severity": anomaly_types.rate_severity(away, beyond) if odd else None,
                "type": "Spike" if odd else None,
                "expected": centre,
                "deviation": None if centre is None else value - centre,
                "beyond_range": beyond,
                "model_used": "threshold",
                "fallback_reason": reason,
            }
        )
    return answers


def linear_trend(series: SensorSeries, base: Baseline, points: int, reason: str) -> JSON:
    """A straight line through the recent drift values; it promises no interval."""
    drift = compute_drift(base, series.values)
    steps = np.arange(1, points + 1) * estimate_interval_seconds(series.times)
    last = float(series.times[-1])
    if len(series) > 1 and np.ptp(series.times) > 0:
        slope, level = np.polyfit(series.times - last, drift, 1)
    else:
        slope, level = 0.0, float(drift[-1])
    found = [_point(n, last + float(s), float(level + slope * s)) for n, s in enumerate(steps, 1)]
    return {
        "current_drift": float(drift[-1]),
        "predictions": found,
        "backtest": None,
        "baseline": base.value,
        "model_used": "linear_trend",
        "fallback_reason": reason,
    }


def _point(step: int, time: float, drift: float) -> JSON:
    return {"step": step, "time": time, "drift": drift, "low": None, "high": None, "confidence": None}


def linear_correction(raw: float, pairs: Sequence[tuple[float, float]], reason: str) -> JSON:
    """The mean correction of the last three calibrations, or none at all; its uncertainty is not known."""
    shift = float(np.mean([corrected - measured for measured, corrected in pairs[-3:]])) if pairs else 0.0
    corrected = raw + shift
    return {
        "corrected_value": corrected,
        "correction_factor": corrected / raw if raw else None,
        "uncertainty": None,
        "extrapolated": None,
        "calibrated_range": None,
        "half_life": None,
        "due": None,
        "model_used": "linear_correction" if pairs else "none",
        "fallback_reason": reason,
    }
