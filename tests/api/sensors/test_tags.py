"""A sensor's tag stands wherever its number does, and readings of unknown tags are not lost."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

TAG = "TI-1023.PV é"
AT = "2026-11-01T00:00:0{}Z"


def _sensor(client: FlaskClient, **changes: object) -> dict:
    body = {"name": "Inlet", "type": "Turbidity", "unit": "NTU", "tag": TAG, **changes}
    answer = client.post("/api/sensors/", json=body)
    assert answer.status_code == 201, answer.text
    return answer.get_json()


def _readings(tag: object, count: int = 3) -> list[dict]:
    return [{"tag": tag, "raw_value": number, "timestamp": AT.format(number)} for number in range(count)]


def test_a_tag_stands_for_the_number_at_every_door(client: FlaskClient) -> None:
    sensor = _sensor(client)
    assert (sensor["tag"], sensor["type"]) == (TAG, "Turbidity")
    assert client.post("/api/readings/", json=_readings(TAG)).get_json()["accepted"] == 3
    csv = f"sensor_id,raw_value,timestamp\n{TAG},5,2026-11-01T01:00:00Z\n{sensor['id']},6,2026-11-01T02:00:00Z\n"
    stored = client.post("/api/readings/", data=csv.encode(), content_type="text/csv").get_json()
    assert stored["accepted"] == 2
    body = {"tag": TAG, "corrected_value": 4}
    assert client.post("/api/calibrations/", json=body).get_json()["sensor_id"] == sensor["id"]
    anomaly = {"sensor_id": TAG, "type": "Spike", "severity": "High", "value": 4}
    assert client.post("/api/anomalies/", json=anomaly).get_json()["sensor_id"] == sensor["id"]
    assert client.get("/api/readings/", query_string={"tag": TAG}).get_json()["count"] == 5
    drift = client.get("/api/drift-prediction/", query_string={"sensor_id": TAG})
    assert drift.status_code == 200, drift.text
    assert client.get("/api/sensors/", query_string={"tag": TAG}).get_json()["count"] == 1
    assert client.get("/api/alarms", query_string={"tag": TAG}).get_json()["count"] == 1


@pytest.mark.parametrize("tag", ["1023", " TI", "TI\n", ""])
def test_a_tag_that_could_be_mistaken_is_refused(client: FlaskClient, tag: str) -> None:
    answer = client.post("/api/sensors/", json={"name": "Inlet", "type": "Flow", "tag": tag})
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "tag")


def test_a_number_and_a_tag_belong_to_one_sensor(client: FlaskClient) -> None:
    assert _sensor(client, id=4711)["id"] == 4711
    assert _sensor(client, tag="TI-2")["id"] > 4711
    for change in ({"id": 4711, "tag": "TI-3"}, {"tag": TAG}):
        answer = client.post("/api/sensors/", json={"name": "Inlet", "type": "Flow", **change})
        assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")
    moved = client.patch("/api/sensors/4711", json={"id": 4712})
    assert moved.get_json()["error"] == "id: the number of a sensor cannot be changed"


def test_unknown_tags_are_refused_wait_or_become_sensors(client: FlaskClient) -> None:
    refused = client.post("/api/readings/", json=_readings("TI-9"))
    assert refused.get_json()["errors"][0]["code"] == "unknown_sensor"
    bad = [*_readings("TI-9"), {"tag": "TI-8", "raw_value": "x", "timestamp": AT.format(1)}]
    for mode in ("queue", "create"):
        assert client.post(f"/api/readings/?on_unknown={mode}", json=bad).status_code == 422
    assert client.get("/api/unknown-tags").get_json()["count"] == 0
    assert client.get("/api/sensors/").get_json()["count"] == 0
    queued = client.post("/api/readings/?on_unknown=queue", json=[*_readings("TI-9"), *_readings("TI-7", 1)])
    assert (queued.get_json()["accepted"], queued.get_json()["waiting"]) == (0, 4)
    listed = client.get("/api/unknown-tags").get_json()["results"]
    assert [(row["tag"], row["readings"]) for row in listed] == [("TI-7", 1), ("TI-9", 3)]
    body = {"tag": "TI-9", "type": "Temperature", "unit": "°C"}
    done = client.post("/api/unknown-tags/register", json=body).get_json()
    assert done["readings"] == 3
    assert client.get("/api/readings/", query_string={"tag": "TI-9"}).get_json()["count"] == 3
    assert client.post("/api/unknown-tags/register", json=body).get_json() == {**done, "readings": 0}
    _sensor(client, tag="TI-7")  # a sensor that is made with the tag takes what waits
    assert client.get("/api/readings/", query_string={"tag": "TI-7"}).get_json()["count"] == 1
    created = client.post("/api/readings/?on_unknown=create", json=_readings("TI-5")).get_json()
    assert (created["accepted"], created["waiting"]) == (3, 0)
    assert client.get("/api/sensors/?tag=TI-5").get_json()["results"][0]["type"] == "Other"


def test_what_waits_is_bounded_and_can_be_deleted(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.sensors.waiting_readings.MAX_READINGS", 4)
    assert client.post("/api/readings/?on_unknown=queue", json=_readings("TI-9")).status_code == 201
    full = client.post("/api/readings/?on_unknown=queue", json=_readings("TI-8"))
    assert (full.status_code, full.get_json()["code"]) == (409, "conflict")
    assert client.get("/api/unknown-tags").get_json()["count"] == 1
    assert client.delete("/api/unknown-tags?tag=TI-9").status_code == 200
    assert client.delete("/api/unknown-tags?tag=TI-9").status_code == 404
