"""The usual value of a sensor by hour of the day or of the week, learnt where it predicts later readings better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prediction.sensors.readings.series import DAY, HOUR, WEEK, Array

_WEEK_STARTS_AT = 4 * DAY  # 1970-01-05 was a Monday
# A rhythm has to repeat before it can be told from chance.
_MIN_PERIODS = 3
# A longer table of medians is noisier: it has to reduce the error by a twentieth.
_MAX_ERROR_RATIO = 0.95


@dataclass(frozen=True)
class Season:
    """Usual values.

    Parameters
    ----------
    table : float64, shape (1,), (24,) or (168,)
        One value, or one for each hour of the day or of the week (UTC, from Monday).
    """

    table: Array

    def at(self, times: Array) -> Array:
        """Return the usual value at these times, interpolated between the middles of the hours."""
        count = len(self.table)
        if count == 1:
            return np.full(len(times), self.table[0])
        position = (times - _WEEK_STARTS_AT) / HOUR - 0.5
        low = np.floor(position)
        share = position - low
        index = low.astype(np.int64) % count
        usual: Array = (1 - share) * self.table[index] + share * self.table[(index + 1) % count]
        return usual


def fit_season(values: Array, times: Array) -> Season:
    """Return the shortest table that predicts the last third of the readings well.

    Parameters
    ----------
    values, times : float64, shape (n,)
        In order of time.
    """
    best = served = Season(np.array([np.median(values)]))
    cut = len(values) * 2 // 3
    for period in (DAY, WEEK):
        if times[-1] - times[0] < _MIN_PERIODS * period or cut < 24:
            break
        early = _fit_table(values[:cut], times[:cut], period)
        if early is None or (season := _fit_table(values, times, period)) is None:
            continue
        # The level of a wandering sensor is no part of its rhythm, so errors are compared without it.
        flat = _measure_error(best, values[cut:], times[cut:], period)
        error = _measure_error(early, values[cut:], times[cut:], period)
        if error < _MAX_ERROR_RATIO * flat:
            best, served = early, season
    return served


def _fit_table(values: Array, times: Array, period: float) -> Season | None:
    """Return the median of each hour after the mean of each period is removed; None where an hour is missing."""
    count = round(period / HOUR)
    hour = np.floor((times - _WEEK_STARTS_AT) / HOUR).astype(np.int64) % count
    level = _remove_level(values, times, period)
    seen = np.bincount(hour, minlength=count)
    if seen.min() < _MIN_PERIODS - 1:
        return None
    order = np.lexsort((level, hour))
    first = np.cumsum(seen) - seen
    ordered = level[order]
    table = (ordered[first + (seen - 1) // 2] + ordered[first + seen // 2]) / 2
    return Season(table + np.median(values - table[hour]))


def _remove_level(values: Array, times: Array, period: float) -> Array:
    """Return the values less the mean of their period."""
    number = np.floor((times - _WEEK_STARTS_AT) / period).astype(np.int64)
    number -= number[0]
    number = np.unique(number, return_inverse=True)[1]
    mean = np.bincount(number, values) / np.bincount(number)
    level: Array = values - mean[number]
    return level


def _measure_error(season: Season, values: Array, times: Array, period: float) -> float:
    """Return the mean absolute error around the level of each period."""
    return float(np.abs(_remove_level(values - season.at(times), times, period)).mean())
