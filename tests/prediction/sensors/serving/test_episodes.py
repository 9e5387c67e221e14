"""For every detector: a lasting fault is one episode, a frozen sensor a dropout, and a verdict releases the sensor."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from prediction.contract import ModelKey
from prediction.sensors import anomaly
from prediction.sensors.anomaly.composite.season import Season
from prediction.sensors.anomaly.detector import ForestDetector
from prediction.sensors.options import SensorTrainingOptions
from prediction.sensors.readings.series import SensorSeries
from prediction.sensors.serving.new_anomalies import has_returned
from prediction.sensors.serving.predictor import SensorsPredictor
from prediction.sensors.serving.releases import find_released_bands, release_detections
from storage.db.kept_predictions import decode, encode_exactly
from storage.db.tables import utc_now
from storage.sensors.anomalies import AlarmBand, Anomalies, Episode
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import to_microseconds
from storage.sensors.sensors import Sensors
from tests.prediction.sensors.anomaly.test_knn_cad import STEP_S
from tests.prediction.sensors.serving.test_online_detection import ALL, create_service, database

__all__ = ["database"]
ALGORITHMS = ["composite", "isolation_forest", "knn_cad"]
START = 1_500
SPREAD = 0.5


def follow(count, start=START, seed=8):
    """Return times and healthy values of the readings after those that a model has learnt."""
    times = ((1.7e9 + (start + np.arange(count)) * STEP_S) * 1e6).astype(np.int64)
    noise = np.random.default_rng(seed).normal(0, SPREAD, count)
    return times, follow_smoothly(times) + noise


def follow_smoothly(times):
    """Return the usual values at these times."""
    return 50 + 5 * np.sin(times / 1e6 / 86_400 * 2 * np.pi)


def send(database, service, sensor_id, times, values, size=40):
    """Store readings in requests of some readings each, and return the anomalies that they list."""
    listed = []
    for start in range(0, len(times), size):
        part = slice(start, start + size)
        block = ReadingBlock(np.full(len(times[part]), sensor_id), times[part], values[part])
        sensors = Sensors(database).get_many("default", [sensor_id])
        listed += service.ingest(sensors, block, ALL).listed
    return listed


def episodes_since(database, time):
    rows, _ = Anomalies(database).page("default", [])
    return [row for row in rows if row["last_seen"].timestamp() >= time / 1e6]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_sensor_that_is_frozen_inside_its_range_is_a_dropout(database, algorithm):
    service, ids = create_service(database, algorithm)
    times, values = follow(48)
    values[20:] = 50.0
    send(database, service, ids[0], times, values, size=1)
    found = episodes_since(database, times[20])
    assert [row["type"] for row in found] == ["Dropout"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_lasting_shift_is_one_episode(database, algorithm):
    service, ids = create_service(database, algorithm)
    times, values = follow(480)
    values[24:] += 8 * SPREAD
    send(database, service, ids[0], times, values)
    found = episodes_since(database, times[24])
    assert len(found) == 1


@pytest.mark.parametrize("verdict", ["false_alarm", "new_normal"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_verdict_releases_the_sensor_at_once(database, algorithm, verdict):
    service, ids = create_service(database, algorithm)
    times, values = follow(400)
    values[24:] += 14 * SPREAD
    send(database, service, ids[0], times[:60], values[:60])
    anomalies = Anomalies(database)
    for row in episodes_since(database, times[24]):
        closed = anomalies.update("default", row["id"], {"verdict": verdict})
        assert closed["resolved"]
    before = anomalies.count("default")
    assert send(database, service, ids[0], times[60:], values[60:]) == []
    assert anomalies.count("default") == before
    # Another fault is none of what was released.
    later, _ = follow(1, START + 400)
    assert send(database, service, ids[0], later, np.array([150.0]))


def test_a_released_reading_names_the_verdict_and_alarms_again_when_it_is_withdrawn(database):
    service, ids = create_service(database, "composite")
    times, values = follow(100)
    values[24:] += 14 * SPREAD
    send(database, service, ids[0], times[:80], values[:80])
    (episode,) = episodes_since(database, times[24])
    Anomalies(database).update("default", episode["id"], {"verdict": "new_normal"})
    sensor = Sensors(database).get_many("default", ids)[ids[0]]
    (released,) = service.detect(sensor, values[80:81], times[80:81])
    assert (released["is_anomaly"], released["type"], released["released_by"]) == (False, None, episode["id"])
    Anomalies(database).update("default", episode["id"], {"verdict": None})
    (alarm,) = service.detect(sensor, values[80:81], times[80:81])
    assert alarm["is_anomaly"]
    assert "released_by" not in alarm


def test_a_verdict_on_a_frozen_sensor_releases_that_value_only(database):
    service, ids = create_service(database, "isolation_forest")
    times, values = follow(90)
    values[20:40], values[60:] = 0.0, 51.0
    send(database, service, ids[0], times[:30], values[:30], size=1)
    for row in episodes_since(database, times[20]):
        Anomalies(database).update("default", row["id"], {"verdict": "false_alarm"})
    assert send(database, service, ids[0], times[30:40], values[30:40], size=1) == []
    frozen = send(database, service, ids[0], times[40:], values[40:], size=1)
    assert {row["type"] for row in frozen} == {"Dropout"}


def judge(database, time, verdict="new_normal"):
    """Give the same verdict on all episodes since a time."""
    for row in episodes_since(database, time):
        Anomalies(database).update("default", row["id"], {"verdict": verdict})


def test_a_verdict_on_a_spike_releases_no_shift_to_the_same_value(database):
    service, ids = create_service(database, "composite")
    times, values = follow(120)
    faults = [20, 40, *range(80, 120)]
    values[faults] += 14 * SPREAD - 0.7 * (values - follow_smoothly(times))[faults]
    assert send(database, service, ids[0], times[:30], values[:30])
    judge(database, times[0])
    assert send(database, service, ids[0], times[30:60], values[30:60]) == [], "a spike like the one before"
    shift = send(database, service, ids[0], times[60:], values[60:])
    assert {row["type"] for row in shift} & {"Drift", "Calibration Error"}


def test_a_verdict_on_a_frozen_sensor_releases_no_spike_to_that_value(database):
    service, ids = create_service(database, "composite")
    times, values = follow(240)
    values[20:60] = 50.0
    send(database, service, ids[0], times[:60], values[:60], size=1)
    judge(database, times[0])
    spike = int(np.argmax(np.abs(values[100:] - 50))) + 100
    values[spike] = 50.0
    alarms = send(database, service, ids[0], times[60 : spike + 1], values[60 : spike + 1], size=1)
    assert to_microseconds(alarms[-1]["timestamp"]) == times[spike]


def test_a_release_stays_at_its_readings_when_a_later_model_has_learnt_them(database):
    service, ids = create_service(database, "composite")
    times, values = follow(90)
    values[20:] += 14 * SPREAD
    send(database, service, ids[0], times[:60], values[:60])
    judge(database, times[0])
    model = service._champion(ModelKey("sensors", f"{ids[0]}-anomaly")).predictor.model
    learnt = Season(model.parts.season.table + 14 * SPREAD)
    later = replace(model, parts=replace(model.parts, season=learnt))
    bands = find_released_bands(Anomalies(database), ids[0], later, int(times[60]))
    (alarm,) = later.detect_after(values[60:61] + 14 * SPREAD, times[60:61] / 1e6, np.empty(0), np.empty(0))
    assert alarm["is_anomaly"]
    assert release_detections([alarm], values[60:61] + 14 * SPREAD, bands) == [alarm]


def test_an_episode_over_a_training_releases_distances_by_the_later_model_only(database):
    service, ids = create_service(database, "composite")
    times, values = follow(100)
    values[24:] += 20 * SPREAD
    send(database, service, ids[0], times[:60], values[:60])
    model = service._champion(ModelKey("sensors", f"{ids[0]}-anomaly")).predictor.model
    half = replace(model, parts=replace(model.parts, season=Season(model.parts.season.table + 10 * SPREAD)))
    service._champion = lambda key: SimpleNamespace(predictor=SensorsPredictor(half), number=2, warnings=[])
    send(database, service, ids[0], times[60:], values[60:])
    (episode,) = episodes_since(database, times[24])
    Anomalies(database).update("default", episode["id"], {"verdict": "new_normal"})
    bands = find_released_bands(Anomalies(database), ids[0], half, int(times[60]))
    assert {band["type"] for band in bands} >= {"Calibration Error"}
    for band in bands:
        # Ten deviations from the usual value of today, with the noise of the sensor and the tolerance.
        assert 4 * SPREAD < band["low"] < band["high"] < 16 * SPREAD, band


def _alarm(band: AlarmBand) -> Episode:
    now = utc_now()
    return Episode("Spike", "High", 60.0, None, None, now, now, "composite", bands={"Spike": band})


def test_bands_of_different_references_are_not_mixed():
    by_model: AlarmBand = {"low": 8.0, "high": 10.0, "expected": 50.0, "time": 1.0, "version": 1}
    by_later: AlarmBand = {"low": 2.0, "high": 3.0, "expected": 57.0, "time": 2.0, "version": 2}
    values: AlarmBand = {"low": 60.0, "high": 61.0, "expected": None, "time": 3.0, "version": None}
    wider: AlarmBand = {**by_model, "low": 7.0, "time": 4.0}
    cases: list[tuple[AlarmBand, AlarmBand, AlarmBand]] = [
        (by_model, wider, {**by_model, "low": 7.0}),
        (by_model, by_later, by_later),
        (values, by_model, by_model),
        (by_model, values, by_model),
        (values, {**values, "high": 70.0, "version": 2}, {**values, "high": 70.0}),
    ]
    for first, second, merged in cases:
        episode = _alarm(first)
        episode.merge(_alarm(second))
        assert episode.bands == {"Spike": merged}


def test_a_released_answer_is_kept_as_it_is_sent(database):
    service, ids = create_service(database, "composite")
    kept = []
    service._keep = lambda *given: kept.append(given) or {}
    times, values = follow(100)
    values[24:] += 14 * SPREAD
    send(database, service, ids[0], times[:80], values[:80])
    judge(database, times[24])
    sensor = Sensors(database).get_many("default", ids)[ids[0]]
    (sent,) = service.detect(sensor, values[80:81], times[80:81])
    ((served, inputs, options, answers),) = kept
    assert answers == [{name: value for name, value in sent.items() if name != "model_version"}]
    question = decode(encode_exactly({"inputs": inputs, "options": options}))
    assert served.predictor.predict(question["inputs"], question["options"]) == answers


def test_an_episode_is_over_when_the_sensor_was_back():
    away, back = np.full(40, 3.0), np.full(12, 0.4)
    assert not has_returned(away, spread=1.0)
    assert has_returned(np.concatenate([away, back, away]), spread=1.0)


def test_a_service_without_a_model_keeps_the_gap(database):
    service, (_, other) = create_service(database, "isolation_forest")
    times, _ = follow(400)
    values = np.random.default_rng(8).uniform(49, 51, 400)
    values[[150, 300]] += 100
    send(database, service, other, times, values)
    assert len(episodes_since(database, times[0])) == 2


def test_detectors_of_earlier_versions_have_no_rule_for_equal_readings(tmp_path):
    options = SensorTrainingOptions(algorithm="isolation_forest")
    times, values = follow(300)
    detector = anomaly.train(SensorSeries(np.arange(300), times / 1e6, values), options)
    detector.save(tmp_path)
    assert ForestDetector.load(tmp_path).profile.max_equal == detector.profile.max_equal
    path = tmp_path / "detector.json"
    path.write_text(path.read_text().replace('"max_equal"', '"of_later_versions"'))
    assert ForestDetector.load(tmp_path).run_context == 0
