"""Simple rules that answer where no model can. Each answer names the rule and the reason for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prediction.sensors.anomaly.anomaly_types import rate_severity
from prediction.sensors.anomaly.detector import Detection
from prediction.sensors.calibration.model import Correction
from prediction.sensors.drift.model import DriftForecast
from prediction.sensors.drift.regression import compute_drift
from prediction.sensors.readings.series import (
    Array,
    SensorSeries,
    estimate_centre_and_scale,
    estimate_interval_seconds,
)
from storage.sensors.baseline import Baseline

# Recent readings that the rules look at.
CONTEXT_LENGTH = 100
_MIN_READINGS = 10
_MAX_DEVIATIONS = 4.0


def detect_by_threshold(
    values: Array, before: Array, low: float | None, high: float | None, reason: str
) -> list[Detection]:
    """Flag what lies beyond the sensor's limits, or four robust deviations from its recent readings."""
    centre = scale = None
    if len(before) >= _MIN_READINGS:
        centre, scale = estimate_centre_and_scale(before)
    detections: list[Detection] = []
    for value in values.tolist():
        is_outside = (low is not None and value < low) or (high is not None and value > high)
        deviations = 0.0 if centre is None or scale is None else (value - centre) / scale
        is_anomaly = is_outside or abs(deviations) > _MAX_DEVIATIONS
        score = min(1.0, abs(deviations) / (2 * _MAX_DEVIATIONS)) if centre is not None else float(is_outside)
        detections.append(
            {
                "is_anomaly": is_anomaly,
                "anomaly_score": score,
                "threshold": 0.5,
                "confidence": None,
                "severity": rate_severity(deviations, is_outside) if is_anomaly else None,
                "type": "Spike" if is_anomaly else None,
                "expected": centre,
                "deviation": None if centre is None else value - centre,
                "beyond_range": is_outside,
                "model_used": "threshold",
                "fallback_reason": reason,
            }
        )
    return detections


def forecast_linear_trend(
    series: SensorSeries, baseline: Baseline, points: int, reason: str
) -> DriftForecast:
    """Extend a straight line through the recent drift values, without an interval."""
    drift = compute_drift(baseline, series.values)
    interval = estimate_interval_seconds(series.times)
    last = float(series.times[-1])
    if len(series) > 1 and np.ptp(series.times) > 0:
        slope, level = np.polyfit(series.times - last, drift, 1)
    else:
        slope, level = 0.0, float(drift[-1])
    return {
        "current_drift": float(drift[-1]),
        "predictions": [
            {
                "step": step,
                "time": last + step * interval,
                "drift": float(level + slope * step * interval),
                "low": None,
                "high": None,
                "confidence": None,
            }
            for step in range(1, points + 1)
        ],
        "backtest": None,
        "baseline": baseline.value,
        "model_used": "linear_trend",
        "fallback_reason": reason,
    }


def correct_by_offset(raw: float, pairs: Sequence[tuple[float, float]], reason: str) -> Correction:
    """Add the mean offset of past calibrations, if any; the uncertainty is not known.

    Parameters
    ----------
    raw : float
    pairs : sequence of (float, float)
        Measured and corrected values of the latest calibrations.
    """
    offset = float(np.mean([corrected - measured for measured, corrected in pairs])) if pairs else 0.0
    corrected = raw + offset
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
