"""Every failure has the one shape, and tells nothing of our inside."""

from __future__ import annotations

import errno
import multiprocessing
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from structlog.testing import capture_logs

from api.security.rate_limit import RateLimit
from errors import DiskFull, Interrupted, NotReady, StorageFailed, TooManyRequests, TrainingBusy
from storage.db.database import Database
from storage.db.sessions import SessionStore
from storage.sensors.readings import Readings
from tests.api.conftest import TOY

SECRET = "the password is swordfish"


def _fails_with(app: Flask, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(app.extensions["millwright"], "train", fail)


def test_a_mistake_of_ours_is_an_id_that_finds_the_log(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fails_with(app, monkeypatch, RuntimeError(SECRET))
    with capture_logs() as logged:
        answer = client.post(TOY, json=[])
    assert (answer.status_code, answer.get_json()["code"]) == (500, "internal_error")
    assert answer.get_json()["error_id"] in {entry.get("error_id") for entry in logged}
    assert SECRET not in answer.get_data(as_text=True)
    assert "Traceback" not in answer.get_data(as_text=True)


OS_ERRORS = [
    (OSError(errno.ENOSPC, "No space left on device", "/data/x.csv"), 507, "disk_full"),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), 507, "disk_full"),
    (OSError(errno.EFBIG, "File too large"), 507, "disk_full"),
    (OSError(errno.EIO, "Input/output error", "/data/x.csv"), 500, "storage_failed"),
    (PermissionError(errno.EACCES, "Permission denied", "/data/x.csv"), 500, "storage_failed"),
    (OSError(errno.EMFILE, "Too many open files"), 500, "storage_failed"),
    (MemoryError(), 500, "internal_error"),
    (RecursionError(), 500, "internal_error"),
    (DiskFull("No space"), 507, "disk_full"),
    (Interrupted("Stopped"), 503, "interrupted"),
    (NotReady("Starting"), 503, "not_ready"),
    (TrainingBusy(), 409, "training_in_progress"),
]


