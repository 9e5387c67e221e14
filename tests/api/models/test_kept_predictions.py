"""Kept predictions are reproduced with the version of then, whatever has happened since."""

from __future__ import annotations

import math
import shutil
from datetime import UTC, datetime
from typing import NoReturn

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from errors import NotReady
from storage.db.kept_predictions import decode, encode_exactly
from tests.api.conftest import TOY
from tests.toy_family import records

PREDICT = "/predict/toy/default"


def test_old_answers_are_reproduced_after_trainings_and_a_restore(app: Flask, client: FlaskClient) -> None:
    client.post(TOY, json=records(20))
    backup = client.post("/train/backups").get_json()
    name = (
        backup["name"] if "name" in backup else client.get("/train/backups").get_json()["results"][-1]["name"]
    )
    ids = [client.post(PREDICT, json=[{"x": n}, {"x": n + 1}]).get_json()["prediction_id"] for n in range(10)]
    assert client.post(TOY, json=records(20, 100)).get_json()["promoted"] is True
    explained = client.get(f"/predictions/{ids[0]}").get_json()
    assert explained["reproduction"]["identical"] is True
    assert explained["champion"]["model_version"] == explained["model_version"] + 1
    assert explained["training"]["certificate"]["train"]
    assert (explained["reproduction"]["agrees"], explained["champion"]["agrees"]) == (True, False)
    assert explained["evidence"] is None, "this family has none"
    assert client.post(f"/train/restore/{name}").status_code == 200
    for prediction_id in ids:
        explained = client.get(f"/predictions/{prediction_id}").get_json()
        assert (explained["reproduction"]["identical"], explained["inputs"]) == (True, 2)


def test_the_list_has_pages_and_hashes_the_inputs(trained: FlaskClient) -> None:
    sent = [trained.post(PREDICT, json=[{"x": x}]).get_json()["prediction_id"] for x in (1, 1, 2)]
    first = trained.get("/predictions?limit=2").get_json()
    second = trained.get(f"/predictions?limit=1&cursor={first['next_cursor']}").get_json()
    shown = [*first["results"], *second["results"]]
    assert [item["prediction_id"] for item in shown] == sent[::-1]
    hashes = [item["inputs_sha256"] for item in shown]
    assert hashes[1] == hashes[2] != hashes[0]
    assert trained.get("/predictions/" + "0" * 32).status_code == 404


def test_the_champion_of_a_moment_is_asked(client: FlaskClient) -> None:
    before = datetime.now(UTC)
    client.post(TOY, json=records(20))
    first = datetime.now(UTC)
    client.post(TOY, json=records(20, 100))

    def ask(moment: datetime) -> TestResponse:
        return client.post(PREDICT, json=[{"x": 1}], query_string={"at": moment.isoformat()})

    assert [ask(first).get_json()["model_version"], ask(datetime.now(UTC)).get_json()["model_version"]] == [
        1,
        2,
    ]
    answer = ask(before)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "no_champion")


def test_a_deleted_version_is_told(app: Flask, client: FlaskClient) -> None:
    client.post(TOY, json=records(20))
    answer = client.post(PREDICT, json=[{"x": 1}]).get_json()
    client.post(TOY, json=records(20, 100))
    versions = app.extensions["millwright"].storage.versions
    shutil.rmtree(versions.folder("default/toy/default", answer["model_version"]))
    explained = client.get(f"/predictions/{answer['prediction_id']}").get_json()
    assert explained["reproduction"]["identical"] is None
    reason = explained["reproduction"]["reason"]
    assert reason.startswith("Version 1 of toy/default was deleted, so") and ". " not in reason
    assert explained["predictions"]


def test_without_the_database_predictions_answer_and_say_that_they_are_not_kept(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> NoReturn:
        raise NotReady("The database does not answer")

    client.post(TOY, json=records(20))
    archive = app.extensions["millwright"].archive
    with monkeypatch.context() as patched:
        patched.setattr(archive.store, "add", refuse)
        waiting = client.post(PREDICT, json=[{"x": 1}]).get_json()["prediction_id"]
        with pytest.raises(NotReady):
            archive.flush()
        answer = client.post(PREDICT, json=[{"x": 1}])
        assert (answer.status_code, answer.get_json()["prediction_id"]) == (200, None)
        assert "not kept: The database does not answer" in answer.get_json()["warnings"][0]
    archive.flush()
    assert client.get(f"/predictions/{waiting}").status_code == 200
    assert client.post(PREDICT, json=[{"x": 1}]).get_json()["prediction_id"]


def test_only_so_many_are_kept(app: Flask, client: FlaskClient) -> None:
    client.post(TOY, json=records(20))
    sent = [client.post(PREDICT, json=[{"x": x}]).get_json()["prediction_id"] for x in range(5)]
    archive = app.extensions["millwright"].archive
    archive.flush()
    row = archive.store.get("default", sent[-1])
    archive.store.delete_old(row.created_at.replace(year=2000), max_rows=2)
    shown = client.get("/predictions").get_json()["results"]
    assert [item["prediction_id"] for item in shown] == sent[:2:-1]


def test_arrays_times_and_nan_survive_storage() -> None:
    value = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "t": datetime(2024, 1, 1, tzinfo=UTC)}
    restored = decode(encode_exactly({**value, "n": [math.nan, 0.1]}))
    assert (restored["a"] == value["a"]).all()
    assert restored["a"].dtype == np.float32
    assert restored["t"] == value["t"]
    assert math.isnan(restored["n"][0])


@pytest.mark.parametrize("name", ["__array__", "__time__", "array", "time"])
def test_no_name_in_an_input_is_read_as_something_else(name: str) -> None:
    value = {"inputs": [{name: ["<f8", [1], "AAAAAAAA8D8="]}]}
    assert decode(encode_exactly(value)) == value
