"""Rows of one body with the same sensor or device and time are counted and named, and none is lost silently."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.api.test_same_reading import post

AT = "2024-03-14T10:00:00Z"


@pytest.fixture
def sensor(client: FlaskClient) -> int:
    return client.post("/api/sensors/", json={"name": "Flow", "type": "Flow"}).get_json()["id"]


def test_equal_readings_are_stored_once_and_counted(client: FlaskClient, sensor: int) -> None:
    rows = [{"sensor_id": sensor, "timestamp": AT, "raw_value": 4}] * 3
    other = {"sensor_id": sensor, "timestamp": "2024-03-14T10:00:01Z", "raw_value": 4}
    answer = client.post("/api/readings/?detect=0", json=[*rows, other]).get_json()
    assert (answer["accepted"], answer["repeated"], answer["warnings"]) == (2, 2, [])
    assert len(client.get(f"/api/readings/?sensor_id={sensor}").get_json()["results"]) == 2


def test_different_readings_of_one_time_are_stored_and_named(client: FlaskClient, sensor: int) -> None:
    rows = [{"sensor_id": sensor, "timestamp": AT, "raw_value": value} for value in (4, 5, 4, 5, 6)]
    answer = client.post("/api/readings/?detect=0", json=rows).get_json()
    assert (answer["accepted"], answer["repeated"]) == (3, 2)
    (warning,) = answer["warnings"]
    assert f"sensor {sensor} at {AT} has 4, 5, 6; all are stored, and the last one is" in warning
    assert client.get(f"/api/sensors/{sensor}").get_json()["value"] == 6
    rows = [{"sensor_id": sensor, "timestamp": "2024-03-15", "raw_value": value} for value in (7, 8, 7)]
    answer = client.post("/api/readings/?detect=0", json=rows).get_json()
    assert "has 8, 7;" in answer["warnings"][0]
    assert client.get(f"/api/sensors/{sensor}").get_json()["value"] == 7


def test_readings_of_unknown_sensors_are_not_counted_as_repeated(client: FlaskClient, sensor: int) -> None:
    row = {"sensor_id": sensor + 1, "timestamp": AT, "raw_value": 4}
    answer = client.post(
        "/api/readings/?detect=0&skip_invalid=1", json=[row, row, {**row, "sensor_id": sensor}]
    ).get_json()
    assert (answer["accepted"], answer["repeated"], len(answer["rejected"])) == (1, 0, 2)


def test_sensors_that_a_body_makes_are_named(client: FlaskClient) -> None:
    text = f"tag,raw_value,timestamp\nTI-1,1,{AT}\nTI-2,2,{AT}\nTI-1,3,{AT}\n"
    answer = post(client, "/api/readings/?on_unknown=create&detect=0", text.encode())
    created = {row["tag"]: row["id"] for row in answer["created_sensors"]}
    assert set(created) == {"TI-1", "TI-2"}
    assert client.get(f"/api/sensors/{created['TI-2']}").get_json()["tag"] == "TI-2"
    assert f"TI-1 at {AT} has 1, 3" in answer["warnings"][0]
    assert post(client, "/api/readings/?on_unknown=create&detect=0", text.encode())["created_sensors"] == []


def test_rows_of_a_device_and_time_become_one_and_conflicts_are_named(client: FlaskClient) -> None:
    head = f"device_id,timestamp,temp,oil\nP7,{AT}"
    answer = post(client, "/api/telemetry", f"{head},1,\nP7,{AT},,2\nP7,{AT},3,2\n".encode())
    assert (answer["accepted"], answer["repeated"]) == (1, 2)
    (warning,) = answer["warnings"]
    assert (
        f"1 times; the later one was kept: temp of P7 at {AT} is 3, not 1. Local times repeat an hour"
        in warning
    )
    (row,) = client.get("/api/telemetry?device_id=P7").get_json()["results"]
    assert (row["temp"], row["oil"]) == (3, 2)
    answer = post(client, "/api/telemetry", f"{head},1,\nP8,{AT},1,\n".encode())
    assert (answer["accepted"], answer["repeated"], answer["warnings"]) == (2, 0, [])
