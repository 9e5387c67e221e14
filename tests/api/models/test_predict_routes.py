"""Predictions over HTTP: one shape, one version an answer, JSON or CSV."""

from __future__ import annotations

from typing import NoReturn

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from api.http.request_body import BINARY_TABLE_TYPES
from errors import NotReady
from storage.db import api_keys
from storage.db.database import Database
from storage.db.tables import api_keys as table
from tests.api.conftest import TOY
from tests.toy_family import records

PREDICT = "/predict/toy/default"


def test_an_answer_names_its_version_twice(trained: FlaskClient) -> None:
    answer = trained.post(PREDICT, json=[{"x": 1, "anomaly_id": "A-1"}, {"x": 2}])
    assert answer.status_code == 200
    assert answer.get_json()["success"] is True
    assert answer.get_json()["model"] == "toy/default"
    assert answer.get_json()["model_version"] == int(answer.headers["X-Model-Version"])
    assert [p["anomaly_id"] for p in answer.get_json()["predictions"]] == ["A-1", None]
    low, high = (p["value"] for p in answer.get_json()["predictions"])
    assert high - low == pytest.approx(1)


def test_a_model_that_does_not_exist_is_told_with_those_that_may_be_meant(
    trained: FlaskClient, client: FlaskClient
) -> None:
    for name, said in (("defalt", "did you mean default?"), ("pumps", "; of toy there is default")):
        answer = trained.post(f"/predict/toy/{name}", json=[{"x": 1}])
        assert (answer.status_code, answer.get_json()["code"]) == (409, "no_champion")
        assert answer.get_json()["error"].startswith(f"There is no model toy/{name}")
        assert answer.get_json()["error"].endswith(said)
    assert "none of toy yet" in client.post(PREDICT, json=[{"x": 1}]).get_json()["error"]
    refused = trained.post("/predict/toy/pompe%20é", json=[{"x": 1}])
    assert (refused.status_code, "digits, '_', '-'" in refused.get_json()["error"]) == (404, True)


def test_without_a_champion_the_reasons_are_told(client: FlaskClient) -> None:
    answer = client.post(PREDICT, json=[{"x": 1}])
    assert (answer.status_code, answer.get_json()["code"]) == (409, "no_champion")
    assert "Retry-After" not in answer.headers
    client.post(TOY, json={"records": records(10), "options": {"leak": True}})
    answer = client.post(PREDICT, json=[{"x": 1}])
    assert answer.status_code == 409
    assert answer.get_json()["reasons"]


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 200), ("?similar_reports=0", 200), ("?similar_reports=-1", 422), ("?similar_reports=51", 422),
     ("?similar_reports=x", 422),
     ("?coverage=0.8", 200), ("?coverage=0.1", 422), ("?coverage=1", 422), ("?coverage=nan", 422),
     ("?coverage=inf", 422), ("?covrage=0.9", 422)],
)  # fmt: skip
def test_options_are_checked(trained: FlaskClient, query: str, status: int) -> None:
    assert trained.post(f"{PREDICT}{query}", json=[{"x": 1}]).status_code == status


BODIES = [
    (b"", "application/json", 400),
    (b"[NaN]", "application/json", 400),
    (b"a;b\n1;2;3\n", "text/csv", 400),
    (b"\xff", "text/csv; charset=utf-8", 400),
    (b"", "text/csv", 400),
    (b"{}", "text/plain", 415),
    (b"a=1", "application/x-www-form-urlencoded", 415),
]


@pytest.mark.parametrize(("body", "content_type", "status"), BODIES)
def test_bodies_that_cannot_be_read(
    trained: FlaskClient, body: bytes, content_type: str, status: int
) -> None:
    assert trained.post(PREDICT, data=body, content_type=content_type).status_code == status


def test_every_content_type_that_is_read_is_named(trained: FlaskClient) -> None:
    refused = trained.post(PREDICT, data=b"RIFF", content_type="audio/wav")
    named = refused.get_json()["error"].removeprefix("Send the body as ").split(" or ")
    assert (refused.status_code, named) == (415, ["application/json", "text/csv", *BINARY_TABLE_TYPES])


def test_a_plain_text_is_no_training_data(trained: FlaskClient) -> None:
    assert trained.post(TOY, data=b"id,value\n1,2\n", content_type="text/plain").status_code == 415


def test_a_promotion_is_seen_by_the_next_request_or_the_one_after(client: FlaskClient, app: Flask) -> None:
    client.post(TOY, json=records(10))
    first = client.post(PREDICT, json=[{"x": 0}]).get_json()["model_version"]
    client.post(TOY, json=records(10, 100))
    client.post("/train/reload")
    assert (first, client.post(PREDICT, json=[{"x": 0}]).get_json()["model_version"]) == (1, 2)


def test_a_prediction_reads_no_table_that_its_model_does_not_need(trained_app: Flask) -> None:
    client, statements = trained_app.test_client(), []
    client.post(PREDICT, json=[{"x": 1}])  # loads the model

    @sa.event.listens_for(
        trained_app.extensions["millwright"].sensors.database.engine, "before_cursor_execute"
    )
    def add(connection: object, cursor: object, statement: str, *rest: object) -> None:
        statements.append(statement)

    assert client.post(PREDICT, json=[{"x": 1}]).status_code == 200
    assert statements == []


def test_a_champion_in_memory_answers_without_the_database(
    trained_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = trained_app.extensions["millwright"]
    secret, key = manager.keys.create("read")
    client, headers = trained_app.test_client(), {"X-API-Key": secret}
    assert client.post(PREDICT, json=[{"x": 1}], headers=headers).status_code == 200

    def refuse(self: Database) -> NoReturn:
        raise NotReady("The database is not available")

    try:
        with monkeypatch.context() as patched:
            patched.setattr(Database, "read", refuse)
            patched.setattr(Database, "write", refuse)
            patched.setattr(api_keys, "_MAX_CACHE_AGE_S", 0.0)
            assert client.post(PREDICT, json=[{"x": 1}], headers=headers).status_code == 200
            assert client.post(PREDICT, json=[{"x": 1}], headers={"X-API-Key": "mw_no"}).status_code == 401
            patched.setattr(api_keys, "_GRACE_PERIOD_S", 0.0)
            assert client.post(PREDICT, json=[{"x": 1}], headers=headers).status_code == 503
    finally:
        with manager.sensors.database.write() as connection:
            connection.execute(sa.delete(table).where(table.c.id == key.id))
        manager.keys._invalidate()
