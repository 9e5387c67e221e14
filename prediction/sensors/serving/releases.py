"""Let a person's verdict release a sensor at once, without waiting for a training.

The readings of an episode with the verdict ``false_alarm`` or ``new_normal`` are ordinary. An alarm for a reading
like them is taken back, whichever detector raised it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from prediction.sensors.anomaly.detector import Detection, Detector
from prediction.sensors.readings.series import Array
from storage.sensors.anomalies import TYPE_RANKS, Anomalies, Release
from storage.sensors.readings import Readings, from_microseconds, to_microseconds

# Sensors are trained again once a week, so four trainings had the time to learn what is ordinary.
MAX_AGE = timedelta(days=28)
_MAX_RELEASES = 20
_MAX_READINGS = 10_000
# An episode may be short when it is judged: its readings have not shown the whole noise of the sensor yet. Of
# normal noise, 99 % of later readings lie within this many deviations of the extremes of six.
_TOLERANCE = 2.0
_FROZEN = "Dropout"


@dataclass(frozen=True)
class ReleasedBand:
    """Readings that are ordinary, by the verdict on an episode.

    Parameters
    ----------
    anomaly_id : int
    type : str
        Of the episode.
    low, high : float
        Of a frozen sensor the values that it repeated, else distances from the usual value.
    """

    anomaly_id: int
    type: str
    low: float
    high: float

    def covers(self, value: float, detection: Detection) -> bool:
        """Return whether an alarm is about a reading like those of the episode."""
        if self.type == _FROZEN:
            return self.low <= value <= self.high
        if detection["type"] == _FROZEN or detection["deviation"] is None:
            return False
        is_as_specific = TYPE_RANKS.get(detection["type"] or "", 0) <= TYPE_RANKS.get(self.type, 0)
        is_level = TYPE_RANKS.get(detection["type"] or "", 0) <= TYPE_RANKS["Drift"]
        return (is_as_specific or is_level) and self.low <= detection["deviation"] <= self.high


def find_released_bands(
    anomalies: Anomalies, readings: Readings, sensor_id: int, model: Detector | None, time: int
) -> list[ReleasedBand]:
    """Return what verdicts have released for readings from a time on (microseconds since 1970)."""
    since = from_microseconds(time) - MAX_AGE
    releases = anomalies.find_releases(sensor_id, since, _MAX_RELEASES)
    bands = [_build_band(release, readings, sensor_id, model) for release in releases]
    return [band for band in bands if band is not None]


def _build_band(
    release: Release, readings: Readings, sensor_id: int, model: Detector | None
) -> ReleasedBand | None:
    stored = readings.series(
        sensor_id,
        since=to_microseconds(release.timestamp),
        until=to_microseconds(release.last_seen),
        latest=_MAX_READINGS,
    )
    if not len(stored.values):
        return None
    if release.type == _FROZEN:
        return ReleasedBand(release.id, release.type, float(stored.values.min()), float(stored.values.max()))
    if model is None:
        return None
    deviations = stored.values - model.estimate_usual(stored.times / 1e6)
    tolerance = _TOLERANCE * model.profile.spread
    return ReleasedBand(
        release.id,
        release.type,
        float(deviations.min()) - tolerance,
        float(deviations.max()) + tolerance,
    )


def release_detections(
    detections: Sequence[Detection], values: Array, bands: Sequence[ReleasedBand]
) -> list[Detection]:
    """Return the detections without the alarms that a verdict has released; those name the episode."""
    return [
        _release(detection, value, bands)
        for detection, value in zip(detections, values.tolist(), strict=True)
    ]


def _release(detection: Detection, value: float, bands: Sequence[ReleasedBand]) -> Detection:
    if not detection["is_anomaly"]:
        return detection
    band = next((band for band in bands if band.covers(value, detection)), None)
    if band is None:
        return detection
    return {
        **detection,
        "is_anomaly": False,
        "type": None,
        "severity": None,
        "released_by": band.anomaly_id,
    }
