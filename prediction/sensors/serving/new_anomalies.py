"""Collect the anomalies among new readings, merged into episodes.

A lasting fault is one episode, whatever the detector: an episode goes on until the sensor was back at its usual
value, also while the detector is silent in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from prediction.sensors.anomaly.detector import Detection, Detector
from prediction.sensors.readings.series import EPISODE_INTERVALS, Array
from prediction.sensors.serving.releases import build_band
from storage.db.crud import Row
from storage.sensors.anomalies import Episode
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import to_microseconds

# Silent readings between two alarms that are looked at: the longest period of a detector that follows its stream.
MAX_SILENT_READINGS = 750


@dataclass
class SensorEpisodes:
    """Anomalous readings of one sensor, merged into episodes as they are added in order of time.

    There are far fewer episodes than readings, so a block of anomalies needs little memory.

    Parameters
    ----------
    gap : timedelta
    model : Detector or None
        Knows the usual values; without one, an episode is over after the gap.
    values_before, times_before : arrays, shape (k,)
        The stored readings before the block, times in microseconds.
    """

    gap: timedelta
    model: Detector | None = None
    values_before: Array = field(default_factory=lambda: np.empty(0))
    times_before: Array = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    episodes: list[Episode] = field(default_factory=list)
    _silent: tuple[Array, Array] = field(init=False, repr=False)
    _last_row: int = field(init=False, repr=False, default=-1)

    def add(self, reading: Episode, block: ReadingBlock, row: int) -> int:
        """Add an anomalous reading of a block and return the position of its episode."""
        silent = slice(self._last_row + 1, row)
        values, times = block.values[silent], block.times[silent]
        self._last_row = row
        last = self.episodes[-1] if self.episodes else None
        if last is None:
            self._silent = values, times
        if last is not None and (last.is_followed_by(reading, self.gap) or self._lasts(last, values, times)):
            last.merge(reading)
        else:
            self.episodes.append(reading)
        return len(self.episodes) - 1

    def goes_on(self, stored: Episode) -> bool:
        """Return whether the first episode goes on with a stored one: the sensor was not back in between."""
        values = np.concatenate([self.values_before, self._silent[0]])
        times = np.concatenate([self.times_before, self._silent[1]])
        since = int(np.searchsorted(times, to_microseconds(stored.last_seen), side="right"))
        return self._lasts(stored, values[since:], times[since:])

    def _lasts(self, episode: Episode, values: Array, times: Array) -> bool:
        """Return whether the sensor was not back at its usual value in the readings since an episode."""
        if self.model is None or not 0 < len(values) <= MAX_SILENT_READINGS or not episode.deviation:
            return False
        deviations = np.sign(episode.deviation) * (values - self.model.estimate_usual(times / 1e6))
        return not has_returned(deviations, self.model.profile.spread)


def has_returned(deviations: Array, spread: float) -> bool:
    """Return whether the mean of twelve readings in a row lies within a robust deviation of the usual value.

    Parameters
    ----------
    deviations : float64, shape (n,), n at least 1
        Positive on the side of the episode; the mean of all where they are fewer than twelve.
    """
    window = min(EPISODE_INTERVALS, len(deviations))
    means = np.convolve(deviations, np.full(window, 1.0 / window), mode="valid")
    return bool(means.min() <= spread)


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
    type_ = detection["type"] or ""
    return Episode(
        type=type_,
        severity=detection["severity"] or "",
        value=value,
        expected=detection["expected"],
        deviation=detection["deviation"],
        timestamp=timestamp,
        last_seen=timestamp,
        source=detection["model_used"],
        bands={type_: build_band(detection, value, timestamp)},
    )
