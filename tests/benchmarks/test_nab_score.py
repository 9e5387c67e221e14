"""The benchmark's scorer: null is 0, perfect is 100, early is better than late, false alarms cost."""

import numpy as np
import pytest

from benchmarks.sensors.nab_score import File, benchmark

FILE = File("one", np.arange(1_000.0), np.zeros(1_000), [(400, 499), (800, 849)])


def detected_at(*rows):
    scores = np.zeros(1_000)
    scores[list(rows)] = 1.0
    return benchmark([FILE], lambda file: scores)


def test_null_and_perfect():
    assert detected_at() == {"standard": 0.0, "low_fp": 0.0, "low_fn": 0.0}
    assert detected_at(400, 800) == {"standard": 100.0, "low_fp": 100.0, "low_fn": 100.0}


def test_early_is_better_than_late_and_twice_is_once():
    assert detected_at(400)["standard"] > detected_at(450)["standard"] > detected_at(499)["standard"]
    assert detected_at(400, 420, 440) == detected_at(400)
    assert detected_at(400)["standard"] == pytest.approx(50.0)


def test_a_false_alarm_costs_and_far_from_any_window_most():
    near, far = detected_at(400, 800, 502), detected_at(400, 800, 700)
    assert far["standard"] < near["standard"] < 100
    assert far["low_fp"] < far["standard"]


def test_the_probation_is_not_scored():
    assert detected_at(400, 800, 10)["standard"] == 100.0
