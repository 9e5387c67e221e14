"""A drill opens a backup in a clean process, and health tells where none has succeeded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.operations.background import BACKGROUND
from api.training.event_stream import WAIT_SLOTS
from errors import StorageFailed
from prediction.contract import Resources
from storage.db.tables import utc_now
from storage.filesystem.locks import ProcessLock
from tests.api.conftest import TOY, open_app, settings_in
from tests.toy_family import ToyPredictor, records
from tests.waiting import MAX_WAIT_SECONDS, eventually
from training.services.backups import BackupService
from training.services.restore_drills import RestoreDrills


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    yield from open_app(settings_in(tmp_path))


@pytest.fixture
def drills(app: Flask) -> RestoreDrills:
    service: RestoreDrills = app.extensions["millwright"].restore_drills
    return service


@pytest.fixture
def newest(client: FlaskClient) -> str:
    """Return the name of the newer of two backups, of a model that was asked once."""
    assert client.post(TOY, json=records(20)).status_code == 200
    assert client.post("/predict/toy/default", json=[{"x": 1}]).status_code == 200
    assert client.get("/predictions").get_json()["count"] == 1
    return _back_up(client)


def _back_up(client: FlaskClient) -> str:
    name: str = client.post("/train/backups").get_json()["name"]
    return name


def test_a_drill_loads_the_models_and_replays_kept_answers(client: FlaskClient, newest: str) -> None:
    assert client.get("/train/backups").get_json()["last_proven_at"] is None
    result = client.post(f"/train/backups/{newest}/drill").get_json()
    assert (result["models_loaded"], result["answers_reproduced"]) == (1, 1)
    listed = client.get("/train/backups").get_json()
    assert listed["last_proven_at"] == result["proven_at"] == listed["backups"][0]["proven_at"]
    assert client.get(f"/train/backups/{newest}").get_json()["proven_at"] == result["proven_at"]


def test_a_backup_that_answers_otherwise_fails_and_degrades_health(
    client: FlaskClient, newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven_at = client.post(f"/train/backups/{newest}/drill").get_json()["proven_at"]
    with monkeypatch.context() as patched:
        patched.setattr(ToyPredictor, "predict", lambda self, inputs, options: [{"value": 0.0}])
        answer = client.post(f"/train/backups/{newest}/drill")
    assert answer.status_code == 422
    assert "does not answer as it did" in answer.get_json()["error"]
    health = client.get("/health").get_json()
    assert health["status"] == "degraded"
    (problem,) = health["problems"]
    assert f"drill of {newest} failed: toy/default cannot be opened" in problem
    backup = client.get(f"/train/backups/{newest}").get_json()
    assert backup["proven_at"] == proven_at < backup["drilled_at"]
    assert "does not answer as it did" in backup["drill_error"]
    assert client.post(f"/train/backups/{newest}/drill").status_code == 200
    assert client.get("/health").get_json()["status"] == "ok"


def test_each_new_backup_is_opened_once_the_newest_first(
    client: FlaskClient, drills: RestoreDrills, newest: str
) -> None:
    now = utc_now()
    older = client.get("/train/backups").get_json()["backups"][1]["name"]
    assert [drills.run_due(now) for _ in range(3)] == [newest, older, None]
    later = _back_up(client)
    assert [drills.run_due(now) for _ in range(2)] == [later, None]
    # So that the newest proof never is older than the interval, although no training makes a new backup.
    assert drills.list_due(now + timedelta(hours=25)) == [("default", later)]
    proven = {
        backup["name"] for backup in client.get("/train/backups").get_json()["backups"] if backup["proven_at"]
    }
    assert proven == {older, newest, later}


def test_a_drill_that_failed_is_tried_again_after_the_interval(
    client: FlaskClient, drills: RestoreDrills, newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later, now = _back_up(client), utc_now()
    drills.run(later, "default")
    with monkeypatch.context() as patched:
        patched.setattr(ToyPredictor, "predict", lambda self, inputs, options: [])
        assert drills.run_due(now) == newest
    assert newest not in [name for _, name in drills.list_due(now)]
    assert newest in [name for _, name in drills.list_due(now + timedelta(hours=25))]


@pytest.mark.parametrize(("owner", "step"), [(ToyPredictor, "load"), (BackupService, "verify")])
def test_too_little_memory_is_a_failed_proof(
    drills: RestoreDrills, newest: str, monkeypatch: pytest.MonkeyPatch, owner: type, step: str
) -> None:
    def fail(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr(owner, step, fail)
    now = utc_now()
    assert drills.run_due(now) == newest
    assert "memory" in (drills.proofs()[newest].error or "").lower()
    assert newest not in [name for _, name in drills.list_due(now)], (
        "others are opened before it is tried again"
    )


def test_health_is_degraded_when_the_newest_proof_is_too_old(
    app: Flask, drills: RestoreDrills, newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drills.issue("default") is None, "there was time to open neither"
    later = utc_now() + timedelta(hours=app.extensions["millwright"].settings.restore_proof_hours)
    with monkeypatch.context() as patched:
        patched.setattr("training.services.restore_drills.utc_now", lambda: later)
        assert "No backup was proven" in str(drills.issue("default"))
    drills.run(newest, "default")
    assert drills.issue("default") is None


def test_no_client_holds_a_thread_for_long(
    app: Flask, client: FlaskClient, drills: RestoreDrills, newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drill that a client starts goes on by itself: two requests for it are one, and its result is shown."""
    go_on, loads = threading.Event(), []

    def load_slowly(folder: Path, resources: Resources) -> ToyPredictor:
        loads.append(folder)
        go_on.wait(MAX_WAIT_SECONDS)
        return original(folder, resources)

    original = ToyPredictor.load
    monkeypatch.setattr(ToyPredictor, "load", load_slowly)
    slots = app.extensions[WAIT_SLOTS]
    while slots.acquire():
        pass  # as many clients wait as may
    answers = [client.post(f"/train/backups/{newest}/drill") for _ in range(2)]
    answers.append(client.post(f"/train/backups/{newest}/drill?async=1"))
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert {answer.headers["Location"] for answer in answers} == {f"/train/backups/{newest}"}
    go_on.set()
    eventually(lambda: drills.proofs().get(newest) is not None)
    assert len(loads) == 1
    assert client.get(answers[0].headers["Location"]).get_json()["proven_at"] is not None
    assert client.post(f"/train/backups/{newest}/verify").status_code == 202


