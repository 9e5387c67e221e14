"""An event and its alarm are stored together, or neither is."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from notifications.quiet_hours import hold_until
from storage.alarms import Alarm, Alarms, Observation, observe_conditions
from storage.alarms.deliveries import Deliveries
from storage.db.database import Database
from storage.db.scheduler_runs import RetrainDecision, RetrainDecisions
from storage.db.sessions import SessionStore
from storage.db.tables import utc_now
from storage.devices.asset_anomalies import AssetAnomalies, AssetEpisode
from storage.devices.prediction import Prediction, PredictionSource
from storage.devices.predictions import PredictionStore
from storage.sensors.anomalies import Anomalies, Episode
from storage.sensors.sensors import Sensors
from storage.sensors.tables import anomalies
from storage.times import to_microseconds


def _alarms(database: Database) -> list[tuple[str, str]]:
    rows, _ = Alarms(database).page("default")
    return [(row["event"], row["severity"]) for row in rows]


def _record(database: Database, sensor_id: int, *severities: str) -> None:
    now = utc_now()
    episodes = [Episode("Spike", severity, 9.0, 1.0, 8.0, now, now, "rule") for severity in severities]
    with database.write() as connection:
        Anomalies(database).record(connection, "default", sensor_id, episodes, timedelta(minutes=1))


@pytest.fixture
def sensor_id(database: Database) -> int:
    (number,) = Sensors(database).create("default", [{"name": "TI-1", "type": "Temperature"}])
    return number


def test_an_episode_opens_escalates_and_closes_once_each(database: Database, sensor_id: int) -> None:
    _record(database, sensor_id, "Medium", "Medium", "Low")
    assert _alarms(database) == [("anomaly.opened", "Medium")]
    _record(database, sensor_id, "Critical")
    table = Anomalies(database)
    (row,), _ = table.page("default")
    table.update("default", row["id"], {"resolved": True})
    table.update("default", row["id"], {"resolved": True, "verdict": "confirmed"})
    table.delete("default", row["id"])
    assert _alarms(database)[1:] == [("anomaly.escalated", "Critical"), ("anomaly.closed", "Critical")]


def test_a_change_of_an_episode_raises_an_alarm_only_where_something_happened(
    database: Database, sensor_id: int
) -> None:
    _record(database, sensor_id, "Medium")
    table = Anomalies(database)
    (row,), _ = table.page("default")
    unchanged = {"severity": "Medium", "resolved": False, "verdict": None, "value": 10.0}
    table.update("default", row["id"], unchanged)
    table.update("default", row["id"], {"resolved": False})
    assert _alarms(database) == [("anomaly.opened", "Medium")]
    table.update("default", row["id"], {"severity": "High"})
    judged = table.update("default", row["id"], {**unchanged, "verdict": "false_alarm"})
    assert (judged["resolved"], judged["resolved_at"] is not None) == (True, True)
    assert table.update("default", row["id"], {"resolved": True})["resolved_at"] == judged["resolved_at"]
    table.update("default", row["id"], unchanged)
    events = [event for event, _ in _alarms(database)]
    assert events == ["anomaly.opened", "anomaly.escalated", "anomaly.closed", "anomaly.escalated"]


def test_old_alarms_are_deleted_but_not_the_memory_of_what_is_open(
    database: Database, sensor_id: int
) -> None:
    _record(database, sensor_id, "Medium")
    _record(database, sensor_id, "Critical")
    table, outbox, deliveries = Anomalies(database), Alarms(database), Deliveries(database)
    deliveries.route_waiting([], hold_until)
    (row,), _ = table.page("default")
    assert outbox.delete_old(utc_now() + timedelta(days=1)) == 1
    table.update("default", row["id"], {"resolved": True})
    assert [event for event, _ in _alarms(database)] == ["anomaly.escalated", "anomaly.closed"]
    deliveries.route_waiting([], hold_until)
    assert outbox.delete_old(utc_now() + timedelta(days=1)) == 2


def test_the_anomalies_of_a_sensor_are_closed_with_it(database: Database, sensor_id: int) -> None:
    _record(database, sensor_id, "High")
    Sensors(database).delete("default", sensor_id)
    assert [event for event, _ in _alarms(database)] == ["anomaly.opened", "anomaly.closed"]


def test_a_decision_without_its_alarm_is_no_decision(
    database: Database, sensor_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    _record(database, sensor_id, "High")
    table = Anomalies(database)
    (row,), _ = table.page("default")

    def die(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("storage.alarms.episode_table.record_alarms", die)
    for act in (
        lambda: table.update("default", row["id"], {"resolved": True}),
        lambda: table.delete("default", row["id"]),
    ):
        with pytest.raises(KeyboardInterrupt):
            act()
    assert table.get("default", row["id"])["resolved"] is False
    assert _alarms(database) == [("anomaly.opened", "High")]


def test_an_anomaly_and_its_alarm_are_undone_together(database: Database, sensor_id: int) -> None:
    now = utc_now()
    with pytest.raises(KeyboardInterrupt), database.write() as connection:
        episode = Episode("Spike", "High", 9.0, 1.0, 8.0, now, now, "rule")
        Anomalies(database).record(connection, "default", sensor_id, [episode], timedelta(minutes=1))
        raise KeyboardInterrupt
    with database.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(anomalies)).scalar() == 0
    assert _alarms(database) == []


def test_decisions_about_equipment_follow_the_rule_of_sensors(database: Database) -> None:
    table, now = AssetAnomalies(database), utc_now()

    def record(score: float, *, follows: bool) -> int:
        episode = AssetEpisode("pump-1", "line-1", 1, now, now, 1, score, 0.5, 0, [])
        with database.write() as connection:
            (row_id,) = table.record(connection, "default", [episode], lambda last, at: follows)
        return row_id

    row_id = record(1.5, follows=False)
    assert record(9.0, follows=True) == row_id
    assert table.update("default", row_id, {})["resolved"] is False
    judged = table.update("default", row_id, {"verdict": "new_normal"})
    assert (judged["resolved"], judged["resolved_at"] is not None) == (True, True)
    assert table.update("default", row_id, {"resolved": True})["resolved_at"] == judged["resolved_at"]
    reopened = table.update("default", row_id, {"resolved": False, "verdict": None})
    assert (reopened["resolved"], reopened["resolved_at"]) == (False, None)
    table.delete("default", row_id)
    events = ["opened", "escalated", "closed", "escalated", "closed"]
    assert [event for event, _ in _alarms(database)] == [f"anomaly.{event}" for event in events]
    assert _alarms(database)[1] == ("anomaly.escalated", "Critical")


def test_the_end_of_a_session_raises_one_alarm_however_often_it_is_recorded(database: Database) -> None:
    store = SessionStore(database)
    create = partial(store.create, tenant="default", family="scoring", name="default", kind="train")
    rejected = create()
    for _ in range(2):  # a journal that is applied again after a crash
        store.finish(rejected.id, "rejected", reasons=["It is worse."])
    store.finish(create().id, "failed", message="No space.")
    store.finish(create().id, "completed", promoted=True)
    store.finish(create().id, "cancelled")
    items = [{"name": "1-drift", "state": "completed"}, {"name": "2-drift", "state": "failed"}]
    store.finish(create().id, "completed", details={"items": items})
    rows, _ = Alarms(database).page("default")
    assert [(row["event"], row["message"]) for row in rows] == [
        (
            "training.not_promoted",
            f"Session {rejected.id} has promoted no version of scoring/default: It is worse.",
        ),
        ("training.failed", "Session 2, a training of scoring/default, has failed: No space."),
        ("training.not_promoted", "Session 5 has promoted no version of 1 of its models: 2-drift"),
    ]


def test_drift_is_told_when_it_begins_and_when_it_has_ended(database: Database) -> None:
    decisions = RetrainDecisions(database)
    for run, changed in enumerate((False, True, True, False)):
        evidence = {"changed": changed, "version": 1}
        decision = RetrainDecision(
            "default", "rul", "pumps", str(run), utc_now(), "wait", ["Shifted."], evidence
        )
        assert decisions.add(decision) is not None
        assert decisions.add(decision) is None
    assert _alarms(database) == [("drift.found", "Medium"), ("drift.ended", "Medium")]


def test_a_device_is_told_of_when_it_falls_below_its_alarm_time(database: Database) -> None:
    predictions = PredictionStore(database, 72.0)
    source = PredictionSource("default", "rul", "pumps", 1)
    now = to_microseconds(utc_now())
    old = now - 3 * 86_400_000_000
    for second, (as_of, hours) in enumerate(
        [(old, 5.0), (now, 200.0), (now, 70.0), (now, 75.0), (now, 300.0)]
    ):
        row = Prediction("pump 1", as_of + second, hours, 500.0, None, None, 50)
        predictions.add([(source, row)])
    rows, _ = Alarms(database).page("default")
    assert [row["event"] for row in rows] == ["device.below_alarm_time", "device.recovered"]
    assert rows[0]["message"].startswith("Device pump 1 has 70 hours left by rul/pumps, as of ")


def test_a_condition_that_lasts_is_told_once(database: Database) -> None:
    alarm = Alarm("default", "data.silent", "Medium", "sensors", "sensors/1", "TI-1 has sent nothing")
    for lasting, alarms in [({"sensors/1"}, {"sensors/1": alarm}), ({"sensors/1"}, {}), (set(), {})]:
        observe_conditions(database, Observation("default", "data.silent", lasting, alarms))
    assert _alarms(database) == [("data.silent", "Medium"), ("data.resumed", "Medium")]
