"""Severe cases as a client sees them: listed, chosen, cleared, and what a promotion answers that they forbid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from prediction import registry
from tests import toy_family
from tests.api.conftest import TOY, open_app, settings_in

CASES = "/models/toy/default/severe-cases"


@pytest.fixture(scope="module")
def guarded_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """Return an application whose second session was refused for severe cases; its tests leave it as it was."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(registry.FAMILIES, "toy", toy_family.GUARDED_ENTRY)
        home: Path = tmp_path_factory.mktemp("guarded")
        for app in open_app(settings_in(home)):
            client = app.test_client()
            assert client.post(TOY, json=toy_family.records(50)).get_json()["promoted"] is True
            refused = client.post(TOY, json=toy_family.records(20, 100, value=2.8)).get_json()
            assert "POST /models/toy/default/versions/2/promote" in refused["reasons"][0]
            yield app


@pytest.fixture
def client(guarded_app: Flask) -> FlaskClient:
    return guarded_app.test_client()


def test_the_locked_cases_are_listed_with_the_levels_of_the_serving_version(client: FlaskClient) -> None:
    answer = client.get(CASES).get_json()
    assert (answer["chosen"], answer["compared"], len(answer["cases"])) == (False, True, 7)
    assert answer["cases"][0] == {
        "case": "r48",
        "description": "Record r48",
        "expert_scores": {"mean": 3.3},
        "locked_at": {"mean": 5.0},
    }


def test_cases_are_chosen_and_cleared(client: FlaskClient) -> None:
    chosen = client.put(CASES, json={"cases": ["r6"], "chosen_by": "Karim"})
    assert chosen.status_code == 200
    answer = client.get(CASES).get_json()
    assert (answer["chosen_by"], [case["case"] for case in answer["cases"]]) == ("Karim", ["r6"])
    assert client.delete(CASES).get_json()["chosen"] is False


@pytest.mark.parametrize(
    "body",
    [
        {"cases": ["r1"], "chosen_by": "Karim"},
        {"cases": [], "chosen_by": "Karim"},
        {"cases": ["r6"]},
        {"cases": ["r6"], "chosen_by": ""},
        {"cases": "r6", "chosen_by": "Karim"},
        [],
    ],
)
def test_a_choice_at_fault_changes_nothing(client: FlaskClient, body: object) -> None:
    assert client.put(CASES, json=body).status_code == 422
    assert client.get(CASES).get_json()["chosen"] is False


def test_a_promotion_needs_a_name(client: FlaskClient) -> None:
    promote = "/models/toy/default/versions/{}/promote"
    refusal = client.post(promote.format(2))
    assert (refusal.status_code, refusal.get_json()["code"]) == (409, "conflict")
    assert refusal.get_json()["safer_answers"][0] == {"case": "r48", "score": "mean", "before": 5, "after": 4}
    assert client.post(promote.format(2), json={"accepted_by": ""}).status_code == 422
    accepted = client.post(promote.format(2), json={"accepted_by": "Karim"}).get_json()
    assert (accepted["version"], len(accepted["safer_answers"])) == (2, 7)
    assert client.get("/models/toy/default/versions/2").get_json()["manifest"]["accepted_by"] == "Karim"
    assert client.post(promote.format(1)).get_json()["safer_answers"] == []


def test_a_family_without_severe_cases_has_none(client: FlaskClient) -> None:
    answer = client.get("/models/rul/default/severe-cases")
    assert (answer.status_code, answer.get_json()["error"]) == (404, "The family rul has no severe cases")


def test_a_model_without_a_champion_has_nothing_to_compare_with(client: FlaskClient) -> None:
    answer = client.get("/models/toy/other/severe-cases").get_json()
    assert (answer["compared"], answer["cases"]) == (False, [])
