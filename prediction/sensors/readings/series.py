"""A sensor's readings as arrays, and the clock features they are judged by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

HOUR = 3_600.0
DAY = 86_400.0
WEEK = 604_800.0
EPISODE_INTERVALS = 12
"""Usual intervals without an odd reading after which an episode is over."""
_MONDAY = 3  # 1970-01-01 was a Thursday


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

    def __len__(self) -> int:
        return len(self.values)

    def part(self, chosen: slice | Array) -> SensorSeries:
        """The readings at these positions."""
        return SensorSeries(self.ids[chosen], self.times[chosen], self.values[chosen])

    def outside(self, periods: Sequence[tuple[float, float]]) -> SensorSeries:
        """The readings outside every period ``(first, last)``, both ends included."""
        inside = np.zeros(len(self), dtype=bool)
        for first, last in periods:
            a, b = np.searchsorted(self.times, [first, np.nextafter(last, np.inf)])
            inside[a:b] = True
        return self.part(~inside)

    def fingerprint(self) -> str:
        """sha256 of times and values: equal readings, equal fingerprint."""
        digest = hashlib.sha256(np.ascontiguousarray(self.times).tobytes())
        digest.update(np.ascontiguousarray(self.values).tobytes())
        return digest.hexdigest()


def hour_of_day(times: Array) -> Array:
    """Hour of the day in UTC, 0 to 23, shape as ``times``."""
    hour: Array = np.floor_divide(np.mod(times, DAY), HOUR)
    return hour


def day_of_week(times: Array) -> Array:
    """Day of the week in UTC, Monday is 0, shape as ``times``."""
    weekday: Array = np.mod(np.floor_divide(times, DAY) + _MONDAY, 7)
    return weekday


def build_classic_features(values: Array, times: Array) -> Array:
    """``[raw_value, hour_of_day, day_of_week]`` as float32, shape (n, 3), as the old platform did."""
    return np.stack([values, hour_of_day(times), day_of_week(times)], axis=1).astype(np.float32)


def build_cyclic_features(values: Array, times: Array, centre: float, scale: float) -> Array:
    """Value and clock as float32, shape (n, 5): 23 h stands beside 0 h and Sunday beside Monday.

    The value is shifted and scaled, which no isolation tree notices, so that float32 loses nothing of
    a large offset.
    """
    hour = hour_of_day(times) * (2 * np.pi / 24)
    weekday = day_of_week(times) * (2 * np.pi / 7)
    level = (values - centre) / scale
    columns = [level, np.sin(hour), np.cos(hour), np.sin(weekday), np.cos(weekday)]
    return np.stack(np.clip(columns, -1e30, 1e30), axis=1).astype(np.float32)


def estimate_interval_seconds(times: Array) -> float:
    """The usual time between two readings: the median of the positive steps, an hour where there is none."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else HOUR


def count_episodes(odd: Array, interval_s: float) -> int:
    """How many episodes odd readings make: what a person is told of, however many readings each has.

    Parameters
    ----------
    odd : float, shape (k,)
        Instants of the odd readings in seconds, ascending.
    interval_s : float
        The usual time between two readings.
    """
    return int((np.diff(odd) > EPISODE_INTERVALS * interval_s).sum()) + 1 if len(odd) else 0


def estimate_centre_and_scale(values: Array) -> tuple[float, float]:
    """Median and a robust standard deviation (never zero) of ``values``."""
    low, centre, high = np.quantile(values, [0.25, 0.5, 0.75])
    scale = (high - low) / 1.349
    if scale <= 0:
        scale = float(np.std(values))
    return float(centre), float(scale) if scale > 0 else max(abs(float(centre)) * 1e-6, 1e-9)
