"""Which models lack the data to be trained: a round of upkeep leaves them alone and says why."""

from __future__ import annotations

from prediction.sensors import anomaly, calibration, drift
from storage.database import Database
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings, microseconds

_FEWEST = {"anomaly": anomaly.FEWEST, "drift": drift.FEWEST}
_EVER = 2**62


def shortage(database: Database, sensor_id: int, kind: str) -> str | None:
    """Why this model cannot be trained yet, in the words its training would use; None where it can be tried.

    Readings inside suspected anomalies are not looked for: a training that lacks them says so itself.
    """
    if kind == "calibration":
        return _of_calibrations(database, sensor_id)
    fewest = _FEWEST[kind]
    count = len(Readings(database).before(sensor_id, _EVER, fewest).values)
    return None if count == fewest else f"Not enough data: {count} readings, at least {fewest} needed"


def _of_calibrations(database: Database, sensor_id: int) -> str | None:
    known, enough = Calibrations(database).by_hand(sensor_id), calibration.FEWEST_PAIRS
    if len(known) < calibration.FEWEST:
        return f"Not enough data: {len(known)} calibrations, at least {calibration.FEWEST} needed"
    at = microseconds(known[-enough]["applied_at"]) + 1  # those behind it have at least as many before them
    before = len(Readings(database).before(sensor_id, at, calibration.READINGS_BEFORE).values)
    if before == calibration.READINGS_BEFORE:
        return None
    lacks = f"fewer than {enough} calibrations with {calibration.READINGS_BEFORE} readings before them"
    return f"Not enough data: {lacks}"
