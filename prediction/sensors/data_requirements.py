"""Which models lack the data to be trained: a round of upkeep leaves them alone and says why."""

from __future__ import annotations

from prediction.sensors.anomaly import training as training_module
from prediction.sensors.calibration import correction
from prediction.sensors.drift import forecasting
from storage.sensors.data_counts import DataCountQuery, SensorDataCount

_FEWEST = {"anomaly": training_module.MIN_READINGS, "drift": forecasting.MIN_READINGS}


def query_for(new: int) -> DataCountQuery:
    """What `shortage` has to know of a sensor, and when the last ``new`` readings began."""
    return DataCountQuery(
        count=max(_FEWEST.values()),
        from_start=correction.READINGS_BEFORE,
        from_end=new,
        calibration_from_end=correction.MIN_PAIRS,
    )


def missing_data_reason(held: SensorDataCount, kind: str) -> str | None:
    """Why this model cannot be trained yet, in the words its training would use; None where it can be tried.

    Readings inside suspected anomalies count as any others: a training that lacks them says so itself.
    """
    if kind == "calibration":
        return _of_calibrations(held)
    fewest = _FEWEST[kind]
    if held.readings >= fewest:
        return None
    return f"Not enough data: {held.readings} readings, at least {fewest} needed"


def _of_calibrations(held: SensorDataCount) -> str | None:
    if held.calibrations < correction.MIN_CALIBRATIONS:
        return f"Not enough data: {held.calibrations} calibrations, at least {correction.MIN_CALIBRATIONS} needed"
    if None not in (held.early, held.late_calibration) and held.early <= held.late_calibration:  # type: ignore[operator]
        return None
    enough, before = correction.MIN_PAIRS, correction.READINGS_BEFORE
    lacks = f"fewer than {enough} calibrations with {before} readings before them"
    return f"Not enough data: {lacks}"
