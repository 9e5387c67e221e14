"""Find frozen sensors: runs of equal readings that are longer than the sensor has shown, also inside its range.

Every detector applies this rule besides its own scores, because a frozen value is as usual as any other.
"""

from __future__ import annotations

import math

import numpy as np

from prediction.sensors.readings.series import WEEK, Array, SensorSeries

# A sensor repeats values by chance: the run has to be longer than any seen, and at least this long.
MIN_RUN = 5
_RATIO = 1.5
# Runs are counted in the readings that a detection loads, so a sensor that repeats a value for longer than this
# as a rule cannot be told from a frozen one.
MAX_RUN = 1_000


def limit_equal_runs(series: SensorSeries, runs_per_week: float) -> float:
    """Return the number of equal readings that the sensor exceeds ``runs_per_week`` times a week at most.

    Runs are counted, not readings: a sensor that was frozen for a day once must not hide the next time. Infinite
    where the sensor has never changed, or repeats values for longer than ``MAX_RUN`` readings.
    """
    changes = np.flatnonzero(np.diff(series.values)) + 1
    if not len(changes):
        return math.inf
    runs = np.sort(np.diff(np.concatenate([[0], changes, [len(series)]])))[::-1]
    weeks = float(series.times[-1] - series.times[0]) / WEEK
    allowed = min(int(runs_per_week * weeks), len(runs) - 1)
    longest = float(runs[allowed]) + 0.5
    limit = max(MIN_RUN, longest if allowed else _RATIO * longest)
    return limit if limit < MAX_RUN else math.inf


def count_equal_readings(values: Array, stream: Array) -> Array:
    """Return how many readings up to each one, itself included, are equal to it; shape (n,).

    Parameters
    ----------
    values : float64, shape (n,)
        Readings in place of the last n of the stream, each by itself.
    stream : float64, shape (k + n,)
        The readings that the sensor showed.
    """
    lead = len(stream) - len(values)
    position = np.arange(len(stream))
    starts = np.concatenate([[True], stream[1:] != stream[:-1]])
    run = position - np.maximum.accumulate(np.where(starts, position, 0)) + 1
    before = np.concatenate([[np.nan], stream])[:-1][lead:]
    run_before = np.concatenate([[0], run])[:-1][lead:]
    count: Array = np.where(values == before, run_before + 1.0, 1.0)
    return count
