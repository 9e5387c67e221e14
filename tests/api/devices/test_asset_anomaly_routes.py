"""Telemetry over HTTP is judged on arrival, and people decide about what was found."""

from __future__ import annotations

from datetime import timedelta

import pytest

from api.http.context import MANAGER
from storage.db.tables import utc_now
from tests.api.conftest import open_app, settings_in
from tests.prediction.equipment.conftest import SMALL, fill_pump, make_pump, to_rows

ANOMALIES = "/api/asset-anomalies"


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    for app in open_app(settings_in(tmp_path_factory.mktemp("assets"))):
        manager = app.extensions[MANAGER]
        fill_pump(manager.devices.database)
        client = app.test_client()
        answer = client.post("/train/equipment/line-1?async=0", json={**SMALL, "device_id": "pump-1"})
        assert answer.json["promoted"], answer.json
        yield client


def test_telemetry_is_judged_on_arrival_and_a_person_decides(client):
    values = make_pump(160, seed=5)
    values[60:, 5] += 4
    start = utc_now() - timedelta(minutes=10 * 160)
    rows = [
        {"device_id": "pump-1", "timestamp": (start + timedelta(minutes=10 * number)).isoformat(), **row}
        for number, row in enumerate(to_rows(values))
    ]
    answer = client.post("/api/telemetry", json=rows)
    assert (answer.status_code, answer.json["accepted"], answer.json["warnings"]) == (201, 160, [])
    assert answer.json["anomaly_count"] == len(answer.json["anomalies"]) >= 1
    anomaly = max(answer.json["anomalies"], key=lambda row: row["alarms"])
    assert (anomaly["device_id"], anomaly["model"]) == ("pump-1", "line-1")
    assert anomaly["contributions"][0]["channel"] == "bearing"

    one = f"{ANOMALIES}/{anomaly['id']}"
    listed = client.get(f"{ANOMALIES}?device_id=pump-1&resolved=0").json["results"]
    assert anomaly["id"] in [row["id"] for row in listed] and client.get(one).json == anomaly
    assert client.patch(one, json={"verdict": "maybe"}).status_code == 422
    assert client.patch(one, json={}).json == anomaly
    assert client.patch(one, json={"resolved": True, "verdict": "confirmed"}).json["verdict"] == "confirmed"
    assert anomaly["id"] not in [row["id"] for row in client.get(f"{ANOMALIES}?resolved=0").json["results"]]
    assert client.delete(one).status_code == 200 and client.get(one).status_code == 404
