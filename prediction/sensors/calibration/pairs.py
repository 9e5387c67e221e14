"""Pairs of a raw and a true value, from calibrations and the readings before them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from errors import NotEnoughData
from prediction.sensors.readings.series import Array

MIN_CALIBRATIONS = 5
MIN_PAIRS = 3
# Readings before a calibration whose mean is its raw value.
READINGS_BEFORE = 3


@dataclass(frozen=True)
class CalibrationPairs:
    """Past calibrations in order of time.

    Parameters
    ----------
    times : float64, shape (n,)
        Seconds since 1970.
    raw : float64, shape (n,)
        Mean of the three readings before each calibration.
    corrected : float64, shape (n,)
        The value that the calibration found to be true.
    records : int
        Number of calibration records, those without readings before them included.
    """

    times: Array
    raw: Array
    corrected: Array
    records: int

    def __len__(self) -> int:
        return len(self.raw)

    def fingerprint(self) -> str:
        """Return a sha256 of all values: equal calibrations give an equal fingerprint."""
        return hashlib.sha256(np.stack([self.times, self.raw, self.corrected]).tobytes()).hexdigest()

    def select(self, positions: slice | Array) -> CalibrationPairs:
        """Return the pairs at these positions."""
        return CalibrationPairs(
            self.times[positions], self.raw[positions], self.corrected[positions], self.records
        )


def build_pairs(
    times: Array, corrected: Array, reading_times: Array, reading_values: Array
) -> CalibrationPairs:
    """Join calibrations with the mean of the three readings before each.

    Parameters
    ----------
    times, corrected : float64, shape (c,)
    reading_times, reading_values : float64, shape (n,)
        In order of time.
    """
    last = np.searchsorted(reading_times, times, side="right")
    usable = np.flatnonzero(last >= READINGS_BEFORE)
    # A running sum loses the digits of a large offset, so the first value is subtracted before.
    origin = float(reading_values[0]) if len(reading_values) else 0.0
    sums = np.concatenate([[0.0], np.cumsum(reading_values - origin)])
    raw = (sums[last[usable]] - sums[last[usable] - READINGS_BEFORE]) / READINGS_BEFORE + origin
    return CalibrationPairs(times[usable], raw, corrected[usable], len(times))


def check_enough_data(pairs: CalibrationPairs) -> None:
    """Refuse to learn from too few calibrations.

    Raises
    ------
    NotEnoughData
        Fewer than 5 calibrations, or fewer than 3 of them with readings before.
    """
    if pairs.records < MIN_CALIBRATIONS:
        raise NotEnoughData(
            f"Not enough data: {pairs.records} calibrations, at least {MIN_CALIBRATIONS} needed"
        )
    if len(pairs) < MIN_PAIRS:
        usable = f"{len(pairs)} calibrations with {READINGS_BEFORE} readings before them"
        raise NotEnoughData(f"Not enough data: {usable}, at least {MIN_PAIRS} needed")
