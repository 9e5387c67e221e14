"""Alarm routes over HTTP: registered, tested, never showing a secret; alarms listed and acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests import toy_family
from tests.api.conftest import TOY, open_app, settings_in
from tests.notifications.receiver import Receiver, receive

ROUTES = "/api/alarm-routes"
SECRET = "a secret of sixteen characters"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receive() as started:
        yield started


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    yield from open_app(settings_in(tmp_path, alarm_private_networks=("127.0.0.1",)))


def _body(url: str, /, **changes: object) -> dict[str, object]:
    return {"name": "on call", "kind": "webhook", "url": url, "secret": SECRET} | changes


def test_a_route_is_created_changed_tested_and_deleted(client: FlaskClient, receiver: Receiver) -> None:
    created = client.post(ROUTES, json=_body(receiver.url, min_severity="High"))
    assert created.status_code == 201
    route = created.get_json()
    assert (route["address"], route["has_secret"]) == (f"http://127.0.0.1:{receiver.port}/…", True)
    path = f"{ROUTES}/{route['id']}"
    changed = client.patch(path, json={"name": "line 1", "quiet_hours": {"start": "22:00", "end": "06:00"}})
    assert changed.get_json()["quiet_hours"] == {"start": "22:00", "end": "06:00", "timezone": "UTC"}
    replaced = client.put(path, json={"name": "line 2", "kind": "webhook"})
    assert (replaced.get_json()["name"], replaced.get_json()["min_severity"]) == ("line 2", "Low")
    assert client.post(f"{path}/test").get_json() == {"success": True, "message": "The test has arrived"}
    assert receiver.alarms[0]["event"] == "route.test"
    listed = client.get(ROUTES)
    assert listed.get_json()["count"] == 1
    for answer in (created, changed, replaced, listed, client.get(path)):
        assert SECRET not in answer.text
        assert "token-of-the-route" not in answer.text
    assert client.delete(path).status_code == 200
    assert client.get(path).status_code == 404


def test_a_secret_is_not_taken_to_another_server(client: FlaskClient) -> None:
    broker = {"kind": "mqtt", "url": "mqtts://broker.example.com", "username": "plant", "topic": "alarms"}
    route = client.post(ROUTES, json={"name": "broker", "secret": SECRET, **broker}).get_json()
    path = f"{ROUTES}/{route['id']}"
    for url in ("mqtts://elsewhere.example.com", "mqtt://broker.example.com", "mqtts://broker.example.com:1"):
        for answer in (
            client.patch(path, json={"url": url}),
            client.put(path, json={**broker, "name": "broker", "url": url}),
        ):
            assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "secret")
    assert client.get(path).get_json()["address"] == "mqtts://broker.example.com"
    moved = client.patch(path, json={"url": "mqtts://elsewhere.example.com", "secret": SECRET})
    assert moved.get_json()["address"] == "mqtts://elsewhere.example.com"
    assert client.patch(path, json={"url": "mqtts://elsewhere.example.com/"}).status_code == 200


def test_a_test_that_does_not_arrive_says_why(client: FlaskClient, receiver: Receiver) -> None:
    receiver.statuses = [500]
    route = client.post(ROUTES, json=_body(receiver.url)).get_json()
    answer = client.post(f"{ROUTES}/{route['id']}/test")
    assert (answer.status_code, answer.get_json()["code"]) == (502, "not_delivered")
    assert answer.get_json()["error"].endswith("did not arrive: it answered with status 500")


@pytest.mark.parametrize(
    "changes", [{"kind": "pager"}, {"url": "ftp://x"}, {"quiet_hours": {"start": "25:00", "end": "06:00"}}]
)
def test_a_route_that_cannot_work_is_refused(client: FlaskClient, changes: dict[str, object]) -> None:
    answer = client.post(ROUTES, json=_body("https://example.com/", **changes))
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == next(iter(changes))
    assert "{" not in answer.get_json()["validation_errors"][0]


def test_alarms_of_trainings_and_anomalies_are_listed_and_acknowledged(client: FlaskClient) -> None:
    sensor = client.post(
        "/api/sensors/", json={"name": "TI-1", "type": "Temperature", "unit": "°C"}
    ).get_json()
    body = {"sensor_id": sensor["id"], "type": "Spike", "severity": "High", "value": 98.5, "expected": 70}
    anomaly = client.post("/api/anomalies/", json=body).get_json()
    client.patch(f"/api/anomalies/{anomaly['id']}", json={"resolved": True})
    client.post("/api/anomalies/", json={**body, "timestamp": "2024-01-01T00:00:00Z"})
    assert client.post(TOY, json=toy_family.records(20)).status_code == 200
    newest = client.get("/api/alarms").get_json()["results"]
    assert [alarm["event"] for alarm in newest] == ["anomaly.closed", "anomaly.opened"]
    assert {alarm["incident"] for alarm in newest} == {f"anomalies/{anomaly['id']}"}
    assert newest[1]["message"].startswith(f"Spike of TI-1 (sensor {sensor['id']}): 98.5 °C, 70 expected, ")
    path = f"/api/alarms/{newest[0]['id']}"
    answer = client.post(f"{path}/acknowledge", json={"by": "M. Curie"}).get_json()
    assert answer["acknowledged_by"] == "M. Curie"
    again = client.post(f"{path}/acknowledge").get_json()
    assert again == client.get(path).get_json() == answer
    left = client.get("/api/alarms?acknowledged=0").get_json()
    assert [alarm["id"] for alarm in left["results"]] == [newest[1]["id"]]
