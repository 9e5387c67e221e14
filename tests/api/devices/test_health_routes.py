"""A fleet over HTTP: trained for its tenant only, asked by rows, by name, and for its health."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from errors import DiskFull
from storage.devices.prediction import PredictionSource
from storage.devices.predictions import PredictionStore
from storage.devices.telemetry import Telemetry, merge_channels
from tests.api.conftest import open_app, settings_in
from tests.prediction.rul.conftest import SMALL, fill_fleet


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    for app in open_app(settings_in(tmp_path_factory.mktemp("health"))):
        database = app.extensions["millwright"].storage.database
        fill_fleet(database)
        rows = Telemetry(database).page("default", limit=60)[0]
        told = [{**merge_channels(row), "device_id": "RUNS", "timestamp": None} for row in rows]
        for hour, row in enumerate(told):
            row["timestamp"] = f"2026-01-{5 + hour // 24:02d}T{hour % 24:02d}:00:00Z"
        app.extensions["sent_rows"] = told
        assert app.test_client().post("/api/telemetry", json=told).status_code == 201
        yield app


@pytest.fixture(scope="module")
def client(app):
    client = app.test_client()
    assert client.get("/api/devices/RUNS/health").status_code == 409
    answer = client.post("/train/rul/default?async=0", json={**SMALL, "tenant_id": "default"})
    assert (answer.status_code, answer.json["promoted"]) == (200, True), answer.json
    return client


def test_a_device_is_asked_by_its_name_or_by_its_rows(app, client):
    by_name = client.post("/predict/rul/default", json={"device_id": "RUNS"}).json["predictions"][0]
    rows = [
        {name: value for name, value in row.items() if name != "device_id"}
        for row in app.extensions["sent_rows"]
    ]
    by_rows = client.post("/predict/rul/default", json={"rows": rows}).json["predictions"][0]
    assert by_name["rul_hours"] == by_rows["rul_hours"]
    assert by_name["interval"]["lower"] <= by_name["rul_hours"] <= by_name["interval"]["upper"]
    assert by_name["as_of"].startswith("2026-01-07T11:00:00")
    many = client.post("/predict/rul/default", json={"devices": ["RUNS", "RUNS"]}).json["predictions"]
    assert [answer["rul_hours"] for answer in many] == [by_name["rul_hours"]] * 2


def test_a_training_with_too_few_failed_devices_is_refused_with_the_request(client):
    too_few = client.post("/train/rul/default", json={**SMALL, "device_ids": ["P-000", "RUNS"]})
    assert (too_few.status_code, too_few.json["code"]) == (422, "not_enough_data")
    assert too_few.json["error"].startswith("Not enough devices that have failed: 1, ")


def test_health_tells_status_and_the_alarm_that_costs_least(client):
    answer = client.get("/api/devices/RUNS/health?late_cost=20&early_cost=1")
    assert answer.headers["X-Model-Version"] == "1"
    told = answer.json
    bold = client.get("/api/devices/RUNS/health?late_cost=1&early_cost=20").json
    assert (
        told["alarm"]["in_hours"] <= told["rul_hours"] + 60
        and bold["alarm"]["in_hours"] >= told["alarm"]["in_hours"]
    )


def test_answers_about_a_device_are_kept_for_its_tenant_and_those_about_nobody_are_not(app, client):
    front = app.extensions["millwright"]
    client.get("/api/devices/RUNS/health")
    client.post("/predict/rul/default", json={"rows": app.extensions["sent_rows"][:40]})
    undated = [
        {name: value for name, value in row.items() if name not in ("device_id", "timestamp")}
        for row in app.extensions["sent_rows"]
    ]
    client.post("/predict/rul/default", json={"rows": undated})
    front.predictions.flush()
    found = PredictionStore(front.storage.database).read(PredictionSource("default", "rul", "default", 1))
    assert set(found.devices) == {"RUNS"}
    assert found.rows_used.tolist() == [60]
    stranger = PredictionSource("another", "rul", "default", 1)
    assert len(PredictionStore(front.storage.database).read(stranger)) == 0


def test_a_prediction_does_not_fail_with_its_keeping(app, client, monkeypatch):
    front = app.extensions["millwright"]

    def full(rows):
        raise DiskFull("No space left")

    with monkeypatch.context() as patched:
        patched.setattr(front.predictions._store, "add", full)
        assert client.get("/api/devices/RUNS/health?coverage=0.8").status_code == 200
        with pytest.raises(DiskFull):
            front.predictions.flush()
    front.predictions.flush()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/devices/NOBODY/health", 404),
        ("/api/devices/P-001/health", 422),
        ("/api/devices/RUNS/health?model=other", 409),
        ("/api/devices/RUNS/health?late_cost=1", 422),
        ("/api/devices/RUNS/health?coverage=2", 422),
    ],
)
def test_what_cannot_be_answered_is_said(client, path, status):
    answer = client.get(path)
    assert answer.status_code == status, answer.json
    assert answer.json["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"rows": []}, 422),
        ({"rows": [{"oil": 1.0}]}, 422),
        ({"device_id": 3}, 422),
        ({"device_id": "RUNS", "costs": {"late": 1}}, 422),
        ({}, 422),
        ("RUNS", 422),
    ],
)
def test_wrong_questions_are_refused(client, body, status):
    assert client.post("/predict/rul/default", json=body).status_code == status


def test_a_device_that_is_silent_is_not_called_normal(app, client):
    silent = client.get("/api/devices/RUNS/health").json
    assert silent["health_status"] == "unknown" and silent["silent_hours"] > 1_000
    assert any("RUNS has sent no telemetry for" in warning for warning in silent["warnings"])
    row, now = app.extensions["sent_rows"][-1], datetime.now(UTC)
    rows = [
        {**row, "device_id": "TALKS", "timestamp": (now - timedelta(hours=hours)).isoformat()}
        for hours in range(20, 0, -1)
    ]
    assert client.post("/api/telemetry", json=rows).status_code == 201
    talking = client.get("/api/devices/TALKS/health").json
    assert talking["health_status"] in {"critical", "warning", "normal"}
    assert talking["silent_hours"] == pytest.approx(1, abs=0.1) and not talking["warnings"]
    sent = client.post("/predict/rul/default", json={"rows": app.extensions["sent_rows"]}).json[
        "predictions"
    ][0]
    assert sent["health_status"] in {"critical", "warning", "normal"} and sent["silent_hours"] is None


def test_another_tenant_trains_on_nothing_and_sees_no_device(app, client):
    keys = app.extensions["millwright"].keys
    stranger = {"Authorization": f"Bearer {keys.create('admin', tenant='another')[0]}"}
    refused = client.post(
        "/train/rul/default?async=0", json={**SMALL, "tenant_id": "default"}, headers=stranger
    )
    assert refused.status_code == 422 and "tenant" in refused.json["error"]
    assert client.post("/train/rul/default?async=0", json=SMALL, headers=stranger).status_code == 422
    assert client.get("/api/devices/RUNS/health", headers=stranger).status_code == 409
    missing = client.post("/train/rul/default?async=0", json={**SMALL, "device_ids": ["NOBODY"]})
    assert missing.status_code in (401, 404)


def test_its_files_are_there_to_be_fetched(client, app):
    keys = app.extensions["millwright"].keys
    mine = {"Authorization": f"Bearer {keys.create('read')[0]}"}
    for file in (
        "rul_predictor.onnx",
        "model_metadata.json",
        "data_validation.json",
        "training_history.json",
    ):
        answer = client.get(f"/models/rul/default/champion/files/{file}", headers=mine)
        assert answer.status_code == 200, file


def test_without_a_default_model_the_others_are_named(app, monkeypatch):
    secret = app.extensions["millwright"].keys.create("admin", tenant="a-third")[0]
    client, stranger = app.test_client(), {"Authorization": f"Bearer {secret}"}
    monkeypatch.setattr("api.devices.health.list_model_names", lambda key: ["pumps"])
    told = client.get("/api/devices/RUNS/health", headers=stranger)
    assert (told.status_code, "such as ?model=pumps" in told.json["error"]) == (409, True)
    told = client.get("/api/devices/RUNS/health?model=fans", headers=stranger)
    assert (told.status_code, "There is no model rul/fans" in told.json["error"]) == (409, True)
