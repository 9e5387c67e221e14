"""What a rejected session's records do, as a client sees it: they wait, are named, accepted or removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from prediction.contract import BatchInfluence
from tests import toy_family
from tests.api.conftest import TOY, open_app, settings_in


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    yield from open_app(settings_in(tmp_path, executor="in-process"))


@pytest.fixture
def rejected(client: FlaskClient) -> FlaskClient:
    """Return a client whose second session was rejected: twenty records that contradict the first fifty."""
    assert client.post(TOY, json=toy_family.records(50)).json["promoted"] is True
    answer = client.post(TOY, json=toy_family.records(20, 100, value=9.0))
    assert (answer.status_code, answer.json["promoted"]) == (200, False)
    assert answer.json["records_in_quarantine"] == 20
    assert set(answer.json["statistics"]["models_retrained"].values()) == {False}
    return client


def test_the_batches_that_wait_are_listed_with_the_calls_that_end_it(rejected: FlaskClient) -> None:
    (batch,) = rejected.get("/train/quarantine").json["results"]
    assert (batch["model"], batch["training_session_id"], batch["records"]) == ("toy/default", 2, 20)
    assert batch["accept"] == "POST /train/sessions/2/accept"
    assert rejected.get("/train/sessions/2").json["records_in_quarantine"] == 20
    assert "millwright_quarantined_records" in rejected.get("/metrics").text
    health = rejected.get("/health").json
    assert health["status"] == "degraded" and "/train/sessions/2/accept" in health["problems"][0]


def test_a_person_accepts_them_and_the_model_that_learnt_them_serves(rejected: FlaskClient) -> None:
    answer = rejected.post("/train/sessions/2/accept", json={"accepted_by": "Karim"})
    assert (answer.status_code, answer.json["promoted"]) == (200, True)
    session = rejected.get(f"/train/sessions/{answer.json['training_session_id']}").json
    assert session["kind"] == "accept" and "A person accepted" in " ".join(session["reasons"])
    assert rejected.get("/train/quarantine").json["results"] == []
    assert rejected.get("/health").json["status"] == "ok"
    again = rejected.post("/train/sessions/2/accept")
    assert (again.status_code, again.json["code"]) == (409, "conflict")


def test_an_accept_may_go_on_by_itself(rejected: FlaskClient) -> None:
    assert rejected.post("/train/sessions/2/accept?async=1").status_code == 202


@pytest.mark.parametrize("body", [{"accepted_by": ""}, {"who": "Karim"}, []])
def test_a_body_at_fault_changes_nothing(rejected: FlaskClient, body: object) -> None:
    assert rejected.post("/train/sessions/2/accept", json=body).status_code == 422
    assert rejected.get("/train/quarantine").json["count"] == 1


def test_an_undo_ends_it_too(rejected: FlaskClient) -> None:
    assert rejected.post("/train/undo/2").status_code == 200
    assert rejected.get("/train/quarantine").json["results"] == []


def test_the_batches_that_made_a_model_worse_are_named(
    rejected: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [BatchInfluence(1, 50, 0.5, 9.0, "all is 3"), BatchInfluence(3, 9, -0.1, 0.0, "nothing")]
    monkeypatch.setattr(toy_family.ToyFamily, "measure_influence", lambda *given: batches)
    both = rejected.get("/train/sessions/2/influence").json["results"]
    assert [batch["training_session_id"] for batch in both] == [1, 3]
    (culprit,) = rejected.get("/models/toy/default/culprits").json["results"]
    assert (culprit["records"], culprit["undo"]) == (50, "POST /train/undo/1")
    assert rejected.get("/models/toy/nobody/culprits").status_code == 409
    assert rejected.get("/train/sessions/99/influence").status_code == 404
