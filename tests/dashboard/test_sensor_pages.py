"""The pages of sensors: filters, registration, charts, verdicts, roles and tenants."""

from __future__ import annotations

import io
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dashboard.figures import sparkline
from prediction.contract import ModelKey
from prediction.sensors.calibration.due_date import DueDate
from prediction.sensors.calibration.model import CalibrationModel
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


def test_a_sensor_is_edited_and_what_is_wrong_stands_at_its_field(keyed: Flask) -> None:
    client = sign_in(keyed, "train")
    form = {"token": token_on(client, "/"), "name": "Edited", "type": "Flow", "max_value": "9"}
    path = client.post("/sensors", data=form).headers["Location"]
    wrong = client.post(f"{path}/edit", data={**form, "name": ATTACK, "max_value": "hot"}, headers=BROWSER)
    assert wrong.status_code == 422
    assert re.findall(r'<input name="(\w+)"[^>]* aria-invalid', wrong.text) == ["max_value"]
    assert ATTACK not in wrong.text and 'value="hot"' in wrong.text
    change = {
        "token": form["token"],
        "name": "New name",
        "type": "Torque",
        "tag": "TI-9.PV",
        "min_value": "1",
    }
    assert client.post(f"{path}/edit", data=change).status_code == 303
    row = client.get(f"/api{path}").json
    facts = [row[field] for field in ("name", "type", "tag", "min_value", "max_value")]
    assert facts == ["New name", "Torque", "TI-9.PV", 1.0, None]
    taken = client.post("/sensors", data={**change, "name": "Other"}, headers=BROWSER)
    assert taken.status_code == 409 and "TI-9.PV" in taken.text and 'value="Other"' in taken.text
    assert client.post(f"{path}0/edit", data=change).status_code == 404


def test_a_file_of_readings_is_imported_as_a_whole_or_not_at_all(keyed: Flask) -> None:
    client = sign_in(keyed, "train")
    form = {"token": token_on(client, "/"), "name": "Imported", "type": "Flow", "max_value": "9"}
    path = client.post("/sensors", data=form).headers["Location"]

    def send(text: str, **fields: str) -> tuple[int, str]:
        file = io.BytesIO(text.encode()), "readings.csv"
        sent = client.post(f"{path}/readings", data={**form, **fields, "file": file}, headers=BROWSER)
        return sent.status_code, sent.text

    status, page = send(f"time,value\n2026-03-01T00:00Z,1\n2026-03-01T01:00Z,{ATTACK}\n")
    assert status == 422 and "2" in page and ATTACK not in page
    assert send("when,what\n1,2\n")[0] == 422
    assert send("time,value\n")[0] == 422
    assert client.post(f"{path}/readings", data=form, headers=BROWSER).status_code == 400
    count = lambda: len(client.get(f"/api/readings/?sensor_id={path.rsplit('/')[-1]}").json["results"])  # noqa: E731
    assert count() == 0
    assert send("time;value\n01/03/2026 00:00;1,5\n01/03/2026 01:00;90,5\n", date_order="day")[0] == 303
    assert count() == 2
    assert client.get(f"/api/anomalies/?sensor_id={path.rsplit('/')[-1]}").json["results"][0]["value"] == 90.5
    assert send("time,value\n1,2\n", date_order="year")[0] == 422
    number = int(path.rsplit("/")[-1])
    rows = {
        "time": ["2026-03-01T02:00:00Z", "2026-03-01T03:00:00Z"],
        "value": [2, 3.5],
        "sensor_id": [number] * 2,
    }
    for sensor_id, code in ((number, 303), (number + 1, 422)):
        table = pd.DataFrame({**rows, "sensor_id": [sensor_id] * 2}).to_parquet(index=False)
        upload = {**form, "file": (io.BytesIO(table), "readings.parquet")}
        assert client.post(f"{path}/readings", data=upload, headers=BROWSER).status_code == code
    assert count() == 4


def import_text(client: FlaskClient, path: str, text: str) -> TestResponse:
    file = io.BytesIO(text.encode()), "readings.csv"
    form = {"token": token_on(client, "/"), "file": file}
    return client.post(f"{path}/readings", data=form, headers=BROWSER)


def test_a_file_that_names_another_sensor_is_refused(keyed: Flask, sensor: int) -> None:
    client = sign_in(keyed, "train")
    form = {"token": token_on(client, "/"), "name": "Own", "type": "Flow", "tag": "FI-7"}
    path = client.post("/sensors", data=form).headers["Location"]
    own = path.rsplit("/", 1)[1]
    for column, name in (
        ("sensor_id", str(sensor)),
        ("Sensor", "FI-8"),
        ("tag", "FI-8"),
        ("capteur", "Other"),
    ):
        text = f"time,value,{column}\n2026-03-01T00:00Z,1,{own}\n2026-03-01T01:00Z,2,{name}\n"
        page = import_text(client, path, text)
        assert page.status_code == 422, column
        assert f"Record 2: {column} is &#39;{name}&#39;" in page.text
        assert client.get(f"/api/readings/?sensor_id={own}").json["results"] == []
    text = f"time,value,sensor\n2026-03-01T00:00Z,1,{own}\n2026-03-01T01:00Z,2,FI-7\n2026-03-01T02:00Z,3,\n"
    assert import_text(client, path, text).status_code == 303
    assert len(client.get(f"/api/readings/?sensor_id={own}").json["results"]) == 3


