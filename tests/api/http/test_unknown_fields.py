"""No door drops a field silently: an unknown one is refused, with the one that may be meant."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

SENSOR = {"name": "Outlet", "type": "Temperature", "min_value": 0, "max_value": 100}


@pytest.fixture
def sensor(client: FlaskClient) -> int:
    return int(client.post("/api/sensors/", json=SENSOR).get_json()["id"])


@pytest.mark.parametrize(("method", "path", "body", "meant"), [
    ("POST", "/api/calibrations/", {"corrected_value": 4.0, "timestamp": "2024-01-01T00:00:00Z"}, "applied_at"),
    ("POST", "/api/calibrations/", {"value": 4.0}, "corrected_value"),
    ("POST", "/api/anomalies/", {"type": "Spike", "value": 1.0, "severty": "High"}, "severity"),
    ("POST", "/api/enhanced-anomaly-detection/", {"reading_value": 1.0, "time": "2024-01-01T00:00:00Z"}, "timestamp"),
    ("POST", "/api/enhanced-anomaly-detection/", {"value": 1.0}, "reading_value"),
    ("POST", "/api/adaptive-calibration/", {"value": 1.0}, "raw_value"),
    ("POST", "/api/model-training/", {"modeltype": "drift"}, "model_type"),
])  # fmt: skip
def test_the_field_that_is_meant_is_named(
    client: FlaskClient, sensor: int, method: str, path: str, body: dict[str, object], meant: str
) -> None:
    answer = client.open(path, method=method, json={"sensor_id": sensor, **body})
    assert answer.status_code == 422, answer.json
    assert f"did you mean {meant}?" in " ".join(answer.get_json()["validation_errors"])
    assert (
        client.get("/api/calibrations/").get_json()["count"]
        == client.get("/api/anomalies/").get_json()["count"]
        == 0
    )


@pytest.mark.parametrize(("method", "path", "body"), [
    ("POST", "/api/sensors/", {**SENSOR, "nominalvalue": 3}),
    ("PUT", "/api/sensors/1", {**SENSOR, "nominalvalue": 3}),
    ("PATCH", "/api/sensors/1", {"nominalvalue": 3}),
    ("PATCH", "/api/sensors/1?nominal=3", {}),
    ("PATCH", "/api/readings/1", {"value": 3}),
    ("PATCH", "/api/failure-events/1", {"device": "P"}),
    ("POST", "/train/backups", {"reson": "audit"}),
    ("POST", "/api/auto-train/", {"dryrun": True}),
])  # fmt: skip
def test_nothing_is_changed_where_a_field_is_unknown(
    client: FlaskClient, sensor: int, method: str, path: str, body: dict[str, object]
) -> None:
    before = client.get("/api/sensors/").json
    answer = client.open(path, method=method, json=body)
    assert answer.status_code == 422, answer.json
    assert client.get("/api/sensors/").json == before


def test_an_unknown_field_of_one_of_many_is_named(client: FlaskClient, sensor: int) -> None:
    readings = [{"sensor_id": sensor, "reading_value": 1.0}, {"sensor_id": sensor, "reading_valu": 1.0}]
    answer = client.post("/api/enhanced-anomaly-detection/", json={"readings": readings})
    assert answer.status_code == 422
    assert "did you mean reading_value?" in str(answer.json)


@pytest.mark.parametrize("name", ["sensor_id", "sensor", "tag"])
def test_a_sensor_has_the_same_names_at_every_door(client: FlaskClient, sensor: int, name: str) -> None:
    posts: dict[str, dict[str, object]] = {
        "/api/readings/": {"raw_value": 1.0},
        "/api/calibrations/": {"corrected_value": 1.0},
        "/api/anomalies/": {"type": "Spike", "value": 1.0},
        "/api/enhanced-anomaly-detection/": {"reading_value": 1.0},
        "/api/adaptive-calibration/": {"raw_value": 1.0},
    }
    for path, body in posts.items():
        answer = client.post(path, json={name: sensor, **body})
        assert answer.status_code in (200, 201), (path, answer.json)
    for path in ("/api/readings/", "/api/anomalies/", "/api/drift-prediction/", "/api/model-training/"):
        assert client.get(path, query_string={name: sensor}).status_code == 200, path


def test_a_sensor_is_named_once(client: FlaskClient, sensor: int) -> None:
    body = {"sensor": sensor, "tag": sensor, "corrected_value": 1.0}
    assert client.post("/api/calibrations/", json=body).status_code == 422
