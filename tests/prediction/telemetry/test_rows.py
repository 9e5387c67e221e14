"""Rows of one device and time are one measurement, whichever delivery brought which channel."""

from __future__ import annotations

import numpy as np

from prediction.telemetry import join_duplicates
from storage.devices.telemetry import DeviceTelemetry

NAN = np.nan


def test_rows_of_one_time_are_joined_channel_by_channel() -> None:
    values = np.array([[1, NAN], [NAN, 2], [3, NAN], [4, 5], [NAN, 6], [7, NAN]])
    times = np.array([10, 10, 20, 30, 30, 40])
    joined = join_duplicates(DeviceTelemetry("P", np.arange(6), times, ("a", "b"), values))
    assert joined.times.tolist() == [10, 20, 30, 40]
    np.testing.assert_array_equal(joined.values, [[1, 2], [3, NAN], [4, 6], [7, NAN]])
    assert joined.ids.tolist() == [1, 2, 4, 5]


def test_rows_without_duplicates_stay_as_they_are() -> None:
    telemetry = DeviceTelemetry("P", np.arange(2), np.array([1, 2]), ("a",), np.array([[NAN], [1.0]]))
    assert join_duplicates(telemetry) is telemetry
    assert len(join_duplicates(DeviceTelemetry.empty("P"))) == 0
