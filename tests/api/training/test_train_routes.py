"""Training over HTTP: what the guide promises, and what each way of failing answers."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.training.event_stream import WAIT_SLOTS
from tests.api.conftest import IN_CHILD_PROCESSES, TOY
from tests.toy_family import records
from tests.waiting import eventually

GUIDE_FIELDS = {"success", "message", "statistics", "training_session_id", "is_training"}
GUIDE_STATISTICS = {
    "total_records_added",
    "records_per_model",
    "training_time_seconds",
    "models_retrained",
    "backup_location",
}


def test_a_training_answers_in_the_guides_words(client: FlaskClient) -> None:
    answer = client.post(TOY, json=records(10))
    body = answer.get_json()
    assert answer.status_code == 200
    assert body.keys() >= GUIDE_FIELDS
    assert body["statistics"].keys() == GUIDE_STATISTICS
    assert body["success"] is True
    assert body["is_training"] is False
    assert body["promoted"] is True
    assert body["version"] == 1
    assert body["statistics"]["total_records_added"] == 10
    assert body["statistics"]["records_per_model"] == {"mean": 10}
    assert body["statistics"]["models_retrained"] == {"mean": True}
    assert body["statistics"]["backup_location"].startswith("model_backups/backup_")


def test_nothing_new_is_no_session(client: FlaskClient) -> None:
    client.post(TOY, json=records(10))
    body = client.post(TOY, json=records(10)).get_json()
    assert body["success"] is True
    assert body["message"].startswith("Nothing new")
    assert body["training_session_id"] is None
    assert body["records_skipped"] == 10
    assert body["statistics"]["total_records_added"] == 0
    assert body["statistics"]["backup_location"] is None
    assert len(client.get("/train/sessions").get_json()["results"]) == 1


def test_a_rejected_candidate_is_a_success_that_was_not_promoted(client: FlaskClient) -> None:
    client.post(TOY, json=records(20))
    worse = {"records": records(3, 100), "options": {"bias": 3.0}}
    answer = client.post(TOY, json=worse)
    assert answer.status_code == 200
    assert answer.get_json()["success"] is True
    assert answer.get_json()["promoted"] is False
    assert answer.get_json()["reasons"]
    assert answer.get_json()["statistics"]["models_retrained"] == {"mean": False}
    assert "not promoted" in answer.get_json()["message"]


def test_faults_are_told_all_at_once(client: FlaskClient) -> None:
    answer = client.post(TOY, json=[{"id": "a"}, {"id": "b", "value": 1}, {"id": "c"}])
    assert answer.status_code == 422
    assert answer.get_json()["error"] == "Data validation failed"
    assert answer.get_json()["validation_errors"] == ["Record 1: no value", "Record 3: no value"]
    assert [fault["record"] for fault in answer.get_json()["errors"]] == [1, 3]


FAILURES = {
    "fit raises": ("in-process", {"fail": True}, 500, "training_failed"),
    "the child dies": ("local", {"crash": True}, 503, "interrupted"),
    "the split leaks": ("in-process", {"leak": True}, 500, "leaky_split"),
    "the saved model answers otherwise": ("in-process", {"off": 1.0}, 500, "parity_failed"),
}


@pytest.mark.parametrize(("executor", "options", "status", "code"), FAILURES.values(), ids=FAILURES)
def test_a_failed_session_is_no_success(client: FlaskClient, options: Any, status: int, code: str) -> None:
    answer = client.post(TOY, json={"records": records(10), "options": options})
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert answer.get_json()["success"] is False
    session = client.get(f"/train/sessions/{answer.get_json()['training_session_id']}").get_json()
    assert session["state"] == answer.get_json()["state"] in ("failed", "interrupted")
    assert session["error"]["code"] == code


def test_a_second_training_is_told_to_come_back(app: Flask, client: FlaskClient) -> None:
    slow = {"records": records(10), "options": {"sleep_s": 3600}}
    started = client.post(f"{TOY}?async=1", json=slow)
    assert started.status_code == 202
    answer = client.post(TOY, json=records(3, 50))
    assert answer.status_code == 409
    assert answer.get_json()["error"] == "Training already in progress. Please wait and try again."
    assert answer.get_json()["is_training"] is True
    assert int(answer.headers["Retry-After"]) >= 1
    client.post(f"{started.get_json()['location']}/cancel")


@pytest.mark.parametrize(
    "how", [{"query_string": "async=1"}, {"headers": {"Prefer": "respond-async, wait=1"}}]
)
def test_an_impatient_client_follows_the_location(client: FlaskClient, how: dict[str, Any]) -> None:
    answer = client.post(TOY, json=records(10), **how)
    assert answer.status_code == 202
    location = answer.headers["Location"]
    assert location == f"/train/sessions/{answer.get_json()['training_session_id']}"
    assert _wait_for_end(client, location)["state"] == "completed"


def test_a_trial_changes_nothing(client: FlaskClient) -> None:
    answer = client.post(f"{TOY}?dry_run=1", json=records(10))
    assert answer.status_code == 200
    assert answer.get_json()["dry_run"] is True
    assert answer.get_json()["records_new"] == 10
    assert client.get("/train/sessions").get_json()["count"] == 0


def test_a_cancelled_session_says_so(client: FlaskClient) -> None:
    slow = {"records": records(10), "options": {"sleep_s": 3600}}
    location = client.post(f"{TOY}?async=1", json=slow).get_json()["location"]
    answer = client.post(f"{location}/cancel")
    assert answer.status_code == 200
    assert answer.get_json()["state"] == "cancelled"
    again = client.post(f"{location}/cancel")
    assert again.status_code == 409


def test_whoever_waits_for_a_cancelled_session_gets_409(client: FlaskClient, app: Flask) -> None:
    answers = []
    slow = {"records": records(10), "options": {"sleep_s": 3600}}
    waiting = threading.Thread(target=lambda: answers.append(app.test_client().post(TOY, json=slow)))
    waiting.start()
    session = _running(client)
    client.post(f"/train/sessions/{session}/cancel")
    waiting.join()
    assert (answers[0].status_code, answers[0].get_json()["code"]) == (409, "cancelled")
    assert "Retry-After" not in answers[0].headers


@IN_CHILD_PROCESSES
def test_a_failed_session_is_tried_again(client: FlaskClient) -> None:
    failed = client.post(TOY, json={"records": records(10), "options": {"crash": True}})
    answer = client.post(f"/train/sessions/{failed.get_json()['training_session_id']}/retry")
    assert answer.status_code == 503  # with the same options, so it dies again, as a session of its own
    assert answer.get_json()["training_session_id"] > failed.get_json()["training_session_id"]


def test_one_sessions_records_are_taken_out(client: FlaskClient) -> None:
    client.post(TOY, json=records(10))
    second = client.post(TOY, json=records(5, 100)).get_json()["training_session_id"]
    answer = client.post(f"/train/undo/{second}")
    assert answer.status_code == 200
    assert answer.get_json()["training_session_id"] > second
    assert client.post(f"{TOY}?dry_run=1", json=records(5, 100)).get_json()["records_new"] == 5


REFUSED = [
    ("POST", "/train/undo/999", 404),
    ("POST", "/train/sessions/999/retry", 404),
    ("POST", "/train/sessions/999/cancel", 404),
    ("GET", "/train/sessions/999", 404),
    ("GET", "/train/sessions/999/events", 404),
    ("GET", "/train/sessions/0", 404),
    ("GET", "/train/sessions/99999999999999", 404),
    ("GET", "/train/sessions/9999999999999999999999", 404),
    ("GET", "/train/sessions/-1", 404),
    ("POST", "/train/nothing/default", 404),
    ("POST", "/train/toy/..", 404),
    ("GET", "/train/sessions?limit=0", 422),
    ("GET", "/train/sessions?limit=1001", 422),
    ("GET", "/train/sessions?limit=many", 422),
    ("GET", "/train/sessions?cursor=-1", 422),
    ("GET", "/train/sessions?limt=5", 422),
    ("POST", f"{TOY}?dry_run=maybe", 422),
    ("POST", f"{TOY}?async=yes", 422),
    ("GET", "/train", 405),
    ("DELETE", "/train", 405),
    ("GET", "/train/reload", 405),
]


@pytest.mark.parametrize(("method", "path", "status"), REFUSED)
def test_what_cannot_be_done_is_refused_in_the_one_shape(
    trained: FlaskClient, method: str, path: str, status: int
) -> None:
    answer = trained.open(path, method=method)
    assert answer.status_code == status, answer.data
    assert answer.get_json().keys() >= {"success", "error", "code"}


BODIES = [
    (b"", 400, "malformed"),
    (b"{", 400, "malformed"),
    (b"[NaN]", 400, "malformed"),
    (b'["\\u0000"]', 422, "invalid"),
    (b'{"records": [], "option": {}}', 422, "invalid"),
    (b'{"records": [{"id": "a", "value": 1}], "options": {"unknown": 1}}', 422, "invalid"),
    (b'{"records": [{"id": "a", "value": 1}], "options": false}', 422, "invalid"),
    (b'"records"', 422, "invalid"),
    (b"null", 422, "invalid"),
]


@pytest.mark.parametrize(("body", "status", "code"), BODIES)
def test_bodies_that_cannot_be_used(trained: FlaskClient, body: bytes, status: int, code: str) -> None:
    answer = trained.post(TOY, data=body, content_type="application/json")
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)


def test_a_body_over_the_limit_is_refused(trained: FlaskClient) -> None:
    answer = trained.post(TOY, data=b" " * 33_000_000, content_type="application/json")
    assert (answer.status_code, answer.get_json()["code"]) == (413, "too_large")


def test_sessions_come_in_pages(client: FlaskClient) -> None:
    for start in range(5):
        client.post(TOY, json=records(6, start * 10))
    first = client.get("/train/sessions?limit=2").get_json()
    second = client.get(f"/train/sessions?limit=2&cursor={first['next_cursor']}").get_json()
    third = client.get(f"/train/sessions?limit=2&cursor={second['next_cursor']}").get_json()
    ids = [s["training_session_id"] for page in (first, second, third) for s in page["results"]]
    assert ids == [5, 4, 3, 2, 1]
    assert third["next_cursor"] is None


def test_statistics_tell_the_course_of_training(client: FlaskClient) -> None:
    client.post(TOY, json=records(10))
    client.post(TOY, json=records(2, 50))
    figures = client.get("/train/statistics").get_json()
    assert figures["records_added_total"] == 12
    assert figures["sessions_per_month"][0]["sessions"] == 2
    assert [point["records_added"] for point in figures["quality"]] == [10, 2]
    assert all(isinstance(point["headline"], float) for point in figures["quality"])
    assert figures["backups"]["count"] == 2


def test_reload_says_what_was_loaded_and_where(client: FlaskClient) -> None:
    client.post(TOY, json=records(10))
    client.post(TOY.replace("default", "unused"), json=records(10))
    client.post("/predict/toy/default", json=[{"x": 1}])
    assert client.post("/train/reload").get_json() == {
        "success": True,
        "message": "Models reloaded successfully",
        "models_loaded": True,
        "models": ["toy/default"],
        "workers": [os.getpid()],
    }


def test_a_reload_that_fails_is_a_5xx_and_the_old_champion_answers_on(
    client: FlaskClient, app: Flask
) -> None:
    client.post(TOY, json=records(10))
    before = client.post("/predict/toy/default", json=[{"x": 1}]).get_json()
    store = app.extensions["millwright"].storage.versions
    store.file("default/toy/default", 1, "model.json").write_text("{}")
    answer = client.post("/train/reload")
    assert answer.status_code == 500
    assert answer.get_json()["message"] == "Failed to reload models"
    assert answer.get_json()["models_loaded"] is False
    after = client.post("/predict/toy/default", json=[{"x": 1}]).get_json()
    assert "is damaged" in after["warnings"][0]
    ignored: dict[str, object] = {"prediction_id": None, "warnings": []}
    assert {**after, **ignored} == {**before, **ignored}


def _wait_for_end(client: FlaskClient, location: str) -> dict[str, Any]:
    eventually(lambda: client.get(location).get_json()["ended_at"])
    session: dict[str, Any] = client.get(location).get_json()
    return session


def _running(client: FlaskClient) -> int:
    def newest() -> Any:
        return next(iter(client.get("/train/sessions").get_json()["results"]), None)

    eventually(lambda: newest() and newest()["state"] == "running")
    return int(newest()["training_session_id"])


def test_a_table_as_the_plant_exports_it_trains(client: FlaskClient) -> None:
    text = (
        "anomaly_id;DESCRIPTION;Description de l'équipement;Num_equipement;Disponibilité;Fiabilité Intégrité;"
        "Process Safety\r\nA-1;Fuite, légère;Pompe;P-1;3;2,5;1\r\n"
    )
    body, kind = ("\ufeff" + text).encode(), {"Content-Type": "text/csv"}
    answer = client.post("/train?dry_run=1", data=body, headers=kind)
    assert (answer.status_code, answer.get_json()["records_new"], answer.get_json()["ignored_fields"]) == (
        200,
        1,
        [],
    )
    wrong = client.post("/train?dry_run=1", data=body.replace(b"2,5", b"deux"), headers=kind)
    assert wrong.get_json()["validation_errors"] == ['Record 1: fiability_score must be a number, got "deux"']


def test_a_family_without_records_takes_no_table(client: FlaskClient) -> None:
    answer = client.post("/train/forecasting/oil", data=b"a\n1\n", headers={"Content-Type": "text/csv"})
    assert answer.status_code == 415


def test_a_client_that_leaves_frees_its_thread_and_the_session_goes_on(client, app):
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        response = client.post(TOY, json=records(10), environ_overrides={"gunicorn.socket": ours})
    assert response.status_code == 202
    assert client.get(response.headers["Location"]).status_code == 200


def test_where_too_many_wait_a_training_is_answered_202_and_goes_on(client, app):
    slots = app.extensions[WAIT_SLOTS]
    taken = 0
    while slots.acquire():
        taken += 1
    try:
        response = client.post(TOY, json=records(10))
    finally:
        for _ in range(taken):
            slots.release()
    assert response.status_code == 202
