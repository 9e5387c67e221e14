"""Which models lack the data to be trained: a round of upkeep leaves them alone and says why."""

from __future__ import annotations

from prediction.sensors import anomaly, calibration, drift
from storage.sensors.holdings import Asked, Holding

_FEWEST = {"anomaly": anomaly.FEWEST, "drift": drift.FEWEST}


def asked(new: int) -> Asked:
    """What `shortage` has to know of a sensor, and when the last ``new`` readings began."""
    return Asked(
        count=max(_FEWEST.values()),
        from_start=calibration.READINGS_BEFORE,
        from_end=new,
        calibration_from_end=calibration.FEWEST_PAIRS,
    )


def shortage(held: Holding, kind: str) -> str | None:
    """Why this model cannot be trained yet, in the words its training would use; None where it can be tried.

    Readings inside suspected anomalies count as any others: a training that lacks them says so itself.
    """
    if kind == "calibration":
        return _of_calibrations(held)
    fewest = _FEWEST[kind]
    if held.readings >= fewest:
        return None
    return f"Not enough data: {held.readings} readings, at least {fewest} needed"


def _of_calibrations(held: Holding) -> str | None:
    if held.calibrations < calibration.FEWEST:
        return f"Not enough data: {held.calibrations} calibrations, at least {calibration.FEWEST} needed"
    if None not in (held.early, held.late_calibration) and held.early <= held.late_calibration:  # type: ignore[operator]
        return None
    enough, before = calibration.FEWEST_PAIRS, calibration.READINGS_BEFORE
    lacks = f"fewer than {enough} calibrations with {before} readings before them"
    return f"Not enough data: {lacks}"