def test_an_import_says_what_was_stored_and_what_was_not_read(keyed: Flask, sensor: int) -> None:
    client = sign_in(keyed, "train")
    form = {
        "token": token_on(client, "/"),
        "name": "Counted",
        "type": "Flow",
        "max_value": "9",
        "min_value": "0",
    }
    path = client.post("/sensors", data=form).headers["Location"]
    text = "time,value,operator\n2026-03-01T00:00Z,1,Ann\n2026-03-01T01:00Z,90,Ann\n2026-03-01T02:00Z,-9999,Bo\n\n;\n"
    answer = import_text(client, path, text.replace("\n\n;", ",\n,,"))
    assert answer.status_code == 303
    address = answer.headers["Location"]
    page = client.get(address, headers=BROWSER).text
    assert "3 readings were stored." in page
    assert "2 anomalies were found among them." in page
    assert "Columns that were not read: operator" in page
    assert "raw_value is -9999 1 times" in page
    assert "left out" in page
    # The address says nothing on another sensor's page, to another caller, or where somebody changed it.
    query = address.partition("?")[2]
    for who, target in ((client, f"/sensors/{sensor}?{query}"), (sign_in(keyed, "read"), address)):
        assert "were stored" not in who.get(target, headers=BROWSER).text
    assert "were stored" not in client.get(f"{path}?result=x", headers=BROWSER).text


def test_a_calibration_model_shows_its_curve_and_when_the_next_one_is_due(
    keyed: Flask, sensor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(keyed, "read")
    assert client.get(f"/sensors/{sensor}/figures/calibration").status_code == 404
    due: DueDate = {
        "reliability": 0.95, "tolerance": 0.5, "date": START.timestamp(), "interval_days": 90.0, "note": "so far"
    }  # fmt: skip
    model = CalibrationModel(1.1, 0.2, 2.0, 8.0, 5.0, 20.0, 0.1, 2.0, 6.0, None, due)
    monkeypatch.setattr(sys.modules["dashboard.pages.sensors"], "_load_calibration", lambda number: model)
    page = client.get(f"/sensors/{sensor}", headers=BROWSER).text
    for text in ("2026-03-01</strong>", "±0.5", "95 %", "so far", f"/sensors/{sensor}/figures/calibration"):
        assert text in page, text
    figure = client.get(f"/sensors/{sensor}/figures/calibration").json
    low, high, curve, raw = figure["traces"][:4]
    assert (curve["x"][0], curve["y"][0], raw["y"][-1]) == (2.0, pytest.approx(2.4), 8.0)
    assert high["y"][0] - low["y"][0] == pytest.approx(2 * model.uncertainty(2.0))
    assert [trace.get("is_band", False) for trace in (low, high, curve)] == [True, True, False]


def test_a_damaged_model_is_told_beside_the_rest_of_the_sensor(
    keyed: Flask, sensor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = keyed.extensions["millwright"]
    key = ModelKey("sensors", f"{sensor}-calibration")
    folder = manager.settings.models_dir / key.path
    folder.mkdir(parents=True)
    (folder / "champion.json").write_text("{")
    try:
        page = sign_in(keyed, "read").get(f"/sensors/{sensor}", headers=BROWSER)
    finally:
        shutil.rmtree(folder)
    assert page.status_code == 200
    assert f"/sensors/{sensor}/figures/readings" in page.text
    assert page.text.count("champion.json") == 2


def test_a_read_key_and_a_stranger_change_nothing(keyed: Flask, sensor: int) -> None:
    reader, stranger = sign_in(keyed, "read"), sign_in(keyed, "stranger")
    form = {"token": token_on(reader, "/"), "name": "x", "type": "Flow"}
    assert reader.post("/sensors", data=form).status_code == 403
    for path in ("", "/figures/readings", "/figures/drift", "/figures/calibration"):
        assert stranger.get(f"/sensors/{sensor}{path}").status_code == 404
    token = {"token": token_on(stranger, "/")}
    for path in ("edit", "readings"):
        assert reader.post(f"/sensors/{sensor}/{path}", data=form).status_code == 403
        assert stranger.post(f"/sensors/{sensor}/{path}", data={**form, **token}).status_code == 404
    assert stranger.post(f"/sensors/{sensor}/train", data=token).status_code == 404


def test_what_a_read_key_may_not_do_has_its_reason_beside_it(keyed: Flask, sensor: int) -> None:
    page = sign_in(keyed, "read").get(f"/sensors/{sensor}", headers=BROWSER).text
    parts = [part for part in re.split("<section|<details", page) if "disabled>" in part]
    assert [part[:60] for part in parts if "Your key may read only." not in part] == []
    assert any('id="import"' in part for part in parts)


def test_a_sparkline_stays_in_its_box() -> None:
    path = sparkline(np.array([1.0, 5.0, 3.0]))
    assert path == "M0.0,22.0L50.0,2.0L100.0,12.0"
    assert sparkline(np.array([2.0, 2.0])) == "M0.0,22.0L100.0,22.0"
    assert sparkline(np.array([1.0])) == ""