@pytest.mark.parametrize(("error", "status", "code"), OS_ERRORS, ids=lambda value: str(value)[:40])
def test_failures_below_are_told_by_their_kind(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    _fails_with(app, monkeypatch, error)
    answer = client.post(TOY, json=[])
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert answer.get_json()["success"] is False
    assert "/data/x.csv" not in answer.get_data(as_text=True)


def test_waiting_is_advised_only_where_it_helps(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, advised in [(TrainingBusy(), True), (NotReady("Starting", retry_after=7), True),
                           (Interrupted("Stopped"), False), (DiskFull("Full"), False)]:  # fmt: skip
        _fails_with(app, monkeypatch, error)
        assert ("Retry-After" in client.post(TOY, json=[]).headers) is advised
    _fails_with(app, monkeypatch, NotReady("Starting", retry_after=7))
    assert client.post(TOY, json=[]).headers["Retry-After"] == "7"


@pytest.mark.parametrize("path", ["/nothing", "/train//", "/models//", "/train//status", "/api", "/static/x"])
def test_an_unknown_address_is_no_redirect(trained: FlaskClient, path: str) -> None:
    answer = trained.get(path)
    assert (answer.status_code, answer.get_json()["code"]) == (404, "not_found")


def test_the_bare_address_is_the_overview(trained: FlaskClient) -> None:
    assert b"<h1>" in trained.get("/").data


def test_a_wrong_method_is_told_the_right_ones(trained: FlaskClient) -> None:
    answer = trained.delete("/train")
    assert (answer.status_code, answer.get_json()["code"]) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert answer.get_json()["error"] == "DELETE is not possible here, only POST"


@pytest.mark.parametrize("path", ["/models", "/health", "/docs", "/train/sessions/1/events"])
def test_head_is_get_without_a_body(trained: FlaskClient, path: str) -> None:
    answer = trained.head(path)
    assert (answer.status_code, answer.data) == (200, b"")


def _ask(path: Path, answers: multiprocessing.Queue[int]) -> None:
    limit, passed = RateLimit(path, 30), 0
    for _ in range(20):
        try:
            limit.count("a caller")
            passed += 1
        except TooManyRequests:
            pass
    answers.put(passed)


def test_a_rate_limit_holds_over_all_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    workers = [context.Process(target=_ask, args=(tmp_path / "rate", answers)) for _ in range(4)]
    for worker in workers:
        worker.start()
    passed = sum(answers.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join()
    assert passed in (30, 60)  # twice as many where a new minute began meanwhile


def test_callers_have_limits_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000_000.0)
    limit, counted = RateLimit(tmp_path / "rate", 3), Counter[str]()
    for caller in ("a", "b", "a", "a", "b", "a"):
        try:
            limit.count(caller)
            counted[caller] += 1
        except TooManyRequests as error:
            assert error.facts["retry_after"] == 20
    assert counted == {"a": 3, "b": 2}
    monkeypatch.setattr("time.time", lambda: 1_000_080.0)
    limit.count("a")


def _refuse(*args: object, **options: object) -> None:
    error = sa.exc.OperationalError(
        "SELECT 1", {}, Exception('connection to "10.0.0.5" failed for user "mw"')
    )
    raise Database._translate(SimpleNamespace(name="postgresql://mw@10.0.0.5/plant"), error)  # type: ignore[arg-type]


def test_where_the_database_is_only_administrators_learn(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = app.extensions["millwright"].keys
    secrets = {role: keys.create(role)[0] for role in ("read", "admin")}
    for secret in secrets.values():
        assert client.get("/train/status", headers={"X-API-Key": secret}).status_code == 200
    with capture_logs() as logged, pytest.MonkeyPatch.context() as patched:
        patched.setattr(SessionStore, "list", _refuse)
        for role, secret in secrets.items():
            answer = client.get("/train/sessions", headers={"X-API-Key": secret})
            assert (answer.status_code, answer.get_json()["code"]) == (503, "not_ready")
            assert ("10.0.0.5" in answer.text) == (role == "admin")
    assert "10.0.0.5" in str(logged)
    monkeypatch.setattr(type(keys), "authenticate", _refuse)
    unauthenticated = client.get("/train/sessions", headers={"X-API-Key": "mw_x"})
    assert (unauthenticated.status_code, "10.0.0.5" in unauthenticated.text) == (503, False)


def test_no_path_of_the_server_is_told_to_readers(client: FlaskClient, app: Flask) -> None:
    home = app.extensions["millwright"].settings.home
    secret = app.extensions["millwright"].keys.create("read")[0]

    def fail(*args: object, **options: object) -> None:
        raise StorageFailed(f"{home}/data/x.csv: Input/output error")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(SessionStore, "list", fail)
        answer = client.get("/train/sessions", headers={"X-API-Key": secret})
        patched.setattr(Readings, "ingest_with", fail)
        sensor = app.extensions["millwright"].sensors.sensors.create(
            "default", [{"name": "TI-1", "type": "Flow"}]
        )
        writer = {"Authorization": f"Token {app.extensions['millwright'].keys.create('train')[0]}"}
        line = f"m,sensor_id={sensor[0]} value=1"
        influx = client.post("/api/v2/write", data=line, content_type="text/plain", headers=writer)
    for told in (answer.get_json()["error"], influx.get_json()["error"], influx.get_json()["message"]):
        assert told == "data/x.csv: Input/output error"


def test_health_quotes_no_file_to_strangers(client: FlaskClient, app: Flask) -> None:
    manager = app.extensions["millwright"]
    problem = "scoring cannot be trained: availability.csv, line 2: 'a cell of the plant' is no date"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(manager.data_health, "problems", lambda *_: [problem])
        assert client.get("/health").get_json()["problems"] == [problem], "this machine, and no keys"
        secret = manager.keys.create("read")[0]
        stranger = client.get("/health").get_json()
        assert (stranger["status"], "a cell" in str(stranger)) == ("degraded", False)
        assert client.get("/health", headers={"X-API-Key": secret}).get_json()["problems"] == [problem]
