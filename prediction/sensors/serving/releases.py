"""Let a person's verdict release a sensor at once, without waiting for a training.

The alarms of an episode with the verdict ``false_alarm`` or ``new_normal`` were for ordinary readings. A later alarm
of the same type for a reading like them is taken back, whichever detector raised it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

import numpy as np

from prediction.sensors.anomaly.detector import Detection, Detector
from prediction.sensors.readings.series import Array
from storage.sensors.anomalies import AlarmBand, Anomalies
from storage.sensors.readings import from_microseconds

# Sensors are trained again once a week, so four trainings had the time to learn what is ordinary.
MAX_AGE = timedelta(days=28)
_MAX_RELEASES = 20
# An episode may be short when it is judged: its readings have not shown the whole noise of the sensor yet. Of
# normal noise, 99 % of later readings lie within this many deviations of the extremes of six.
_TOLERANCE = 2.0
_FROZEN = "Dropout"
# A jump to another level and a slope towards it are told apart by the last readings only.
_SAME_TYPE = {"Calibration Error": "Drift"}


class ReleasedBand(TypedDict):
    """Alarms of one type that are taken back, by the verdict on an episode.

    ``low`` and ``high`` bound distances from the usual value; for a frozen sensor, the values that it repeats.
    """

    anomaly_id: int
    type: str
    low: float
    high: float


def build_band(detection: Detection, value: float, timestamp: datetime) -> AlarmBand:
    """Return what an episode keeps of one alarm."""
    low, expected = detection["deviation"], detection["expected"]
    if detection["type"] == _FROZEN or low is None:
        low, expected = value, None
    version = detection.get("model_version")
    return {"low": low, "high": low, "expected": expected, "time": timestamp.timestamp(), "version": version}


def find_released_bands(
    anomalies: Anomalies, sensor_id: int, model: Detector | None, time: int
) -> list[ReleasedBand]:
    """Return what verdicts have released for readings from a time on (microseconds since 1970)."""
    since = from_microseconds(time) - MAX_AGE
    releases = anomalies.find_releases(sensor_id, since, _MAX_RELEASES)
    return [
        {"anomaly_id": release.id, "type": type_, "low": low, "high": high}
        for release in releases
        for type_, band in release.bands.items()
        for low, high in _find_bounds(type_, band, model)
    ]


def _find_bounds(type_: str, band: AlarmBand, model: Detector | None) -> Iterator[tuple[float, float]]:
    """Yield the bounds by the model of today; none where it is not known how far the readings were from usual."""
    low, high = band["low"], band["high"]
    if type_ == _FROZEN:
        yield low, high
    elif model is not None and band["expected"] is not None:
        # A later model may have learnt another usual value: the readings stay where they were.
        moved = float(model.estimate_usual(np.array([band["time"]]))[0]) - band["expected"]
        tolerance = _TOLERANCE * model.profile.spread
        yield low - moved - tolerance, high - moved + tolerance


def release_detections(
    detections: Sequence[Detection], values: Array, bands: Sequence[ReleasedBand]
) -> list[Detection]:
    """Return the detections without the alarms that a verdict has released; those name the episode."""
    return [
        _release(detection, value, bands)
        for detection, value in zip(detections, values.tolist(), strict=True)
    ]


def _release(detection: Detection, value: float, bands: Sequence[ReleasedBand]) -> Detection:
    type_ = detection["type"]
    position = value if type_ == _FROZEN else detection["deviation"]
    if type_ is None or position is None:
        return detection
    for band in bands:
        is_same = _SAME_TYPE.get(type_, type_) == _SAME_TYPE.get(band["type"], band["type"])
        if is_same and band["low"] <= position <= band["high"]:
            released: Detection = {**detection, "is_anomaly": False, "type": None, "severity": None}
            return {**released, "released_by": band["anomaly_id"]}
    return detection
