"""Conditions that last are found by what they are and end with their subject; health tells where they are not."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from storage.db.tables import utc_now
from storage.sensors.tables import sensors
from training_manager import TrainingManager


@pytest.fixture
def manager(app: Flask) -> TrainingManager:
    service: TrainingManager = app.extensions["millwright"]
    return service


@pytest.fixture
def silent(client: FlaskClient, manager: TrainingManager) -> int:
    """Return a sensor that has been silent for a minute."""
    body = {"name": "TI-1", "type": "Temperature", "unit": "°C"}
    number: int = client.post("/api/sensors/", json=body).get_json()["id"]
    with manager.storage.database.write() as connection:
        moment = utc_now() - timedelta(minutes=1)
        connection.execute(sa.update(sensors).values(last_updated=moment, silent_at=moment))
    return number


def _alarms(client: FlaskClient) -> list[tuple[str, str]]:
    rows = client.get("/api/alarms").get_json()["results"]
    return sorted((row["event"], row["message"]) for row in rows)


def test_a_deleted_sensor_does_not_send_again(
    client: FlaskClient, manager: TrainingManager, silent: int
) -> None:
    manager.alarms._conditions.check()
    client.delete(f"/api/sensors/{silent}")
    manager.alarms._conditions.check()
    resumed, begun = _alarms(client)
    assert (begun[0], resumed[0]) == ("data.silent", "data.resumed")
    assert resumed[1].startswith("Its sensor was deleted")


def test_a_condition_whose_sensor_is_gone_ends(
    client: FlaskClient, manager: TrainingManager, silent: int
) -> None:
    """A sensor may be deleted while the conditions are checked; it may have been the tenant's last one."""
    manager.alarms._conditions.check()
    with manager.storage.database.write() as connection:
        connection.execute(sa.delete(sensors))
    manager.alarms._conditions.check()
    assert [event for event, _ in _alarms(client)] == ["data.resumed", "data.silent"]


@pytest.mark.parametrize(
    ("lost", "events"),
    [("models", []), ("data", []), ("database", []), ("model_backups", ["backup.problem"])],
)
def test_only_lost_backups_are_a_problem_of_backups(
    client: FlaskClient,
    manager: TrainingManager,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
    events: list[str],
) -> None:
    def read_losses() -> Mapping[str, datetime]:
        return {lost: utc_now()}

    monkeypatch.setattr(manager.storage.folders, "_read_losses", read_losses)
    assert client.get("/health").get_json()["problems"]
    manager.alarms._conditions.check()
    assert [event for event, _ in _alarms(client)] == events


def test_a_folder_of_backups_that_is_gone_raises_an_alarm(
    client: FlaskClient, manager: TrainingManager
) -> None:
    folder = manager.settings.backups_dir
    away = folder.rename(folder.with_name("away"))
    assert manager.alarms._conditions.check()
    ((event, message),) = _alarms(client)
    assert (event, "model_backups/ was deleted, moved" in message) == ("backup.problem", True)
    away.rename(folder)
    manager.alarms._conditions.check()
    assert [event for event, _ in _alarms(client)] == ["backup.problem", "backup.recovered"]


def test_a_fault_of_one_check_stops_no_other_and_health_tells(
    client: FlaskClient, manager: TrainingManager, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(tenant: str) -> None:
        raise TypeError("this check has a fault")

    notifier, stopping = manager.alarms.create_notifier(), threading.Event()
    mark = manager.settings.run_dir / "alarms-checked"

    def check_again() -> list[str]:
        notifier._due_at.clear()
        notifier.run_once(stopping)
        problems: list[str] = client.get("/health").get_json()["problems"]
        return [problem for problem in problems if "checked for alarms" in problem]

    with monkeypatch.context() as patched:
        patched.setattr(manager.restore_drills, "issue", fail)
        patched.setattr("api.operations.health._find_drill_problems", lambda tenant: [])
        assert check_again() == [], "it has just begun"
        assert [event for event, _ in _alarms(client)] == ["data.silent"]
        os.utime(mark, (0, 0))
        assert check_again() != []
    assert check_again() == []
    notifier.stop()
    assert not mark.exists(), "nobody checks any more"
