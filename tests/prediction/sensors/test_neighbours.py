"""The detector by nearest neighbours: what it sees, what it promises, and that it survives saving."""

import numpy as np
import pytest

from prediction.sensors import anomaly, neighbours
from prediction.sensors.intake import SensorsOptions
from prediction.sensors.series import Series

OPTIONS = SensorsOptions().load({"algorithm": "nearest_neighbour"})


def sensor(n=3_000, seed=0, step_s=900.0):
    random = np.random.default_rng(seed)
    times = 1.7e9 + np.arange(n) * step_s
    values = 50 + 5 * np.sin(times / 86_400 * 2 * np.pi) + random.normal(0, 0.3, n)
    return Series(np.arange(n), times, values)


@pytest.fixture(scope="module")
def trained():
    return anomaly.train(sensor(), OPTIONS)


def test_it_is_offered_beside_the_default_and_says_its_name(trained):
    answer = trained.answers(np.array([50.0]), np.array([1.71e9]), [np.array([50.0])])[0]
    assert answer["model_used"] == "nearest_neighbour"
    default = anomaly.train(sensor(200), SensorsOptions().load({}))
    assert default.algorithm == "isolation_forest"


def test_a_jump_between_two_ordinary_values_is_seen(trained):
    """Both values are usual; that one follows the other within fifteen minutes is not."""
    at = np.array([1.75e9])
    assert trained.alarms(np.array([54.9]), at, np.array([45.1])).all()
    assert not trained.alarms(np.array([54.9]), at, np.array([54.8])).any()


def test_the_budget_is_about_kept_on_fresh_readings(trained):
    fresh = sensor(8_000, seed=9)
    weeks = 8_000 * 900 / 604_800
    assert trained.alarms(fresh.values, fresh.times).sum() / weeks <= 3.0
    assert trained.facts["guaranteed"] is False


def test_a_larger_budget_gives_a_lower_threshold():
    limits = [
        anomaly.train(sensor(), {**OPTIONS, "false_alarms_per_week": budget}).threshold
        for budget in (0.1, 1.0, 20.0)
    ]
    assert limits == sorted(limits, reverse=True)
    assert limits[0] > limits[2]


def test_each_reading_is_compared_with_earlier_ones_only():
    pairs = np.random.default_rng(3).normal(size=(400, 2))
    found = neighbours.earlier_distances(pairs)
    changed = pairs.copy()
    changed[300:] = pairs[100]
    assert np.array_equal(neighbours.earlier_distances(changed)[:300], found[:300])
    slow = np.sqrt(((pairs[399] - pairs[: 399 // 25 * 25 + 24 - 25]) ** 2).sum(axis=1)).min()
    assert found[399] == pytest.approx(slow)


@pytest.mark.parametrize("count", [10, 20, 50])
def test_few_readings_train_and_a_value_out_of_range_is_odd(count):
    found = anomaly.train(sensor(count), OPTIONS)
    assert found.alarms(np.array([1e9, -1e9]), np.full(2, 1.8e9)).all()
    assert found.alarms(sensor(count).values, sensor(count).times).mean() <= 0.2


def test_a_saved_detector_answers_the_same(trained, tmp_path):
    trained.save(tmp_path)
    found = neighbours.load(tmp_path)
    asked = sensor(50, seed=4)
    recent = [asked.values[:at] for at in range(50)]
    assert found.answers(asked.values, asked.times, recent) == trained.answers(
        asked.values, asked.times, recent
    )


def test_faults_put_into_held_out_readings_are_found():
    past, later = sensor(2_400), sensor(3_000).part(slice(2_400, None))
    found, default = (
        anomaly.judge(anomaly.train(past, options), past, later)
        for options in (OPTIONS, SensorsOptions().load({}))
    )
    assert found.metrics["miss_rate"] < default.metrics["miss_rate"]
    assert found.beats_baselines
