"""What a rejected session's records do, as a client sees it: they wait, are named, accepted or removed."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from prediction.contract import BatchInfluence
from tests import toy_family
from tests.api.conftest import TOY


@pytest.fixture
def rejected(client: FlaskClient) -> FlaskClient:
    """Return a client whose second session was rejected: twenty records that contradict the first fifty."""
    assert client.post(TOY, json=toy_family.records(50)).get_json()["promoted"] is True
    answer = client.post(TOY, json=toy_family.records(20, 100, value=9.0))
    assert (answer.status_code, answer.get_json()["promoted"]) == (200, False)
    assert answer.get_json()["records_in_quarantine"] == 20
    assert set(answer.get_json()["statistics"]["models_retrained"].values()) == {False}
    return client


def test_a_frozen_champion_of_any_name_is_told_by_health_metrics_and_its_answers(client: FlaskClient) -> None:
    client.post("/train/toy/pump", json=toy_family.records(50))
    assert client.get("/health").json["status"] == "ok"
    client.post("/train/toy/pump", json=toy_family.records(20, 100, value=9.0))
    health = client.get("/health").json
    (problem,) = health["problems"]
    assert health["status"] == "degraded"
    assert "The trainings of toy/pump are rejected since" in problem and "(session 2)" in problem
    warning, waiting = client.post("/predict/toy/pump", json=[{"x": 1}]).json["warnings"]
    assert "20 records wait in quarantine" in waiting
    assert "The trainings of toy/pump are rejected since" in warning
    metrics = client.get("/metrics").text
    assert 'millwright_champions_frozen{family="toy",tenant="default"} 1.0' in metrics
    assert 'millwright_champion_frozen_seconds{model="toy/pump",tenant="default"}' in metrics

    assert client.post("/train/undo/2").json["promoted"] is True
    assert client.get("/health").json["status"] == "ok"
    assert client.post("/predict/toy/pump", json=[{"x": 1}]).json["warnings"] == []
    assert 'frozen{family="toy",tenant="default"} 0.0' in client.get("/metrics").text


def test_the_batches_that_wait_are_listed_with_the_calls_that_end_it(rejected: FlaskClient) -> None:
    (batch,) = rejected.get("/train/quarantine").get_json()["results"]
    assert (batch["model"], batch["training_session_id"], batch["records"]) == ("toy/default", 2, 20)
    assert batch["accept"] == "POST /train/sessions/2/accept"
    assert rejected.get("/train/sessions/2").get_json()["records_in_quarantine"] == 20
    assert "millwright_quarantined_records" in rejected.get("/metrics").text
    health = rejected.get("/health").get_json()
    assert health["status"] == "degraded" and "/train/sessions/2/accept" in health["problems"][0]


def test_answers_status_health_and_report_say_how_many_wait_and_since_when(rejected: FlaskClient) -> None:
    """Also after a clean batch has won, and the champion is no longer frozen."""
    training = rejected.post(TOY, json=toy_family.records(5, 200)).get_json()
    assert training["promoted"] is True
    (waiting,) = training["quarantine"]
    since = waiting["since"]
    assert waiting == {"model": "toy/default", "training_session_id": 2, "records": 20, "since": since}
    assert rejected.get("/train/status").get_json()["quarantine"] == [waiting]
    health = rejected.get("/health").get_json()
    assert health["quarantine"] == [{"model": "toy/default", "records": 20, "since": since}]
    assert health["status"] == "ok"
    (warning,) = rejected.post("/predict/toy/default", json=[{"x": 1}]).get_json()["warnings"]
    assert f"20 records wait in quarantine since {since} UTC (session 2)" in warning
    ended_at = rejected.get("/train/sessions/2").get_json()["ended_at"].replace("T", " ")[:16]
    own, later = (rejected.get(f"/train/sessions/{number}/report.html").text for number in (2, 3))
    assert f"20 records of this session wait in quarantine since {ended_at}" in own
    assert f"20 records of earlier sessions (2) wait in quarantine since {since[:10]}" in later
    rejected.post("/train/undo/2")
    assert "quarantine" not in rejected.get("/health").get_json()
    assert rejected.post("/predict/toy/default", json=[{"x": 1}]).get_json()["warnings"] == []


def test_a_person_accepts_them_and_the_model_that_learnt_them_serves(rejected: FlaskClient) -> None:
    answer = rejected.post("/train/sessions/2/accept", json={"accepted_by": "Karim"})
    assert (answer.status_code, answer.get_json()["promoted"]) == (200, True)
    session = rejected.get(f"/train/sessions/{answer.get_json()['training_session_id']}").get_json()
    assert session["kind"] == "accept" and "A person accepted" in " ".join(session["reasons"])
    assert rejected.get("/train/quarantine").get_json()["results"] == []
    assert rejected.get("/health").get_json()["status"] == "ok"
    again = rejected.post("/train/sessions/2/accept")
    assert (again.status_code, again.get_json()["code"]) == (409, "conflict")


def test_an_accept_may_go_on_by_itself(rejected: FlaskClient) -> None:
    assert rejected.post("/train/sessions/2/accept?async=1").status_code == 202


@pytest.mark.parametrize("body", [{"accepted_by": ""}, {"who": "Karim"}, []])
def test_a_body_at_fault_changes_nothing(rejected: FlaskClient, body: object) -> None:
    assert rejected.post("/train/sessions/2/accept", json=body).status_code == 422
    assert rejected.get("/train/quarantine").get_json()["count"] == 1


def test_an_undo_ends_it_too(rejected: FlaskClient) -> None:
    assert rejected.post("/train/undo/2").status_code == 200
    assert rejected.get("/train/quarantine").get_json()["results"] == []


def test_the_batches_that_made_a_model_worse_are_named(
    rejected: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [BatchInfluence(1, 50, 0.5, 9.0, "all is 3"), BatchInfluence(3, 9, -0.1, 0.0, "nothing")]
    monkeypatch.setattr(toy_family.ToyReviewer, "measure_influence", lambda *given: batches)
    both = rejected.get("/train/sessions/2/influence").get_json()["results"]
    assert [batch["training_session_id"] for batch in both] == [1, 3]
    (culprit,) = rejected.get("/models/toy/default/culprits").get_json()["results"]
    assert (culprit["records"], culprit["undo"]) == (50, "POST /train/undo/1")
    assert rejected.get("/models/toy/nobody/culprits").status_code == 409
    assert rejected.get("/train/sessions/99/influence").status_code == 404
