"""What a sensor's detector promises: ranges, budgets, kinds, and answers that survive saving."""

from dataclasses import replace

import numpy as np
import pytest

from prediction.sensors import anomaly
from prediction.sensors.anomaly.detector import ForestDetector
from prediction.sensors.options import SensorTrainingOptions
from prediction.sensors.readings.series import SensorSeries

OPTIONS = SensorTrainingOptions(algorithm="isolation_forest")


def sensor(n=4_000, seed=0, step_s=900.0):
    random = np.random.default_rng(seed)
    times = 1.7e9 + np.arange(n) * step_s
    values = 50 + 5 * np.sin(times / 86_400 * 2 * np.pi) + random.normal(0, 0.5, n)
    return SensorSeries(np.arange(n), times, values)


@pytest.fixture(scope="module")
def trained():
    return anomaly.train(sensor(), OPTIONS)


def test_ten_readings_train_and_promise_nothing():
    assert anomaly.train(sensor(10), OPTIONS).facts["guaranteed"] is False


def test_a_reading_beyond_the_range_is_an_anomaly_at_every_hour(trained):
    times = 1.8e9 + np.arange(168) * 3_600.0
    beyond = trained.profile.high + 1e-6
    assert trained.find_anomalies(np.full(168, beyond), times).all()
    assert trained.find_anomalies(np.full(168, -1e9), times).all()
    assert trained.find_anomalies(np.full(168, 1e300), times).all()


def test_the_budget_is_guaranteed_and_kept_on_fresh_readings(trained):
    assert trained.facts["guaranteed"]
    fresh = sensor(8_000, seed=9)
    weeks = 8_000 * 900 / 604_800
    assert trained.find_anomalies(fresh.values, fresh.times).sum() / weeks <= 2.0


def test_a_tenth_of_a_healthy_sensor_is_flagged_only_where_somebody_asks_for_it():
    healthy = sensor()
    asked = anomaly.train(healthy, replace(OPTIONS, contamination=0.1))
    assert 0.05 < asked.find_anomalies(healthy.values, healthy.times).mean() < 0.2
    quiet = anomaly.train(healthy, OPTIONS)
    assert quiet.find_anomalies(healthy.values, healthy.times).mean() < 0.01


def test_classic_mode_flags_what_the_old_platform_flagged():
    from sklearn.ensemble import IsolationForest

    from prediction.sensors.readings.series import build_classic_features

    healthy = sensor(600)
    rows = build_classic_features(healthy.values, healthy.times)
    old = IsolationForest(n_estimators=100, contamination=0.1, random_state=42).fit(rows).predict(rows) == -1
    assert np.array_equal(
        anomaly.train(healthy, replace(OPTIONS, mode="classic")).find_anomalies(
            healthy.values, healthy.times
        ),
        old,
    )


def test_a_saved_detector_answers_the_same(trained, tmp_path):
    some = sensor(200, seed=4)
    trained.save(tmp_path)
    again = ForestDetector.load(tmp_path)
    recent = [np.empty(0)] * 200
    assert again.detect(some.values, some.times, recent) == trained.detect(some.values, some.times, recent)


def test_an_anomaly_has_a_kind_a_severity_and_an_expected_value(trained):
    at = np.array([1.8e9])
    spike = trained.detect(np.array([90.0]), at, [np.full(11, 50.0) + np.arange(11) % 2])[0]
    assert (spike["is_anomaly"], spike["type"], spike["severity"]) == (True, "Spike", "Critical")
    assert abs(spike["expected"] - 50) < 6
    assert spike["confidence"] > 0.9
    ordinary = trained.detect(np.array([spike["expected"]]), at, [np.empty(0)])[0]
    assert (ordinary["is_anomaly"], ordinary["type"], ordinary["severity"]) == (False, None, None)


def test_readings_of_a_fault_are_left_out_and_stay_anomalies():
    healthy = sensor()
    values = healthy.values.copy()
    values[3_000:] += 40.0
    faulty = SensorSeries(healthy.ids, healthy.times, values)
    periods = [(float(healthy.times[3_000]), float(healthy.times[-1]))]
    kept = faulty.exclude(periods)
    assert len(kept) == 3_000
    assert anomaly.train(kept, OPTIONS).find_anomalies(values[3_000:], healthy.times[3_000:]).all()
    learnt = anomaly.train(faulty, OPTIONS)
    assert not learnt.find_anomalies(values[3_000:], healthy.times[3_000:]).all()


def test_held_out_readings_judge_false_alarms_and_missed_faults(trained):
    past, later = sensor(3_000), sensor(4_000).select(slice(3_000, None))
    scores = anomaly.evaluate(anomaly.train(past, OPTIONS), past, later)
    assert scores.held_out == 1_000
    assert len(scores.losses) == 1_000
    assert scores.metrics["false_alarms_per_week"] <= 3
    assert scores.headline == pytest.approx(np.mean(scores.losses))
    assert set(scores.baselines) == {"three_sigma"}


def test_a_constant_sensor_trains_and_any_change_is_odd():
    flat = SensorSeries(np.arange(50), 1.7e9 + np.arange(50) * 60.0, np.full(50, 7.0))
    found = anomaly.train(flat, OPTIONS)
    assert not found.find_anomalies(flat.values, flat.times).any()
    assert found.find_anomalies(np.array([7.1]), flat.times[:1]).all()
