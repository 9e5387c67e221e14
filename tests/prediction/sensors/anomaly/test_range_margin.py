"""How much room beyond its range a sensor gets: little where it goes on as it did, more where it wanders."""

import numpy as np
import pytest

from prediction.sensors import anomaly
from prediction.sensors.anomaly.range_margin import estimate_margin
from prediction.sensors.readings.series import WEEK, SensorSeries, count_episodes
from tests.prediction.sensors.anomaly.test_detector_training import OPTIONS

STEP_S = 900.0
A_WEEK = int(WEEK / STEP_S)


def series(values):
    return SensorSeries(np.arange(len(values)), 1.7e9 + STEP_S * np.arange(len(values)), np.asarray(values))


def walk(seed, weeks):
    return 50 + np.cumsum(np.random.default_rng(seed).normal(0, 0.1, int(weeks * A_WEEK)))


def test_a_steady_sensor_gets_a_tenth_of_its_range():
    random = np.random.default_rng(1)
    steady = series(50 + 3 * np.sin(np.arange(2_000) / 15) + random.normal(0, 0.5, 2_000))
    found = estimate_margin(steady, 0.1, 1.0)
    assert found.width == pytest.approx(max(0.5, 0.1 * np.ptp(steady.values)))
    assert not found.is_nonstationary


def test_lone_spikes_are_no_wandering():
    values = 50 + np.random.default_rng(2).normal(0, 0.5, 4 * A_WEEK)
    values[-2 * A_WEEK :: A_WEEK] = 90.0
    assert estimate_margin(series(values), 0.1, 0.5).width == pytest.approx(0.1 * np.ptp(values))


def test_a_trend_gets_the_room_of_its_weeks_and_no_promise():
    rising = series(np.linspace(0, 100, 10 * A_WEEK))
    found = estimate_margin(rising, 0.01, 1.0)
    assert 8 < found.width < 15
    assert found.is_nonstationary
    assert anomaly.train(rising, OPTIONS).facts["guaranteed"] is False


def test_the_margin_never_exceeds_the_range_seen():
    jump = np.where(np.arange(2 * A_WEEK) < A_WEEK, 0.0, 100.0)
    assert estimate_margin(series(jump), 0.1, 1.0).width <= 100.0


def test_a_wandering_sensor_is_beyond_its_margin_less_often(monkeypatch):
    """A week teaches and the week after is watched: readings beyond the range and its margin."""
    walks = [series(walk(seed, 2)) for seed in range(12)]

    def beyond():
        found = [anomaly.train(one.select(slice(0, A_WEEK)), OPTIONS) for one in walks]
        both = zip(found, walks, strict=True)
        return sum(int(trained.profile.is_out_of_range(one.values[A_WEEK:]).sum()) for trained, one in both)

    roomy = beyond()
    monkeypatch.setattr("prediction.sensors.anomaly.range_margin._MAX_MARGIN", 0.0)
    assert roomy < 0.6 * beyond()


def test_odd_readings_close_to_each_other_are_one_episode():
    assert count_episodes(np.empty(0), 60.0) == 0
    assert count_episodes(np.array([0.0, 60.0, 780.0]), 60.0) == 1
    assert count_episodes(np.array([0.0, 781.0]), 60.0) == 2
