"""The composite detector finds each kind of fault, names its type, and answers the same after it was saved."""

from dataclasses import replace

import numpy as np
import pytest

from prediction.sensors import anomaly
from prediction.sensors.anomaly.anomaly_types import CONTEXT_LENGTH
from prediction.sensors.anomaly.composite import CompositeDetector
from prediction.sensors.anomaly.composite.season import fit_season
from prediction.sensors.options import SensorTrainingOptions
from prediction.sensors.readings.series import WEEK, SensorSeries, count_episodes
from prediction.sensors.serving.new_anomalies import to_episode
from storage.sensors.readings import from_microseconds

OPTIONS = SensorTrainingOptions(algorithm="composite")
STEP_S = 3_600.0
SPREAD = 0.5
START = 1_700


def sensor(count=2_000, seed=0, step_s=STEP_S):
    chance = np.random.default_rng(seed)
    times = 1.7e9 + np.arange(count) * step_s
    values = 50 + 5 * np.sin(times / 86_400 * 2 * np.pi) + chance.normal(0, SPREAD, count)
    return SensorSeries(np.arange(count), times, values)


@pytest.fixture(scope="module")
def trained():
    return anomaly.train(sensor(START), OPTIONS)


def detect(detector, values, times, start=START):
    """Return the detections of the readings from ``start`` on, which follow the others."""
    stream = values[start - detector.context_length :]
    stream_times = times[start - detector.context_length :]
    recent = [values[end - CONTEXT_LENGTH : end] for end in range(start, len(values))]
    return detector.detect(values[start:], times[start:], recent, stream, stream_times)


def episode_of(detections, values, times):
    """Return the episode that all alarms form."""
    episode = None
    for detection, value, time in zip(detections, values, times, strict=True):
        if detection["is_anomaly"]:
            found = to_episode(detection, float(value), from_microseconds(int(time * 1e6)))
            if episode is None:
                episode = found
            else:
                episode.merge(found)
    return episode


def insert(values, fault):
    chance = np.random.default_rng(5)
    if fault == "Spike":
        values[START + 10] += 6 * SPREAD
    elif fault == "Calibration Error":
        values[START + 10 : START + 34] += 6 * SPREAD
    elif fault == "Drift":
        values[START:] += np.linspace(0, 8 * SPREAD, len(values) - START)
    elif fault == "Noise":
        values[START + 10 : START + 60] += chance.normal(0, 3 * SPREAD, 50)
    else:
        values[START + 10 : START + 34] = values[START + 10]


@pytest.mark.parametrize("fault", ["Spike", "Calibration Error", "Drift", "Noise", "Dropout"])
def test_each_fault_is_found_by_its_part_and_has_its_type(trained, fault):
    faulty = sensor()
    insert(faulty.values, fault)
    detections = detect(trained, faulty.values, faulty.times)
    episode = episode_of(detections, faulty.values[START:], faulty.times[START:])
    assert episode is not None
    assert episode.type == fault
    assert all(detection["parts"] for detection in detections if detection["is_anomaly"])


def test_a_sensor_that_is_frozen_inside_its_range_is_a_dropout(trained):
    frozen = sensor()
    frozen.values[START:] = frozen.values[START]
    assert trained.profile.low < frozen.values[START] < trained.profile.high
    assert detect(trained, frozen.values, frozen.times)[-1]["type"] == "Dropout"


def test_a_lasting_shift_is_one_episode(trained):
    shifted = sensor()
    shifted.values[START:] += 6 * SPREAD
    detections = detect(trained, shifted.values, shifted.times)
    alarm = np.array([detection["is_anomaly"] for detection in detections])
    assert count_episodes(shifted.times[START:][alarm], STEP_S) == 1


def test_the_budget_is_guaranteed_and_kept_in_episodes(trained):
    assert trained.facts["guaranteed"]
    assert trained.facts["bound"] <= trained.facts["rate"]
    fresh = sensor(4_000, seed=9)
    alarm = trained.find_anomalies(fresh.values, fresh.times)
    assert count_episodes(fresh.times[alarm], STEP_S) <= 2 * 4_000 * STEP_S / WEEK


def test_most_readings_lie_in_the_expected_band(trained):
    fresh = sensor()
    detections = detect(trained, fresh.values, fresh.times)
    inside = [
        detection["expected_low"] <= value <= detection["expected_high"]
        for detection, value in zip(detections, fresh.values[START:], strict=True)
    ]
    assert np.mean(inside) > 0.98


def test_few_days_of_a_fast_sensor_keep_a_budget_per_hour():
    options = replace(OPTIONS, false_alarms_per_week=168.0)
    times = 1.7e9 + np.arange(39_600.0)
    values = np.random.default_rng(3).normal(0, 1, len(times))
    healthy = SensorSeries(np.arange(len(times)), times, values)
    detector = anomaly.train(healthy.select(slice(0, 3_600)), options)
    later = healthy.select(slice(3_600, None))
    alarm = detector.find_anomalies(later.values, later.times)
    assert count_episodes(later.times[alarm], 1.0) <= 10


def test_a_batch_and_single_readings_get_the_same_answers(trained, tmp_path):
    faulty = sensor()
    insert(faulty.values, "Calibration Error")
    trained.save(tmp_path)
    loaded = CompositeDetector.load(tmp_path)
    together = detect(trained, faulty.values, faulty.times)
    for end in range(START, START + 40):
        single = detect(loaded, faulty.values[: end + 1], faulty.times[: end + 1], end)[0]
        expected = together[end - START]
        assert single["type"] == expected["type"]
        assert single["anomaly_score"] == pytest.approx(expected["anomaly_score"], rel=1e-9)


def test_a_weekly_rhythm_is_learnt_where_there_is_one():
    times = 1.7e9 + np.arange(8 * 168) * 3_600.0
    weekend = (times // 86_400 + 3) % 7 >= 5
    noise = np.random.default_rng(1).normal(0, 0.3, len(times))
    assert len(fit_season(50 - 10 * weekend + noise, times).table) == 168
    assert len(fit_season(50 + noise, times).table) == 1


@pytest.mark.parametrize("count", [2, 10, 40])
def test_few_readings_train_and_promise_nothing(count):
    assert anomaly.train(sensor(count), OPTIONS).facts["guaranteed"] is False


def test_a_constant_sensor_is_quiet_and_any_change_is_odd():
    flat = SensorSeries(np.arange(200), 1.7e9 + np.arange(200) * STEP_S, np.full(200, 7.0))
    detector = anomaly.train(flat, OPTIONS)
    assert not detector.find_anomalies(flat.values, flat.times).any()
    assert detector.find_anomalies(np.array([7.1]), flat.times[:1]).all()
