"""Sensors belong to a tenant; their status is worked out from silence and open anomalies."""

import threading
from datetime import timedelta

import numpy as np
import pytest

from errors import NotFound
from storage.db.tables import utc_now
from storage.sensors.anomalies import Episode
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import to_microseconds


def speak(readings, sensor_id, ago_s=10, value=1.0):
    at = to_microseconds(utc_now()) - ago_s * 1_000_000
    readings.ingest("default", ReadingBlock(np.array([sensor_id]), np.array([at]), np.array([value])))


def anomalous_reading(severity="Low", ago_s=10, deviation=3.0):
    time = utc_now() - timedelta(seconds=ago_s)
    return Episode("Spike", severity, 9.0, 6.0, deviation, time, time, "model")


def record(anomalies, sensor_id, *episodes):
    """Record episodes of one sensor that is quiet after a minute; return their ids."""
    with anomalies.database.write() as connection:
        return anomalies.record(connection, "default", sensor_id, episodes, timedelta(seconds=60))


@pytest.fixture
def one(sensors):
    return sensors.create("default", [{"name": "Inlet", "type": "Pressure"}])[0]


def status(sensors, sensor_id):
    return sensors.get("default", sensor_id)["status"]


def test_silence_and_open_anomalies_set_the_status(sensors, readings, anomalies, one):
    assert status(sensors, one) == "offline"
    speak(readings, one)
    assert status(sensors, one) == "online"
    low = record(anomalies, one, anomalous_reading())[0]
    assert status(sensors, one) == "warning"
    anomalies.update("default", low, {"resolved": True, "verdict": "confirmed"})
    assert status(sensors, one) == "online"
    record(anomalies, one, anomalous_reading("Critical"))
    assert status(sensors, one) == "critical"
    assert sensors.page("default", [sensors.has_status("critical")])[0][0]["id"] == one


def test_a_sensor_may_be_silent_as_long_as_it_says(sensors, readings, one):
    speak(readings, one, ago_s=100)
    sensors.update("default", one, {"silence_seconds": 60})
    assert status(sensors, one) == "offline"
    sensors.update("default", one, {"silence_seconds": 600})
    assert status(sensors, one) == "online"


def test_planted_sensors_keep_their_ids_and_the_next_one_gets_a_higher(sensors):
    sensors.insert_with_ids("default", [{"id": 13, "name": "Cooling Tank Pressure", "type": "Pressure"}])
    assert sensors.create("default", [{"name": "next", "type": "Flow"}])[0] > 13


def test_deleting_a_sensor_deletes_what_it_said(sensors, readings, anomalies, calibrations, one):
    speak(readings, one)
    record(anomalies, one, anomalous_reading())
    made = {
        "sensor_id": one,
        "method": "linear",
        "params": {},
        "corrected_value": 1.0,
        "applied_at": utc_now(),
    }
    calibrations.insert("default", [{**made, "source": "manual"}])
    sensors.delete("default", one)
    assert [rows.count("default") for rows in (sensors, readings, anomalies, calibrations)] == [0, 0, 0, 0]


def test_another_tenants_sensor_is_not_found(sensors, one):
    for call in (sensors.get, sensors.delete):
        with pytest.raises(NotFound, match=f"There is no sensor {one}"):
            call("other", one)
    assert sensors.get_many("other", [one]) == {}
    assert sensors.get_many("default", [one, 2**40, -1]).keys() == {one}


def test_odd_readings_close_together_are_one_episode(anomalies, one):
    start = [
        anomalous_reading("Low", 300),
        anomalous_reading("High", 280, -7.0),
        anomalous_reading("Low", 20),
    ]
    times = [episode.timestamp for episode in start]
    first, second, third = record(anomalies, one, *start)
    assert first == second != third
    episode = anomalies.get("default", first)
    assert (episode["readings"], episode["severity"], episode["deviation"]) == (2, "High", -7.0)
    assert episode["last_seen"] - episode["timestamp"] == times[1] - times[0]
    assert record(anomalies, one, anomalous_reading(ago_s=5)) == [third]


def test_only_a_persons_verdict_lets_an_episode_be_learnt_from(anomalies, one):
    ids = record(anomalies, one, *(anomalous_reading(ago_s=s) for s in (4_000, 3_000, 2_000, 1_000)))
    assert len(anomalies.suspected(one)) == 4
    anomalies.update("default", ids[0], {"resolved": True})
    anomalies.update("default", ids[1], {"resolved": True, "verdict": "confirmed"})
    assert len(anomalies.suspected(one)) == 4
    anomalies.update("default", ids[2], {"resolved": True, "verdict": "new_normal"})
    anomalies.update("default", ids[3], {"verdict": "false_alarm"})
    assert len(anomalies.suspected(one)) == 2


def test_only_calibrations_by_hand_are_learnt_from(calibrations, one):
    made = {"sensor_id": one, "method": "linear", "params": {"a": 1}, "corrected_value": 1.0}
    rows = [
        {**made, "applied_at": utc_now() - timedelta(days=d), "source": s}
        for d, s in ((1, "manual"), (2, "model"), (3, "manual"))
    ]
    ids = calibrations.insert("default", rows)
    assert [row["id"] for row in calibrations.list_manual(one)] == [ids[2], ids[0]]
    assert calibrations.list_manual(one, up_to=ids[0])[0]["params"] == {"a": 1}


def meanwhile(monkeypatch, work):
    """Do some work in another thread while an episode is being extended; it may have to wait for its end."""
    merge = Episode.merge
    worker = threading.Thread(target=work)

    def start_worker(*episodes):
        if worker.ident is None:
            worker.start()
            worker.join(0.5)
        return merge(*episodes)

    monkeypatch.setattr(Episode, "merge", start_worker)
    return worker


def test_a_verdict_given_while_readings_arrive_stands(anomalies, one, monkeypatch):
    (episode,) = record(anomalies, one, anomalous_reading(ago_s=20))
    decided = {"resolved": True, "verdict": "false_alarm"}
    person = meanwhile(monkeypatch, lambda: anomalies.update("default", episode, decided))
    assert record(anomalies, one, anomalous_reading("High")) == [episode]
    person.join()
    kept = anomalies.get("default", episode)
    assert (kept["resolved"], kept["verdict"], kept["resolved_at"] is not None) == (True, "false_alarm", True)
    assert (kept["readings"], kept["severity"]) == (2, "High")


def test_readings_that_arrive_at_once_all_count_in_their_episode(anomalies, one, monkeypatch):
    (episode,) = record(anomalies, one, anomalous_reading(ago_s=20))
    other = meanwhile(monkeypatch, lambda: record(anomalies, one, anomalous_reading(ago_s=5)))
    record(anomalies, one, anomalous_reading(ago_s=10))
    other.join()
    assert anomalies.get("default", episode)["readings"] == 3


def test_an_episode_that_is_judged_first_is_not_extended_any_more(anomalies, one):
    (judged,) = record(anomalies, one, anomalous_reading(ago_s=20))
    found = []
    with anomalies.database.write() as connection:
        row = anomalies.table.c.id == judged
        connection.execute(anomalies.table.update().where(row).values(verdict="confirmed"))
        arriving = threading.Thread(target=lambda: found.extend(record(anomalies, one, anomalous_reading())))
        arriving.start()
        arriving.join(0.5)
    arriving.join()
    assert found != [judged]
    assert anomalies.get("default", judged)["readings"] == 1
