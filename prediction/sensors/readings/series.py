"""A sensor's readings as arrays, and the features that models compute from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.sensors.readings import StoredReadings

Array = NDArray[Any]

HOUR = 3_600.0
DAY = 86_400.0
WEEK = 604_800.0
# An episode is over after this many usual intervals without an anomalous reading.
EPISODE_INTERVALS = 12
_WEEKDAY_OF_EPOCH = 3  # 1970-01-01 was a Thursday, Monday is 0
# Interquartile range of a normal distribution, in standard deviations.
_IQR_PER_SIGMA = 1.349


@dataclass(frozen=True)
class SensorSeries:
    """Readings of one sensor in order of time.

    Parameters
    ----------
    ids : int64, shape (n,)
        Row numbers in the database.
    times : float64, shape (n,)
        Seconds since 1970-01-01 UTC.
    values : float64, shape (n,)
        Raw values in the sensor's unit.
    """

    ids: Array
    times: Array
    values: Array

    @classmethod
    def from_stored(cls, stored: StoredReadings) -> SensorSeries:
        """Return stored readings with their times in seconds."""
        return cls(stored.ids, stored.times / 1e6, stored.values)

    def __len__(self) -> int:
        return len(self.values)

    def select(self, positions: slice | Array) -> SensorSeries:
        """Return the readings at these positions, or where a mask is true."""
        return SensorSeries(self.ids[positions], self.times[positions], self.values[positions])

    def exclude(self, periods: Sequence[tuple[float, float]]) -> SensorSeries:
        """Return the readings outside every period ``(first, last)``, both ends included."""
        is_inside = np.zeros(len(self), dtype=bool)
        for first, last in periods:
            start, end = np.searchsorted(self.times, [first, np.nextafter(last, np.inf)])
            is_inside[start:end] = True
        return self.select(~is_inside)

    def fingerprint(self) -> str:
        """Return a sha256 of times and values: equal readings give an equal fingerprint."""
        digest = hashlib.sha256(np.ascontiguousarray(self.times).tobytes())
        digest.update(np.ascontiguousarray(self.values).tobytes())
        return digest.hexdigest()


def hour_of_day(times: Array) -> Array:
    """Return the hour of the day in UTC, 0 to 23, shape as ``times``."""
    hour: Array = np.floor_divide(np.mod(times, DAY), HOUR)
    return hour


def day_of_week(times: Array) -> Array:
    """Return the day of the week in UTC, 0 for Monday, shape as ``times``."""
    day: Array = np.mod(np.floor_divide(times, DAY) + _WEEKDAY_OF_EPOCH, 7)
    return day


def build_classic_features(values: Array, times: Array) -> Array:
    """Return ``[raw_value, hour_of_day, day_of_week]`` as float32, shape (n, 3): those of the old platform."""
    return np.stack([values, hour_of_day(times), day_of_week(times)], axis=1).astype(np.float32)


def build_cyclic_features(values: Array, times: Array, centre: float, scale: float) -> Array:
    """Return value and clock as float32, shape (n, 5), with 23 h next to 0 h and Sunday next to Monday.

    Shifting and scaling the value changes no isolation tree, and keeps the digits of a value with a large offset
    when it becomes float32.
    """
    hour = hour_of_day(times) * (2 * np.pi / 24)
    weekday = day_of_week(times) * (2 * np.pi / 7)
    level = (values - centre) / scale
    columns = [level, np.sin(hour), np.cos(hour), np.sin(weekday), np.cos(weekday)]
    return np.stack(np.clip(columns, -1e30, 1e30), axis=1).astype(np.float32)


def estimate_interval_seconds(times: Array) -> float:
    """Return the median of the positive steps between readings; an hour where there are none."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else HOUR


def count_episodes(anomaly_times: Array, interval_s: float) -> int:
    """Count the episodes that anomalous readings form.

    Parameters
    ----------
    anomaly_times : float, shape (k,)
        Times of the anomalous readings in seconds, ascending.
    interval_s : float
        Usual time between two readings.
    """
    if not len(anomaly_times):
        return 0
    return 1 + int((np.diff(anomaly_times) > EPISODE_INTERVALS * interval_s).sum())


def estimate_centre_and_scale(values: Array) -> tuple[float, float]:
    """Return the median and a robust standard deviation, which is never zero."""
    low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
    scale = (high - low) / _IQR_PER_SIGMA or float(np.std(values))
    return float(centre), float(scale) or max(abs(float(centre)) * 1e-6, 1e-9)
