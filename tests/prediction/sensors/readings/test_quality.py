"""The data-quality report finds what is wrong, and nothing where nothing is."""

import numpy as np

from prediction.sensors.readings.quality import check_quality
from prediction.sensors.readings.series import SensorSeries


def series(times, values, ids=None):
    n = len(times)
    return SensorSeries(
        np.arange(n) if ids is None else np.asarray(ids), np.asarray(times, float), np.asarray(values, float)
    )


def test_a_clean_sensor_has_no_problems():
    found = check_quality(series(np.arange(100) * 60, np.arange(100) % 7), 0, 10)
    assert found["problems"] == []
    assert found["interval_seconds"] == 60


def test_gaps_are_counted_and_the_longest_named_first():
    times = np.concatenate([np.arange(10), 100 + np.arange(10), 500 + np.arange(10)]) * 1.0
    gaps = check_quality(series(times, np.arange(30)), None, None)["gaps"]
    assert gaps["count"] == 2
    assert gaps["longest"][0] == {
        "from": "1970-01-01T00:01:49+00:00",
        "to": "1970-01-01T00:08:20+00:00",
        "seconds": 391.0,
    }


def test_times_are_instants_that_people_can_read():
    found = check_quality(series([-60.5, *range(1_700_000_000, 1_700_000_030)], np.full(31, 3.0)), None, None)
    assert found["first"] == "1969-12-31T23:58:59.500000+00:00"
    assert found["last"] == found["constant"]["longest"][0]["to"] == "2023-11-14T22:13:49+00:00"


def test_duplicates_late_arrivals_constant_stretches_and_limits():
    values = np.concatenate([np.arange(10), np.full(25, 3.0), [99, -99]])
    times = np.concatenate([np.arange(36), [35]])
    ids = np.arange(37)
    ids[[4, 5]] = [5, 4]
    found = check_quality(series(times, values, ids), 0, 50)
    assert (found["duplicates"], found["out_of_order"]) == (1, 1)
    assert (found["constant"]["count"], found["constant"]["readings"]) == (1, 25)
    assert found["out_of_range"] == {"below": 1, "above": 1, "checked": True}
    assert len(found["problems"]) == 4


def test_no_readings_are_a_problem_of_their_own():
    assert check_quality(series([], []), None, None)["problems"] == ["no readings"]
