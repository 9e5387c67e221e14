"""The pages of sensors: filters, registration, charts, verdicts, roles and tenants."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from flask import Flask

from dashboard.figures import sparkline
from tests.dashboard.test_pages import BROWSER, sign_in, token_on

START = datetime(2026, 3, 1, tzinfo=UTC)
ATTACK = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def sensor(keyed: Flask) -> int:
    """Return a sensor with hostile name, 200 readings, and one anomaly far above its limit."""
    client = sign_in(keyed, "train")
    form = {"token": token_on(client, "/"), "name": ATTACK, "type": "Pressure", "max_value": "8", "unit": ""}
    answer = client.post("/sensors", data=form)
    assert answer.status_code == 303
    sensor_id = int(answer.headers["Location"].rsplit("/", 1)[1])
    rows = [
        {
            "sensor_id": sensor_id,
            "raw_value": 90.0 if step == 199 else 4 + step % 7 / 10,
            "timestamp": (START + timedelta(minutes=step)).isoformat(),
        }
        for step in range(200)
    ]
    key = {"X-API-Key": keyed.secrets["train"]}  # type: ignore[attr-defined]
    assert keyed.test_client().post("/api/readings/", json=rows, headers=key).json["anomalies_count"] == 1
    return sensor_id


def test_a_sensor_shows_its_readings_its_anomaly_and_its_problems(keyed: Flask, sensor: int) -> None:
    page = sign_in(keyed, "read").get(f"/sensors/{sensor}", headers=BROWSER)
    assert page.status_code == 200
    for text in ("critical", "90", "2026-03-01 03:19 UTC", f"/sensors/{sensor}/figures/readings"):
        assert text in page.text, text
    assert ATTACK not in page.text
    assert re.search(r"<button[^>]* disabled>false alarm", page.text)


def test_scripts_stay_strict_on_a_page_with_charts(keyed: Flask, sensor: int) -> None:
    policy = sign_in(keyed, "read").get(f"/sensors/{sensor}").headers["Content-Security-Policy"]
    assert "script-src" not in policy
    assert policy.startswith("default-src 'self';")
    assert policy.count("unsafe-inline") == 1


def test_the_chart_holds_every_extreme_the_limit_and_the_anomaly(keyed: Flask, sensor: int) -> None:
    figure = sign_in(keyed, "read").get(f"/sensors/{sensor}/figures/readings").json
    readings, anomalies = figure["traces"]
    assert (min(readings["y"]), max(readings["y"])) == (4.0, 90.0)
    assert readings["x"][0] == "2026-03-01T00:00:00.000000"
    assert anomalies["y"] == [90.0]
    assert [(level["name"], level["y"]) for level in figure["levels"]] == [("max_value", 8.0)]


def test_a_chart_shows_the_newest_readings_and_all_where_it_is_asked_to(
    keyed: Flask, sensor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["dashboard.pages.sensors"], "MAX_CHART_READINGS", 50)
    client = sign_in(keyed, "read")

    def count_points(query: str) -> int:
        return len(client.get(f"/sensors/{sensor}/figures/readings{query}").json["traces"][0]["x"]) // 2

    assert count_points("") == 50
    assert count_points("?since=2026-03-01T01:00Z") == 140
    page = client.get(f"/sensors/{sensor}", headers=BROWSER).text
    (link,) = re.findall(r'href="(/sensors/\d+\?since=[^"]+)"', page)
    wide = client.get(link, headers=BROWSER).text
    (address,) = re.findall(r'data-figure="(/[^"]+readings[^"]*)"', wide)
    assert len(client.get(address.replace("&amp;", "&")).json["traces"][0]["x"]) == 400
    assert client.get(f"/sensors/{sensor}?since=soon").status_code == 422


def test_the_drift_to_come_is_a_chart(keyed: Flask, sensor: int) -> None:
    figure = sign_in(keyed, "read").get(f"/sensors/{sensor}/figures/drift").json
    assert len(figure["traces"][-1]["x"]) == 48
    assert figure["y_title"] == "%"


def test_the_list_is_searched_filtered_and_paged_by_the_server(keyed: Flask, sensor: int) -> None:
    client = sign_in(keyed, "read")
    assert "No sensor matches." in client.get("/sensors?name=nothing&type=&status=").text
    found = client.get("/sensors?name=alert&type=Pressure&status=")
    assert f'href="/sensors/{sensor}"' in found.text
    assert ATTACK not in found.text
    assert client.get("/sensors?status=asleep", headers=BROWSER).status_code == 422
    trainer = sign_in(keyed, "train")
    form = {"token": token_on(trainer, "/"), "name": "Second", "type": "Flow"}
    assert trainer.post("/sensors", data=form).status_code == 303
    first = client.get("/sensors?limit=1").text
    (more,) = re.findall(r'href="(/sensors\?[^"]*cursor=[^"]*)"', first)
    second = client.get(more.replace("&amp;", "&")).text
    assert f'href="/sensors/{sensor}"' in first and "Second" not in first
    assert "Second" in second and f'href="/sensors/{sensor}"' not in second


def test_a_verdict_resolves_the_anomaly(keyed: Flask, sensor: int) -> None:
    client = sign_in(keyed, "train")
    (episode,) = client.get(f"/api/anomalies/?sensor_id={sensor}").json["results"]
    form = {"token": token_on(client, f"/sensors/{sensor}")}
    path = f"/sensors/{sensor}/anomalies/{episode['id']}"
    assert client.post(path, data={**form, "verdict": "odd"}).status_code == 422
    assert (
        client.post(
            f"/sensors/{sensor + 1}/anomalies/{episode['id']}", data={**form, "verdict": "confirmed"}
        ).status_code
        == 404
    )
    assert client.post(path, data={**form, "verdict": "false_alarm"}).status_code == 303
    judged = client.get(f"/api/anomalies/{episode['id']}").json
    assert (judged["verdict"], judged["resolved"]) == ("false_alarm", True)


def test_training_a_sensor_leads_to_its_session(keyed: Flask, sensor: int) -> None:
    client = sign_in(keyed, "train")
    form = {"token": token_on(client, f"/sensors/{sensor}"), "kind": "anomaly"}
    answer = client.post(f"/sensors/{sensor}/train", data=form)
    assert answer.status_code == 303
    assert client.get(answer.headers["Location"], headers=BROWSER).status_code == 200


def test_a_wrong_form_is_told_field_by_field(keyed: Flask) -> None:
    client = sign_in(keyed, "train")
    form = {
        "token": token_on(client, "/sensors"),
        "name": "x",
        "type": "Flow",
        "min_value": "warm",
        "max_value": "hot",
    }
    answer = client.post("/sensors", data=form, headers=BROWSER)
    assert answer.status_code == 422
    for field in ("min_value", "max_value"):
        assert f"{field}:" in answer.text


def test_a_read_key_and_a_stranger_change_nothing(keyed: Flask, sensor: int) -> None:
    reader, stranger = sign_in(keyed, "read"), sign_in(keyed, "stranger")
    form = {"token": token_on(reader, "/"), "name": "x", "type": "Flow"}
    assert reader.post("/sensors", data=form).status_code == 403
    for path in ("", "/figures/readings", "/figures/drift"):
        assert stranger.get(f"/sensors/{sensor}{path}").status_code == 404
    token = {"token": token_on(stranger, "/")}
    assert stranger.post(f"/sensors/{sensor}/train", data=token).status_code == 404


def test_a_sparkline_stays_in_its_box() -> None:
    path = sparkline(np.array([1.0, 5.0, 3.0]))
    assert path == "M0.0,22.0L50.0,2.0L100.0,12.0"
    assert sparkline(np.array([2.0, 2.0])) == "M0.0,22.0L100.0,22.0"
    assert sparkline(np.array([1.0])) == ""