def test_a_drill_without_a_process_says_nothing_about_the_backup(
    app: Flask, client: FlaskClient, drills: RestoreDrills, newest: str
) -> None:
    drills.close()
    answer = client.post(f"/train/backups/{newest}/drill")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "not_ready")
    assert drills.proofs() == {}
    assert client.get("/health").get_json()["problems"] == []


def test_drills_can_be_turned_off(app: Flask, drills: RestoreDrills, newest: str) -> None:
    manager = app.extensions["millwright"]
    settings = replace(manager.settings, restore_drill_hours=0.0, restore_proof_hours=0.0)
    off = RestoreDrills(
        replace(manager.storage, settings=settings), manager.backups, manager.executor, manager.archive.store
    )
    assert off.list_due(utc_now()) == []
    assert off.issue("default") is None


def test_a_worker_opens_new_backups_by_itself(
    app: Flask, drills: RestoreDrills, newest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pause in ("DRILL_POLL_SECONDS", "DRILL_PAUSE_SECONDS"):
        monkeypatch.setattr(f"api.operations.background.{pause}", 0.05)
    acquire, refused = ProcessLock.acquire, threading.Event()

    def refuse_once(lock: ProcessLock, timeout_s: float | None = 0.0) -> bool:
        if lock.path.name == "drill-schedule" and not refused.is_set():
            refused.set()
            raise StorageFailed("no file can be opened")
        return acquire(lock, timeout_s)

    monkeypatch.setattr(ProcessLock, "acquire", refuse_once)
    worker = app.extensions[BACKGROUND]
    worker.start()
    try:
        eventually(lambda: newest in drills.proofs())
    finally:
        worker.stopping.set()
    proof = drills.proofs()[newest]
    assert (proof.error, proof.models, proof.answers) == (None, 1, 1)
    assert refused.is_set()
