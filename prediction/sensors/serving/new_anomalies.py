"""Collect the anomalies among new readings, merged into episodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from prediction.sensors.anomaly.detector import Detection
from storage.db.crud import Row
from storage.sensors.anomalies import Episode


@dataclass
class SensorEpisodes:
    """Anomalous readings of one sensor, merged into episodes as they are added in order of time.

    There are far fewer episodes than readings, so a block of anomalies needs little memory.
    """

    gap: timedelta
    episodes: list[Episode] = field(default_factory=list)

    def add(self, reading: Episode) -> int:
        """Add a reading and return the position of its episode."""
        if self.episodes and self.episodes[-1].is_followed_by(reading, self.gap):
            self.episodes[-1].merge(reading)
        else:
            self.episodes.append(reading)
        return len(self.episodes) - 1


@dataclass
class NewAnomalies:
    """The anomalies among new readings.

    Parameters
    ----------
    listed : list of mapping
        The first of them, each with its detection and the ``anomaly_id`` of its episode.
    count : int
        All of them.
    by_sensor : mapping of int to SensorEpisodes
        What the database stores.
    """

    listed: list[Row] = field(default_factory=list)
    count: int = 0
    by_sensor: dict[int, SensorEpisodes] = field(default_factory=dict)


def to_episode(detection: Detection, value: float, timestamp: datetime) -> Episode:
    """Return a single anomalous reading as an episode."""
    return Episode(
        type=detection["type"] or "",
        severity=detection["severity"] or "",
        value=value,
        expected=detection["expected"],
        deviation=detection["deviation"],
        timestamp=timestamp,
        last_seen=timestamp,
        source=detection["model_used"],
    )
