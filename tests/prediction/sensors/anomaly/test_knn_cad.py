"""The detector that follows a stream: what it sees, what it gets used to, and that it survives saving."""

import numpy as np
import pytest

from prediction.sensors import anomaly
from prediction.sensors.anomaly import StreamDetector
from prediction.sensors.anomaly.stream_scores import StreamSettings, compute_scores
from prediction.sensors.options import SensorTrainingOptions
from prediction.sensors.readings.series import SensorSeries

OPTIONS = SensorTrainingOptions(algorithm="knn_cad")
STEP_S = 900.0


def sensor(n=3_000, seed=0):
    random = np.random.default_rng(seed)
    times = 1.7e9 + np.arange(n) * STEP_S
    values = 50 + 5 * np.sin(times / 86_400 * 2 * np.pi) + random.normal(0, 0.3, n)
    return SensorSeries(np.arange(n), times, values)


@pytest.fixture(scope="module")
def trained():
    return anomaly.train(sensor(), OPTIONS)


def later(trained, changed):
    """Scores of a day after the training, without and with a change."""
    times = 1.7e9 + (3_000 + np.arange(96)) * STEP_S
    values = 50 + 5 * np.sin(times / 86_400 * 2 * np.pi) + np.random.default_rng(7).normal(0, 0.3, 96)
    return trained.find_anomalies(changed(values), times)


def test_it_is_offered_beside_the_default_and_says_its_name(trained):
    answer = trained.detect(np.array([50.0]), np.array([1.71e9]), [np.array([50.0])])[0]
    assert answer["model_used"] == "knn_cad"
    assert anomaly.train(sensor(200), SensorTrainingOptions()).algorithm == "composite"


def test_a_new_rhythm_between_usual_values_is_seen(trained):
    assert not later(trained, lambda values: values).any()
    assert later(trained, lambda values: np.where(np.arange(96) < 48, values, 50.0)).any()


def test_after_an_alarm_it_is_quiet_for_a_while(trained):
    told = later(trained, lambda values: np.where(np.arange(96) % 2, values, 50.0))
    assert 1 <= told.sum() <= 2


def test_what_lasts_becomes_usual():
    """A level that has lasted for two periods is no alarm any more."""
    random, shape = np.random.default_rng(2), StreamSettings.for_count(200)
    values = np.concatenate([random.normal(0, 1, 600), random.normal(6, 1, 900)])
    found = compute_scores(values, shape)
    assert found[400:420].min() > 0.99
    assert found[-200:].mean() < 0.7


def test_a_score_depends_on_no_later_reading():
    values, shape = np.random.default_rng(3).normal(size=700), StreamSettings.for_count(150)
    changed = np.concatenate([values[:500], np.zeros(200)])
    assert np.array_equal(compute_scores(values, shape)[:350], compute_scores(changed, shape)[:350])


def test_what_might_have_been_leaves_the_other_readings_alone():
    values, shape = np.random.default_rng(4).normal(size=400), StreamSettings.for_count(150)
    asked = values[-50:].copy()
    asked[7] = 9.0
    other = compute_scores(values, shape, asked)
    same = np.delete(np.arange(250), 207)
    assert np.array_equal(other[same], compute_scores(values, shape)[same])
    assert other[207] == 1.0


def test_ordinary_noise_is_ranked_evenly():
    found = compute_scores(np.random.default_rng(6).normal(size=6_000), StreamSettings.for_count(750))
    assert found.mean() == pytest.approx(0.5, abs=0.05)
    assert (found > 0.99).mean() == pytest.approx(0.01, abs=0.01)


def test_the_budget_is_about_kept_on_fresh_readings(trained):
    fresh = sensor(11_000).select(slice(3_000, None))
    weeks = 8_000 * STEP_S / 604_800
    assert trained.find_anomalies(fresh.values, fresh.times).sum() / weeks <= 1.5
    assert trained.facts["guaranteed"] is False


@pytest.mark.parametrize("count", [10, 20, 50, 900])
def test_few_readings_train_and_a_value_out_of_range_is_odd(count):
    found = anomaly.train(sensor(count), OPTIONS)
    assert found.find_anomalies(np.array([1e9, -1e9, 1e300]), np.full(3, 1.8e9)).all()
    assert found.find_anomalies(sensor(count).values, sensor(count).times).mean() <= 0.2


def test_a_sensor_that_never_moves_never_alarms_until_it_does():
    flat = anomaly.train(
        SensorSeries(np.arange(300), 1.7e9 + np.arange(300) * 60.0, np.full(300, 7.0)), OPTIONS
    )
    assert not flat.find_anomalies(np.full(50, 7.0), np.full(50, 1.8e9)).any()
    assert flat.find_anomalies(np.array([7.1]), np.array([1.8e9])).all()


def test_a_saved_detector_answers_the_same(trained, tmp_path):
    trained.save(tmp_path)
    found = StreamDetector.load(tmp_path)
    asked = sensor(50, seed=4)
    recent = [asked.values[:at] for at in range(50)]
    same = (asked.values, asked.times, recent)
    assert found.detect(*same) == trained.detect(*same)
    assert found.detect(*same, asked.values) == trained.detect(*same, asked.values)


def test_faults_put_into_held_out_readings_are_found():
    past, held_out = sensor(2_400), sensor(3_000).select(slice(2_400, None))
    found, forest = (
        anomaly.evaluate(anomaly.train(past, options), past, held_out)
        for options in (OPTIONS, SensorTrainingOptions(algorithm="isolation_forest"))
    )
    assert found.metrics["miss_rate"] < 0.8 * forest.metrics["miss_rate"]
    assert found.beats_baselines
