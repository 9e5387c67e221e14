"""Decide which models lack the data to be trained, for all sensors at once."""

from __future__ import annotations

from prediction.sensors import anomaly, calibration, drift
from storage.sensors.data_counts import DataCountQuery, SensorDataCount

_MIN_READINGS = {"anomaly": anomaly.MIN_READINGS, "drift": drift.MIN_READINGS}


def query_for(new_readings: int) -> DataCountQuery:
    """Return what to count for `missing_data_reason`, and for when the last ``new_readings`` began."""
    return DataCountQuery(
        max_readings=max(_MIN_READINGS.values()),
        nth_first=calibration.READINGS_BEFORE,
        nth_last=new_readings,
        nth_last_calibration=calibration.MIN_PAIRS,
    )


def missing_data_reason(count: SensorDataCount, kind: str) -> str | None:
    """Return why a model cannot be trained yet, in the words of its training; None where it can be tried.

    Readings inside suspected anomalies count as any others: a training that lacks them says so itself.
    """
    if kind != "calibration":
        needed = _MIN_READINGS[kind]
        if count.readings >= needed:
            return None
        return f"Not enough data: {count.readings} readings, at least {needed} needed"
    if count.calibrations < calibration.MIN_CALIBRATIONS:
        needed = calibration.MIN_CALIBRATIONS
        return f"Not enough data: {count.calibrations} calibrations, at least {needed} needed"
    first, last = count.nth_first, count.nth_last_calibration
    if first is not None and last is not None and first <= last:
        return None
    usable = f"{calibration.MIN_PAIRS} calibrations with {calibration.READINGS_BEFORE} readings before them"
    return f"Not enough data: fewer than {usable}"
