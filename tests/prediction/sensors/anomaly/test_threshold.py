"""A false-alarm budget is kept, and where the readings cannot promise that, it is said."""

import numpy as np
import pytest

from prediction.sensors.anomaly.threshold import (
    CERTAIN_SCORE,
    budget_to_rate,
    compute_tail_probability,
    fit_threshold,
)


@pytest.mark.parametrize(("n", "rate"), [(99, 0.01), (150, 0.01), (400, 0.05), (19, 0.05)])
def test_the_next_reading_exceeds_the_threshold_as_rarely_as_promised(n, rate):
    random = np.random.default_rng(3)
    exceeded = bound = 0.0
    for _ in range(4_000):
        scores = random.random(n + 1)
        found = fit_threshold(scores[:n], rate)
        assert found.guaranteed
        exceeded += scores[n] > found.value
        bound = found.bound
    assert bound <= rate
    assert exceeded / 4_000 <= bound + 3 * np.sqrt(bound / 4_000)


def test_too_few_readings_promise_nothing_and_name_how_many_would():
    found = fit_threshold(np.linspace(0.3, 0.6, 50), 1 / 2016, floor=0.7)
    assert not found.guaranteed
    assert found.needed == 2015
    assert found.value == 0.7
    assert found.bound == pytest.approx(1 / 51)
    assert "50 held-out readings: 2015 are needed" in found.note


def test_held_out_readings_beyond_the_range_take_the_promise_away():
    scores = np.concatenate([np.linspace(0.3, 0.6, 190), np.full(10, CERTAIN_SCORE)])
    found = fit_threshold(scores, 0.01)
    assert not found.guaranteed
    assert found.value < CERTAIN_SCORE
    assert found.bound >= 10 / 200
    assert "has moved" in found.note


def test_one_alarm_a_week_of_five_minute_readings():
    assert budget_to_rate(1.0, 300.0) == pytest.approx(1 / 2016)
    assert budget_to_rate(1e9, 300.0) == 0.5


def test_a_share_counts_the_reading_itself():
    ordered = np.array([0.1, 0.2, 0.3, 0.4])
    assert compute_tail_probability(ordered, np.array([0.5, 0.4, 0.0])).tolist() == [0.2, 0.4, 1.0]
