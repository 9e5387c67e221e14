"""The pages of devices and of settings."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from flask import Flask

from dashboard import device_health
from dashboard.device_health import DeviceHealth
from prediction.contract import ModelKey
from tests.dashboard.test_pages import BROWSER, sign_in, token_on

START = datetime(2026, 3, 1, tzinfo=UTC)
DEVICE = "PUMP <1>/a"
FIGURE = "/device/figure"


@pytest.fixture(scope="module")
def device(keyed: Flask) -> str:
    """Return a device whose name must be quoted in an address, with ten rows and one failure."""
    key = {"X-API-Key": keyed.secrets["train"]}  # type: ignore[attr-defined]
    rows = [
        {
            "device_id": DEVICE,
            "timestamp": (START + timedelta(hours=hour)).isoformat(),
            "current_mean": 10 + hour,
        }
        for hour in range(10)
    ]
    failure = {"device_id": DEVICE, "event_time": START.isoformat(), "event_type": "failure"}
    client = keyed.test_client()
    assert client.post("/api/telemetry", json=rows, headers=key).status_code == 201
    assert client.post("/api/failure-events", json=failure, headers=key).status_code == 201
    return DEVICE


def test_a_device_without_a_model_says_why_it_is_not_ranked(keyed: Flask, device: str) -> None:
    page = sign_in(keyed, "read").get("/devices", headers=BROWSER)
    assert page.status_code == 200
    assert 'href="/device?id=PUMP+%3C1%3E%2Fa&amp;model=default"' in page.text
    assert "train one on the page of the devices" in page.text
    assert DEVICE not in page.text and "POST /train" not in page.text
    french = sign_in(keyed, "read").get("/devices", headers={**BROWSER, "Accept-Language": "fr"})
    assert "entraînez-en un sur la page des machines" in french.text


def test_the_overview_shows_the_devices_with_least_time_left(
    keyed: Flask, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(keyed, "read")
    page = client.get("/", headers=BROWSER).text
    assert 'href="/devices">Devices</a> (1)' in page and "train one on the page of the devices" in page
    hours = {"PUMP-1": 90.0, "PUMP-2": 3.5, "PUMP-3": None, DEVICE: 40.0}

    def predict(key: ModelKey, device_id: str, query: object) -> DeviceHealth:
        left = hours[device_id]
        if left is None:
            return DeviceHealth(device_id, reason="too few rows")
        return DeviceHealth(device_id, {"rul_hours": left, "health_status": "critical"})

    monkeypatch.setattr(device_health, "predict_health", predict)
    telemetry = keyed.extensions["millwright"].devices.telemetry
    monkeypatch.setattr(telemetry, "devices", lambda tenant: list(hours))
    monkeypatch.setattr(telemetry, "devices_after", lambda tenant, watermark, limit: list(hours)[:limit])
    page = client.get("/", headers=BROWSER).text
    found = re.findall(r'href="/device\?id=([^"]+)&amp;model=default"', page)
    assert found == ["PUMP-2", "PUMP+%3C1%3E%2Fa", "PUMP-1"]
    assert "1 device cannot be judged" in page and "ranked here" not in page
    monkeypatch.setattr(sys.modules["dashboard.pages.overview"], "MAX_RANKED_DEVICES", 2)
    page = client.get("/", headers=BROWSER).text
    assert "The 2 devices with the newest data are ranked here." in page


def test_costs_belong_together_and_a_wrong_option_stands_at_its_field(keyed: Flask, device: str) -> None:
    client = sign_in(keyed, "train")
    both = client.get("/devices?late_cost=20&early_cost=1", headers=BROWSER)
    assert "Alarm in" in both.text
    assert client.get("/devices?late_cost=20&early_cost=", headers=BROWSER).status_code == 422
    assert client.get(f"/device/life?{urlencode({'id': device})}").json["traces"] == []
    form = {
        "token": token_on(client, "/devices"),
        "model": "default",
        "epochs": "0",
        "use_age": ["false", "true"],
    }
    page = client.post("/devices/train", data=form, headers=BROWSER)
    assert page.status_code == 422
    assert re.search(r'id="option-epochs"[^>]* aria-invalid', page.text)
    assert re.search(r'id="option-use_age"[^>]* checked', page.text)


def test_a_channel_of_a_device_is_a_chart(keyed: Flask, device: str) -> None:
    client = sign_in(keyed, "read")
    page = client.get("/device", query_string={"id": device}, headers=BROWSER)
    assert page.status_code == 200
    assert "2026-03-01 00:00 UTC: failure" in page.text
    figure = client.get(FIGURE, query_string={"id": device, "channel": "current_mean"}).get_json()
    assert figure["traces"][0]["y"] == [float(10 + hour) for hour in range(10)]
    assert client.get(FIGURE, query_string={"id": device, "channel": "x"}).status_code == 404
    assert client.get("/device?id=nothing", headers=BROWSER).status_code == 404
    assert sign_in(keyed, "stranger").get("/device", query_string={"id": device}).status_code == 404


def test_settings_are_for_administrators_and_hide_secrets(keyed: Flask) -> None:
    assert sign_in(keyed, "train").get("/settings", headers=BROWSER).status_code == 403
    # An administrator of another tenant sees its own keys, and nothing of the server.
    page = sign_in(keyed, "stranger").get("/settings", headers=BROWSER).text
    assert "MILLWRIGHT_PORT" not in page
    assert "admin" in page
    keys = keyed.extensions["millwright"].keys
    secret, key = keys.create("admin", label="desk")
    client = keyed.test_client()
    client.post("/sign-in", data={"key": secret})
    page = client.get("/settings", headers=BROWSER).text
    assert "MILLWRIGHT_DATABASE_URL" in page
    assert "desk" in page
    assert secret not in page
    keys.revoke(key.id)


def test_settings_say_where_they_come_from_and_what_backups_use(
    open_home: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_home.test_client()
    client.post("/train/backups", json={"reason": "audit"})
    monkeypatch.setenv("MILLWRIGHT_THREADS", "8")
    monkeypatch.setenv("MILLWRIGHT_DATABASE_URL_FILE", "/run/secrets/database")
    page = client.get("/settings", headers=BROWSER).text
    sources = dict(re.findall(r"<code>MILLWRIGHT_(\w+)</code></td><td>[^<]*</td><td>(\w+)</td>", page))
    assert sources["THREADS"] == "environment" and sources["DATABASE_URL"] == "file"
    assert sources["PORT"] == "default" and sources["HOME"] == "command"
    assert re.search(r"used by backups \(1\): [\d.]+ ", page)


def test_a_password_in_an_address_is_not_shown(keyed: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = keyed.extensions["millwright"]
    uri = "postgresql://mlflow:hidden-word@db.example/runs"
    monkeypatch.setattr(manager, "settings", replace(manager.settings, tracking_uri=uri))
    secret, key = manager.keys.create("admin")
    client = keyed.test_client()
    client.post("/sign-in", data={"key": secret})
    page = client.get("/settings", headers=BROWSER).text
    manager.keys.revoke(key.id)
    assert "postgresql://db.example/runs" in page
    assert "hidden-word" not in page
