"""A POST sent twice under one Idempotency-Key is done once and answered twice."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from api.training import waiting
from errors import StorageFailed
from storage.db.tables import idempotency
from tests.api.conftest import IN_CHILD_PROCESSES, TOY
from tests.toy_family import records
from tests.waiting import eventually

KEY = {"Idempotency-Key": "order-1"}


def test_the_second_answer_is_the_first(client: FlaskClient) -> None:
    first = client.post(TOY, json=records(10), headers=KEY)
    second = client.post(TOY, json=records(10), headers=KEY)
    assert first.status_code == second.status_code == 200
    assert first.data == second.data
    assert first.mimetype == second.mimetype
    assert "Idempotent-Replay" not in first.headers
    assert second.headers["Idempotent-Replay"] == "true"
    assert second.get_json()["training_session_id"] == 1
    assert client.get("/train/sessions").get_json()["count"] == 1


def test_a_slash_at_the_end_makes_no_other_request(client: FlaskClient) -> None:
    first, second = (client.post(f"/train/backups{slash}", headers=KEY) for slash in ("", "/"))
    assert (second.status_code, second.json) == (first.status_code, first.json)
    assert second.headers["Idempotent-Replay"] == "true"


def test_a_backup_is_made_once(client: FlaskClient) -> None:
    names = {client.post("/train/backups", headers=KEY).get_json()["name"] for _ in range(3)}
    assert len(names) == 1
    assert client.get("/train/backups").get_json()["count"] == 1


def test_an_accepted_session_is_accepted_once(client: FlaskClient) -> None:
    answers = [client.post(f"{TOY}?async=1", json=records(10), headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (TOY, records(11)),
        (f"{TOY}?dry_run=1", records(10)),
        ("/train/toy/other", records(10)),
        ("/train/backups", None),
    ],
)
def test_a_key_belongs_to_one_request(client: FlaskClient, path: str, body: Any) -> None:
    client.post(TOY, json=records(10), headers=KEY)
    answer = client.post(path, headers=KEY, **({"json": body} if body else {}))
    assert (answer.status_code, answer.get_json()["code"]) == (422, "idempotency_key_reused")


def test_while_the_first_is_at_it_the_second_is_told_to_wait(
    client: FlaskClient, app: Flask, hold: Path
) -> None:
    slow = {"records": records(10), "options": {"hold": str(hold)}}
    answers = []
    first = threading.Thread(
        target=lambda: answers.append(app.test_client().post(TOY, json=slow, headers=KEY))
    )
    first.start()
    eventually(lambda: client.get("/train/sessions").get_json()["count"])
    answer = client.post(TOY, json=slow, headers=KEY)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "idempotency_key_in_use")
    assert "Retry-After" in answer.headers
    hold.unlink()
    first.join()
    assert client.post(TOY, json=slow, headers=KEY).data == answers[0].data


def test_a_refusal_for_its_content_is_kept(client: FlaskClient) -> None:
    answers = [client.post(TOY, json=[{"id": "a"}], headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[1].headers["Idempotent-Replay"] == "true"


@IN_CHILD_PROCESSES
def test_a_failure_may_be_tried_again(client: FlaskClient) -> None:
    crash = {"records": records(10), "options": {"crash": True}}
    first, second = (client.post(TOY, json=crash, headers=KEY) for _ in range(2))
    assert first.status_code == second.status_code == 503
    assert second.get_json()["training_session_id"] > first.get_json()["training_session_id"]


@pytest.mark.parametrize(
    ("method", "executor"), [("name_session", "in-process"), ("finish", "in-process"), ("forget", "local")]
)
def test_a_passing_failure_of_the_database_leaves_no_key_in_use(
    client: FlaskClient, app: Flask, method: str
) -> None:
    def refuse(*args: Any) -> None:
        raise StorageFailed("The database is away")

    options = {"crash": True} if method == "forget" else {}
    body = {"records": records(10), "options": options}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(type(app.extensions["millwright"].idempotency), method, refuse)
        first = client.post(TOY, json=body, headers=KEY)
    assert (first.status_code, first.get_json()["training_session_id"]) == (503 if options else 200, 1)
    second = client.post(TOY, json=body, headers=KEY)
    if options:
        assert second.get_json()["training_session_id"] == 2, "a failure may be tried again"
    else:
        assert second.headers["Idempotent-Replay"] == "true"
        assert second.get_json()["training_session_id"] == 1


class WorkerDied(BaseException):
    """What a test raises where a worker dies."""


def _ask_a_worker_that_dies(app: Flask, body: Any) -> None:
    """Send a request under the key to a worker that dies once the session it has named has ended."""
    client, store = app.test_client(), app.extensions["millwright"].idempotency

    def die(outcome: Any) -> None:
        eventually(lambda: client.get("/train/sessions/1").get_json()["ended_at"])
        raise WorkerDied

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(waiting, "wait_for_end", die)
        patched.setattr(type(store), "forget", lambda *_: None)
        with pytest.raises(WorkerDied):
            client.post(TOY, json=body, headers=KEY)
    with store._database.write() as connection:
        connection.execute(sa.update(idempotency).values(owner="0123456789abcdef"))


def test_the_end_of_a_dead_workers_session_is_the_answer(client: FlaskClient, app: Flask) -> None:
    """The worker dies after its session has been named; the session was committed all the same."""
    _ask_a_worker_that_dies(app, records(10))
    for _ in range(2):
        answer = client.post(TOY, json=records(10), headers=KEY)
        assert answer.status_code == 200
        assert answer.headers["Idempotent-Replay"] == "true"
        assert answer.get_json()["training_session_id"] == 1
        assert answer.get_json()["statistics"]["total_records_added"] == 10


@IN_CHILD_PROCESSES
def test_after_a_dead_workers_failure_the_request_may_be_tried_again(client: FlaskClient, app: Flask) -> None:
    crash = {"records": records(10), "options": {"crash": True}}
    _ask_a_worker_that_dies(app, crash)
    told, again = (client.post(TOY, json=crash, headers=KEY) for _ in range(2))
    assert told.status_code == again.status_code == 503
    assert (told.get_json()["training_session_id"], again.get_json()["training_session_id"]) == (1, 2)


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "\u00e9", "a\tb"])
def test_a_key_that_is_none_is_refused(trained: FlaskClient, key: str) -> None:
    answer = trained.post("/train/reload", headers={"Idempotency-Key": key})
    assert answer.status_code == 400


def test_a_prediction_needs_no_key(trained: FlaskClient) -> None:
    for x in (1, 2):
        assert trained.post("/predict/toy/default", json=[{"x": x}], headers=KEY).status_code == 200
