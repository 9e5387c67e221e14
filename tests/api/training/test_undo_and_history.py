"""A plant's own history that cannot be read is told where people look, not in a log line alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.api.conftest import TOY
from tests.storage.conftest import write_plant
from tests.toy_family import records

SENTENCE = "disponibilite.csv, line 1: it is not UTF-8 text"
REPORT = {"description": "Fuite"}


@pytest.fixture
def unreadable(app: Flask, tmp_path: Path) -> Path:
    """Return a history whose first file was saved in Windows' own encoding."""
    write_plant(tmp_path / "data", rows=4)
    file = tmp_path / "data" / "disponibilite.csv"
    file.write_bytes(file.read_text().encode("cp1252"))
    return file


def test_health_says_that_the_history_cannot_be_read(client: FlaskClient, unreadable: Path) -> None:
    for path in ("/health", "/health/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.get_json()["status"]) == (200, "degraded")
        (problem,) = answer.get_json()["problems"]
        assert problem.startswith(f"scoring cannot be trained: {SENTENCE}")
        assert str(unreadable.parent) not in problem


def test_a_prediction_is_told_the_real_reason(client: FlaskClient, unreadable: Path) -> None:
    answer = client.post("/predict", json=REPORT)
    assert (answer.status_code, answer.get_json()["code"]) == (409, "no_champion")
    assert answer.get_json()["reasons"][0].startswith(SENTENCE)
    assert "enough data" not in answer.get_json()["error"]


def test_once_the_file_is_mended_nothing_is_wrong_any_more(client: FlaskClient, unreadable: Path) -> None:
    assert client.get("/health").get_json()["problems"]
    unreadable.write_bytes(unreadable.read_bytes().decode("cp1252").encode())
    assert client.get("/health").get_json() == {"status": "ok", "champions": [], "problems": []}


def test_a_file_that_may_not_be_opened_is_told_without_its_place(
    client: FlaskClient, unreadable: Path
) -> None:
    unreadable.unlink()
    unreadable.symlink_to("/etc/hostname")
    (problem,) = client.get("/health").get_json()["problems"]
    assert problem == "scoring cannot be trained: one of its data files cannot be opened; the log says why"


def test_looking_does_not_hide_a_change_by_hand_from_the_next_training(
    client: FlaskClient, app: Flask, tmp_path: Path
) -> None:
    write_plant(tmp_path / "data", rows=4)
    client.get("/health")
    assert not (tmp_path / "data" / "csv_state.json").exists()


def test_a_history_that_has_not_changed_is_read_once(
    client: FlaskClient, unreadable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/health")
    monkeypatch.setattr("storage.anomaly_reports.csv_store.read_table", None)
    assert client.get("/health").get_json()["status"] == "degraded"


def test_one_familys_history_keeps_no_other_from_its_first_training(
    app: Flask, unreadable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = app.extensions["millwright"]
    asked = []
    monkeypatch.setattr(
        "tests.toy_family.ToyRecordStore.has_enough", lambda self, key: bool(asked.append(key))
    )
    assert manager.train_first_models() == []
    assert [key.family for key in asked] == ["toy"]


def test_why_a_deleted_model_was_good_is_no_reason_for_its_absence(client: FlaskClient, app: Flask) -> None:
    trained = client.post(TOY, json=records(10)).get_json()
    assert trained["promoted"]
    versions = app.extensions["millwright"].storage.versions
    versions.pointer_file("default/toy/default").unlink()
    answer = client.post("/predict/toy/default", json=[{"x": 1}])
    if answer.status_code == 200:  # this worker still holds the champion
        app.extensions["millwright"].model_cache._models.clear()
        answer = client.post("/predict/toy/default", json=[{"x": 1}])
    assert answer.get_json()["code"] == "no_champion"
    (reason,) = answer.get_json()["reasons"]
    session = trained["training_session_id"]
    assert reason.startswith(f"Session {session} promoted a version, but it has gone since")
