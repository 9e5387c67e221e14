"""The sensor platform over HTTP: register, send, train, ask, judge; tenants never see each other's rows."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from errors import StorageFailed
from tests.api.conftest import open_app, settings_in
from tests.waiting import eventually

START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    yield from open_app(settings_in(tmp_path_factory.mktemp("sensors")))


@pytest.fixture(scope="module")
def client(app):
    return app.test_client()


def register(client, **fields):
    body = {"name": "Cooling Tank Pressure", "type": "Pressure", "nominal_value": 50.0, **fields}
    answer = client.post("/api/sensors/", json=body)
    assert answer.status_code == 201, answer.json
    return answer.json["id"]


def readings(sensor, count=400, offset=0.0):
    random = np.random.default_rng(2)
    return [
        {
            "sensor_id": sensor,
            "raw_value": 50 + 0.01 * n + float(random.normal(0, 0.5)) + offset,
            "timestamp": (START + timedelta(hours=n)).isoformat(),
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def trained(client):
    """Return a sensor with readings, calibrations and its three models."""
    sensor = register(client)
    sent = readings(sensor)
    assert client.post("/api/readings/?detect=false", json=sent).json["accepted"] == 400
    for at in range(20, 400, 40):
        body = {
            "sensor_id": sensor,
            "corrected_value": sent[at]["raw_value"] + 1,
            "applied_at": sent[at]["timestamp"],
        }
        assert client.post("/api/calibrations/", json=body).status_code == 201
    answer = client.post("/api/model-training/", json={"sensor_id": sensor, "model_type": "all"})
    assert answer.status_code == 200, answer.json
    assert [result["trained"] for result in answer.json["results"]] == [True, True, True]
    return sensor


def test_a_sensor_is_made_read_changed_and_deleted(client):
    sensor = register(client, min_value=0, max_value=100)
    assert client.get(f"/api/sensors/{sensor}").json["status"] == "offline"
    changed = client.patch(f"/api/sensors/{sensor}", json={"name": "Renamed"}).json
    assert (changed["name"], changed["max_value"]) == ("Renamed", 100)
    assert client.get("/api/sensors/?name=rename").json["count"] == 1
    assert client.patch(f"/api/sensors/{sensor}", json={"min_value": 200}).status_code == 422
    assert client.delete(f"/api/sensors/{sensor}").status_code == 200
    assert client.get(f"/api/sensors/{sensor}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": " ", "type": "Flow"},
        {"name": "x", "type": " "},
        {"name": "x", "type": "Flow", "nominal_value": "much"},
        {"name": "x", "type": "Flow", "min_value": 2, "max_value": 1},
        [],
    ],
)
def test_a_wrong_sensor_is_refused_with_what_is_wrong(client, body):
    answer = client.post("/api/sensors/", json=body)
    assert answer.status_code == 422
    assert answer.json["code"] == "invalid"


def test_a_reading_comes_alone_or_in_every_format(client):
    sensor = register(client)
    single = client.post("/api/readings/", json={"sensor": sensor, "raw_value": 51.5})
    assert single.status_code == 201
    assert single.json["reading"]["raw_value"] == 51.5
    assert client.get(f"/api/sensors/{sensor}").json["status"] == "online"
    line = '{"sensor_id": %d, "raw_value": %d, "timestamp": "2026-02-05T1%d:00:00Z"}'
    ndjson = f"{line % (sensor, 1, 1)}\n\n{line % (sensor, 2, 2)}\n"
    french = f"\ufeffsensor_id;raw_value;timestamp\r\n{sensor};3,25;2026-01-05T10:00:00Z\r\n"
    for body, kind, count in ((ndjson, "application/x-ndjson", 2), (french, "text/csv", 1)):
        answer = client.post("/api/readings/?detect=0", data=body.encode(), content_type=kind)
        assert (answer.status_code, answer.json["accepted"]) == (201, count), answer.json
    values = [row["raw_value"] for row in client.get(f"/api/readings/?sensor_id={sensor}").json["results"]]
    assert values == [3.25, 1, 2, 51.5]


def test_readings_that_cannot_be_stored_leave_no_anomaly(client, monkeypatch):
    """Anomalies are committed with their readings or not at all, however often a client tries again."""
    sensor = register(client, min_value=0, max_value=100)

    def fail(*_):
        raise StorageFailed("The disk has gone")

    with monkeypatch.context() as patched:
        patched.setattr("storage.sensors.readings.insert", fail)
        for _ in range(3):
            odd = {"sensor_id": sensor, "raw_value": 900.0, "timestamp": START.isoformat()}
            assert client.post("/api/readings/", json=odd).status_code >= 500
    assert client.get(f"/api/anomalies/?sensor_id={sensor}").json["results"] == []
    assert client.post("/api/readings/", json=odd).json["anomalies_count"] == 1
    (anomaly,) = client.get(f"/api/anomalies/?sensor_id={sensor}").json["results"]
    assert anomaly["readings"] == 1


def test_a_body_without_a_valid_line_stores_nothing_and_says_so(client):
    answer = client.post(
        "/api/readings/?skip_invalid=1", json=[{"sensor_id": 10**6, "raw_value": 1, "timestamp": 0}] * 2
    )
    assert (answer.status_code, answer.json["accepted"], len(answer.json["rejected"])) == (201, 0, 2)


EDGES = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00")


@pytest.mark.parametrize("time", [*EDGES, "1899-12-31T00:00:00Z", "9999-12-31T00:00:00Z"])
def test_a_time_that_nothing_can_keep_is_refused_wherever_it_is_sent(client, time):
    sensor = register(client)
    sent = [
        ("readings", {"raw_value": 1.0, "timestamp": time}),
        ("calibrations", {"corrected_value": 1.0, "applied_at": time}),
        ("anomalies", {"type": "Drift", "value": 1.0, "timestamp": time}),
        ("enhanced-anomaly-detection", {"reading_value": 1.0, "timestamp": time}),
    ]
    for path, body in sent:
        answer = client.post(f"/api/{path}/", json={"sensor_id": sensor, **body})
        assert answer.status_code == 422, (path, answer.json)
    for path in ("readings", "calibrations", "anomalies"):
        assert client.get(f"/api/{path}/", query_string={"sensor_id": sensor}).json["count"] == 0


def test_a_wrong_time_of_a_query_is_told_with_an_example(client):
    refused = client.get("/api/readings/?since=01/01/2026")
    assert refused.status_code == 422
    assert "such as 2024-12-05T14:30:22Z" in refused.json["validation_errors"][0]


def test_a_list_may_go_from_ever_to_ever(client, trained):
    ever = {"since": EDGES[0], "until": EDGES[1], "sensor_id": trained}
    for path in ("readings", "calibrations"):
        assert client.get(f"/api/{path}/", query_string=ever).json["count"] > 0
    assert client.get("/api/anomalies/", query_string=ever).status_code == 200
    del ever["sensor_id"]
    assert client.get(f"/api/sensors/{trained}/quality", query_string=ever).json["readings"] >= 400


def test_nothing_was_measured_in_the_future(client):
    sensor = register(client)
    body = {"sensor_id": sensor, "raw_value": 1.0}
    ahead = [(datetime.now(UTC) + timedelta(hours=hours)).isoformat() for hours in (23, 25)]
    assert client.post("/api/readings/", json={**body, "timestamp": ahead[0]}).status_code == 201
    refused = client.post("/api/readings/", json={**body, "timestamp": ahead[1]})
    assert refused.status_code == 422
    assert "lies in the future" in refused.json["validation_errors"][0]
    judged = {"sensor_id": sensor, "reading_value": 1.0, "timestamp": ahead[1]}
    assert client.post("/api/enhanced-anomaly-detection/", json=judged).status_code == 422


def test_a_time_without_an_offset_is_utc_everywhere(client):
    sensor = register(client)
    body = {"sensor_id": sensor, "corrected_value": 1.0, "applied_at": "2026-01-05T10:00:00"}
    assert client.post("/api/calibrations/", json=body).json["applied_at"] == "2026-01-05T10:00:00Z"
    since = {"since": "2026-01-05T10:00:00", "sensor_id": sensor}
    assert client.get("/api/calibrations/", query_string=since).json["count"] == 1


def test_a_batch_with_an_unknown_sensor_records_nothing(client, trained):
    before = client.get(f"/api/anomalies/?sensor_id={trained}&limit=1000").json["results"]
    odd = {"sensor_id": trained, "reading_value": 900.0, "timestamp": "2026-04-01T10:00:00Z"}
    sent = {"readings": [odd, {"sensor_id": 999_999, "reading_value": 1.0}]}
    assert client.post("/api/enhanced-anomaly-detection/", json=sent).status_code == 404
    assert client.get(f"/api/anomalies/?sensor_id={trained}&limit=1000").json["results"] == before


@pytest.mark.parametrize("said", ["1_000", "\u0661\u0662", "1,234.5", "0x10", "", " ", "nan", "-inf"])
def test_only_plain_digits_are_a_number(client, said):
    sensor = register(client)
    assert client.post("/api/readings/", json={"sensor_id": sensor, "raw_value": said}).status_code == 422
    for right, value in (("-1,5", -1.5), (" .5e1 ", 5.0), ("+7.", 7.0)):
        sent = {"sensor_id": sensor, "raw_value": right}
        assert client.post("/api/readings/", json=sent).json["reading"]["raw_value"] == value


def test_a_missing_column_is_told_with_those_there_are(client):
    refused = client.post("/api/readings/", data=b"Sensor_ID\tValue\n1\t2\n", content_type="text/csv")
    assert "sensor_id is missing, there is: Sensor_ID, Value" in refused.json["validation_errors"][0]
    refused = client.post("/api/readings/", json={"sensor_id": 1, "value": 2})
    assert "raw_value is missing, there is: sensor_id, value" in refused.json["validation_errors"][0]
    table = b"capteur;valeur;Date de mesure\n" + b"1;2;2020-01-01\n" * 3
    refused = client.post("/api/readings/?skip_invalid=1", data=table, content_type="text/csv").json
    guesses = [(fault["field"], said.partition("mean ")[2]) for fault, said in
               zip(refused["errors"], refused["validation_errors"], strict=True)]  # fmt: skip
    assert guesses == [
        ("sensor_id", "'capteur'?"),
        ("raw_value", "'valeur'?"),
        ("timestamp", "'Date de mesure'?"),
    ]


@pytest.mark.parametrize("name", ["date", "time", "Timestamp", "timestmap", "horodatage", "Date/Heure", "ts"])
def test_a_history_whose_time_has_another_name_is_none_of_now(client, name):
    sensor = register(client)
    table = f"sensor_id;raw_value;{name}\n{sensor};4,05;2020-01-01T00:00:00Z\n".encode()
    line = {"sensor_id": sensor, "raw_value": 4.05, name: "2020-01-01"}
    for sent in (
        {"data": table, "content_type": "text/csv"},
        {"data": json.dumps(line), "content_type": "application/x-ndjson"},
        {"json": [line, line]},
    ):
        refused = client.post("/api/readings/", **sent)
        assert refused.status_code == 422, sent
        said = f"timestamp is missing, there is: sensor_id, raw_value, {name}; did you mean '{name}'?"
        assert refused.json["validation_errors"] == [said]
    refused = client.post("/api/readings/", json=line)
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, name)
    assert client.get(f"/api/readings/?sensor_id={sensor}").json["count"] == 0


def test_a_reading_by_itself_is_one_of_now_and_the_others_say_when(client):
    sensor = register(client)
    reading = {"sensor_id": sensor, "raw_value": 4.05}
    assert client.post("/api/readings/", json=[reading]).status_code == 201
    refused = client.post("/api/readings/", json=[{**reading, "timestamp": "2026-01-05T10:00:00Z"}, reading])
    assert [(fault["record"], fault["code"]) for fault in refused.json["errors"]] == [(2, "missing")]


def test_a_number_that_stands_for_no_value_is_kept_and_told(client):
    told = client.post("/api/readings/", json={"sensor_id": register(client), "raw_value": -999.25}).json
    assert (told["accepted"], told["warnings"][0].partition(",")[0]) == (1, "raw_value is -999.25 1 times")


def test_fields_that_nobody_reads_are_told(client):
    reading = {"sensor_id": register(client), "raw_value": 4.05, "unité": "bar", "id": 3}
    assert client.post("/api/readings/", json=reading).json["ignored_fields"] == ["id", "unité"]


def test_a_half_wrong_file_is_refused_whole_or_taken_in_part_on_request(client):
    sensor = register(client)
    good = {"sensor_id": sensor, "raw_value": 1.0, "timestamp": "2026-01-05T10:00:00Z"}
    sent = [
        good,
        {**good, "raw_value": "high"},
        {**good, "sensor_id": 999_999},
        {**good, "timestamp": "soon"},
        {**good, "raw_value": 1e200},
    ]
    refused = client.post("/api/readings/", json=sent)
    assert refused.status_code == 422
    assert [error["record"] for error in refused.json["errors"]] == [2, 3, 4, 5]
    assert client.get(f"/api/readings/?sensor_id={sensor}").json["count"] == 0
    taken = client.post("/api/readings/?skip_invalid=1", json=sent)
    assert (taken.json["accepted"], len(taken.json["rejected"])) == (1, 4)
    assert client.get(f"/api/readings/?sensor_id={sensor}").json["count"] == 1


def lines_of(sensor):
    """Return a wrong CSV and NDJSON text, each with two right lines and the numbers of its wrong ones."""
    day = "2026-01-05"
    csv = f"sensor_id,timestamp,raw_value\n{sensor},{day},1\n\n{sensor},{day},2,3\n{sensor},{day},x\n"
    csv += f"{sensor},2026-01-06,4\n"
    record = '{"sensor_id": %d, "raw_value": %s, "timestamp": "2026-01-05T10:00:00Z"}'
    ndjson = [record % (sensor, 1), "", "{bad", record % (sensor, '"x"'), record % (sensor, 4), '"\\u0000"']
    return [(csv, "text/csv", [4, 5]), ("\n".join(ndjson), "application/x-ndjson", [3, 4, 6])]


@pytest.mark.parametrize("form", [0, 1])
def test_every_wrong_line_of_a_text_is_named_by_its_own_number(client, form):
    sensor = register(client)
    text, kind, wrong = lines_of(sensor)[form]
    refused = client.post("/api/readings/", data=text.encode(), content_type=kind)
    assert refused.status_code == 422, refused.json
    assert [error["record"] for error in refused.json["errors"]] == wrong
    assert client.get(f"/api/readings/?sensor_id={sensor}").json["count"] == 0
    taken = client.post("/api/readings/?skip_invalid=1", data=text.encode(), content_type=kind)
    assert [fault["record"] for fault in taken.json["rejected"]] == wrong
    stored = client.get(f"/api/readings/?sensor_id={sensor}").json["results"]
    assert [row["raw_value"] for row in stored] == [1.0, 4.0]


def test_readings_page_and_narrow_by_time(client):
    sensor = register(client)
    client.post("/api/readings/?detect=0", json=readings(sensor, 25))
    found: list[dict[str, Any]] = []
    cursor = 0
    while cursor is not None:
        page = client.get(f"/api/readings/?sensor_id={sensor}&limit=10&cursor={cursor}").json
        found, cursor = found + page["results"], page["next_cursor"]
    assert len({row["id"] for row in found}) == 25
    since = (START + timedelta(hours=20)).isoformat().replace("+", "%2B")
    assert client.get(f"/api/readings/?sensor_id={sensor}&since={since}").json["count"] == 5


def test_an_odd_reading_is_recorded_as_an_episode_and_judged_by_a_person(client, trained):
    at = "2026-02-01T10:00:00Z"
    body = {"sensor_id": trained, "reading_value": 200.0, "timestamp": at}
    found = client.post("/api/enhanced-anomaly-detection/", json=body).json
    assert (found["is_anomaly"], found["model_used"], found["severity"]) == (
        True,
        "composite",
        "Critical",
    )
    unrecorded = client.post("/api/enhanced-anomaly-detection/?store=0", json=body).json
    assert unrecorded["anomaly_id"] is None
    row = client.get(f"/api/anomalies/{found['anomaly_id']}").json
    assert (row["value"], row["resolved"], row["sensor_id"]) == (200.0, False, trained)
    judged = client.patch(f"/api/anomalies/{row['id']}", json={"resolved": True, "verdict": "confirmed"}).json
    assert (judged["resolved"], judged["verdict"]) == (True, "confirmed")
    assert judged["resolved_at"] is not None
    taken_back = client.patch(f"/api/anomalies/{row['id']}", json={"verdict": None}).json
    assert (taken_back["resolved"], taken_back["verdict"]) == (True, None)
    many = [{**body, "reading_value": value} for value in (52.0, 300.0)]
    verdicts = client.post("/api/enhanced-anomaly-detection/", json={"readings": many}).json["results"]
    assert [verdict["is_anomaly"] for verdict in verdicts] == [False, True]


def test_readings_are_checked_on_arrival(client, trained):
    sent = {"sensor_id": trained, "raw_value": -300.0, "timestamp": "2026-03-01T10:00:00Z"}
    odd = client.post("/api/readings/", json=sent).json["anomalies"]
    assert [found["is_anomaly"] for found in odd] == [True]
    assert client.get(f"/api/anomalies/?sensor_id={trained}&resolved=false").json["count"] >= 1


def test_drift_and_calibration_answer_with_interval_and_uncertainty(client, trained):
    drift = client.get(f"/api/drift-prediction/?sensor_id={trained}&future_points=3").json
    assert drift["model_used"] == "linear_regression"
    assert len(drift["predictions"]) == 3
    assert drift["predictions"][0]["low"] < drift["predictions"][0]["high"]
    before = client.get(f"/api/calibrations/?sensor_id={trained}&source=manual").json["count"]
    corrected = client.post("/api/adaptive-calibration/", json={"sensor_id": trained, "raw_value": 52.0}).json
    assert corrected["model_used"] == "mean_offset"
    assert corrected["corrected_value"] == pytest.approx(53.0, abs=1.5)
    assert corrected["uncertainty"] > 0
    far = client.post("/api/adaptive-calibration/", json={"sensor_id": trained, "raw_value": 900.0}).json
    assert far["model_used"] == "linear_correction"
    assert "beyond the calibrated range" in far["fallback_reason"]
    after = client.get(f"/api/calibrations/?sensor_id={trained}&source=manual").json["count"]
    assert after == before


def test_detections_forecasts_and_corrections_are_kept_and_reproduced(client, trained):
    at = "2026-02-01T10:00:00Z"
    many = [{"sensor_id": trained, "reading_value": value, "timestamp": at} for value in (52.0, 300.0)]
    detections = client.post("/api/enhanced-anomaly-detection/", json={"readings": many}).json["results"]
    drift = client.get(f"/api/drift-prediction/?sensor_id={trained}&future_points=3").json
    correction = client.post(
        "/api/adaptive-calibration/", json={"sensor_id": trained, "raw_value": 52.0}
    ).json
    assert detections[0]["prediction_id"] == detections[1]["prediction_id"], "one request, one version"
    for answer, kind, inputs in (
        (detections[0], "anomaly", 2),
        (drift, "drift", 1),
        (correction, "calibration", 1),
    ):
        explained = client.get(f"/predictions/{answer['prediction_id']}").json
        assert (explained["model"], explained["inputs"]) == (f"sensors/{trained}-{kind}", inputs)
        assert explained["model_version"] == answer["model_version"]
        assert (explained["reproduction"]["identical"], explained["champion"]["agrees"]) == (True, True)
        assert explained["training"]["first"] < explained["training"]["last"]
        assert explained["predictions"][0]["model_used"] == answer["model_used"]


def test_without_a_model_the_fallback_answers_and_says_so(client):
    sensor = register(client, max_value=60.0)
    body = {"sensor_id": sensor, "reading_value": 70.0}
    found = client.post("/api/enhanced-anomaly-detection/", json=body).json
    assert (found["is_anomaly"], found["model_used"]) == (True, "threshold")
    assert "prediction_id" not in found, "no version could reproduce it"
    assert "no champion" in found["fallback_reason"]
    client.post("/api/readings/?detect=0", json=readings(sensor, 5))
    assert client.get(f"/api/drift-prediction/?sensor_id={sensor}").json["model_used"] == "linear_trend"
    corrected = client.post("/api/adaptive-calibration/", json={"sensor_id": sensor, "raw_value": 5.0}).json
    assert (corrected["model_used"], corrected["corrected_value"]) == ("none", 5.0)


def test_too_little_data_is_an_error_that_names_the_minimum(client):
    sensor = register(client)
    client.post("/api/readings/?detect=0", json=readings(sensor, 7))
    answer = client.post("/api/model-training/", json={"sensor_id": sensor, "model_type": "anomaly"})
    assert answer.status_code == 422
    assert answer.json["error"] == "Not enough data: 7 readings, at least 10 needed"
    assert answer.json["results"][0]["trained"] is False


def test_a_fleet_can_be_followed_instead_of_waited_for(client, trained):
    body = {"sensor_id": trained, "model_type": "all"}
    begun = client.post("/api/model-training/", json=body, headers={"Prefer": "respond-async"})
    assert (begun.status_code, begun.json["is_training"]) == (202, True)
    eventually(lambda: client.get(begun.headers["Location"]).json["state"] not in ("queued", "running"))
    session = client.get(begun.headers["Location"]).json
    assert session["state"] == "completed", session
    assert {item["name"].split("-")[1] for item in session["models"]} == {"anomaly", "drift", "calibration"}
    assert all(item["version"] >= 2 for item in session["models"])


def test_a_fleet_that_failed_is_tried_again_when_the_data_is_there(client):
    sensor = register(client)
    order = {"sensor_id": sensor, "model_type": "anomaly"}
    failed = client.post("/api/model-training/", json=order).json
    assert client.post("/api/readings/?detect=0", json=readings(sensor, 60)).status_code == 201
    path = f"/train/sessions/{failed['training_session_id']}"
    assert "at least 10 needed" in client.get(path).json["models"][0]["error"]
    tried = client.post(f"{path}/retry")
    assert (tried.status_code, tried.json["state"]) == (200, "completed"), tried.json
    assert client.get(f"/api/model-training/?sensor_id={sensor}").json["results"][0]["version"] == 1
    assert client.post(f"/train/sessions/{tried.json['training_session_id']}/retry").status_code == 409


def test_the_trained_models_are_listed_and_quality_is_measured(client, trained):
    listed = client.get(f"/api/model-training/?sensor_id={trained}").json["results"]
    assert [row["model_type"] for row in listed] == ["anomaly", "calibration", "drift"]
    assert all(row["size_bytes"] > 0 and row["stale"] is False for row in listed)
    found = client.get("/api/ml-analytics/").json
    assert found["quality"]["anomaly"]["budget_per_week"] == 1.0
    assert found["quality"]["drift"]["backtest_mae"] > 0
    assert 0 < found["coverage"]["anomaly"] <= 1
    asked = client.post("/api/auto-train/", json={"dry_run": True}).json
    assert f"{trained}-anomaly" not in {*asked["due"], *asked["insufficient_data"]}


def test_trained_models_have_pages_that_stay_when_models_come_and_go(client, trained):
    register(client)
    whole = [row["model"] for row in client.get("/api/model-training/?limit=1000").json["results"]]
    found: list[dict[str, Any]] = []
    cursor = 0
    while cursor is not None:
        page = client.get(f"/api/model-training/?limit=2&cursor={cursor}").json
        found, cursor = found + [row["model"] for row in page["results"]], page["next_cursor"]
    assert found == whole
    assert whole[:3] == [f"sensors/{trained}-{kind}" for kind in ("anomaly", "calibration", "drift")]


def test_an_answer_names_a_part_of_a_fleet_and_counts_all(client, trained, monkeypatch):
    register(client)
    monkeypatch.setattr("api.sensors.model_training.MAX_LISTED_MODELS", 1)
    asked = client.post("/api/auto-train/", json={"dry_run": True}).json
    assert asked["insufficient_data_count"] > len(asked["insufficient_data"]) == 1
    body = {"sensor_id": trained, "model_type": "all", "options": {"trees": 5}}
    told = client.post("/api/model-training/", json=body).json
    assert (len(told["results"]), told["results_count"]) == (1, 3)


def test_quality_is_read_from_some_models_of_a_fleet_and_told_so(client, trained, monkeypatch):
    every = client.get("/api/ml-analytics/").json
    assert every["measured_on"] == every["models"] > 0
    monkeypatch.setattr("api.sensors.model_training.MAX_EVALUATED_MODELS", 0)
    none = client.get("/api/ml-analytics/").json
    assert (none["measured_on"], none["models"]) == (0, every["models"])


def test_models_of_a_deleted_sensor_cover_nobody(client):
    sensor = register(client)
    client.post("/api/readings/?detect=0", json=readings(sensor, 20))
    body = {"sensor_id": sensor, "model_type": "anomaly"}
    assert client.post("/api/model-training/", json=body).status_code == 200
    before = client.get("/api/ml-analytics/").json
    client.delete(f"/api/sensors/{sensor}")
    assert client.get("/api/ml-analytics/").json["models"] == before["models"] - 1


def test_a_fleet_that_no_session_can_hold_is_refused_with_a_way_out(client, trained, monkeypatch):
    monkeypatch.setattr("api.sensors.model_training.MAX_BATCH_MODELS", 2)
    refused = client.post("/api/model-training/", json={"model_type": "all"})
    assert refused.status_code == 422
    assert "train_models.py --all-sensors" in refused.json["error"]


def test_an_order_of_upkeep_is_an_object(client):
    assert client.post("/api/auto-train/", json=[]).status_code == 422


def test_quality_of_a_sensors_data(client, trained):
    found = client.get(f"/api/sensors/{trained}/quality").json
    assert found["readings"] >= 400
    assert found["interval_seconds"] == 3600


def test_a_chart_has_the_extremes_of_every_pixel_column(client, trained):
    full = client.get(f"/api/sensors/{trained}/chart").json
    assert full["readings"] == client.get(f"/api/sensors/{trained}/quality").json["readings"]
    thinned = client.get(f"/api/sensors/{trained}/chart?columns=20").json
    assert len(thinned["columns"]) <= 20
    assert sum(column["readings"] for column in thinned["columns"]) == full["readings"]
    for extreme, of_all in (("low", min), ("high", max)):
        extremes = [of_all(column[extreme] for column in chart["columns"]) for chart in (thinned, full)]
        assert extremes[0] == extremes[1]
    refused = client.get(f"/api/sensors/{trained}/chart?columns=1001")
    assert refused.status_code == 422
    assert "columns" in refused.json["validation_errors"][0]


def test_what_does_not_exist_is_not_found(client):
    for path in ("sensors", "readings", "calibrations", "anomalies"):
        assert client.get(f"/api/{path}/123456").status_code == 404
        assert client.delete(f"/api/{path}/123456").status_code == 404
    assert client.get("/api/drift-prediction/?sensor_id=123456").status_code == 404
    body = {"sensor_id": 123_456, "reading_value": 1.0}
    assert client.post("/api/enhanced-anomaly-detection/", json=body).status_code == 404
    assert (
        client.post("/api/calibrations/", json={"sensor_id": 123_456, "corrected_value": 1.0}).status_code
        == 404
    )


@pytest.mark.parametrize("options", [{"trees": 5, "seed": 7}, {"options": {"trees": 5}, "seed": 7}])
def test_options_of_a_training_are_taken_flat_or_nested(client, options):
    sensor = register(client)
    assert client.post("/api/readings/?detect=false", json=readings(sensor, 30)).status_code == 201
    body = {"sensor_id": sensor, "model_type": "anomaly", **options}
    session = client.post("/api/model-training/", json=body).json["training_session_id"]
    stored = client.get(f"/train/sessions/{session}").json["options"]
    assert (stored["trees"], stored["seed"]) == (5, 7)


@pytest.mark.parametrize(
    "options", [{"trees": 5, "algorithm": "isolation_forest"}, {"options": {"trees": 5}}]
)
def test_a_sensor_model_takes_its_options_as_the_body(client, options):
    sensor = register(client)
    assert client.post("/api/readings/?detect=false", json=readings(sensor, 30)).status_code == 201
    answer = client.post(f"/train/sensors/{sensor}-anomaly", json=options)
    assert answer.status_code == 200, answer.json
    stored = client.get(f"/train/sessions/{answer.json['training_session_id']}").json["options"]
    assert stored["trees"] == 5


def test_an_unknown_field_of_a_training_is_refused(client, trained):
    body = {"sensor_id": trained, "model_type": "anomaly", "threes": 5}
    answer = client.post("/api/model-training/", json=body)
    assert answer.status_code == 422
    assert "threes" in answer.json["validation_errors"][0]


def test_tenants_do_not_see_each_others_rows(app, client, trained):
    keys = app.extensions["millwright"].keys
    own, other = (
        {"Authorization": f"Bearer {keys.create('admin', tenant)[0]}"} for tenant in ("default", "rival")
    )
    rows = {
        path: client.get(f"/api/{path}/", headers=own).json["results"]
        for path in ("sensors", "readings", "calibrations", "anomalies")
    }
    for path, mine in rows.items():
        assert mine
        assert client.get(f"/api/{path}/", headers=other).json["results"] == []
        for method in ("get", "delete"):
            answer = getattr(client, method)(f"/api/{path}/{mine[0]['id']}", headers=other)
            assert answer.status_code == 404
        answer = client.patch(f"/api/{path}/{mine[0]['id']}", json={}, headers=other)
        assert answer.status_code in (404, 422)
    for method, path, body in (
        ("get", f"/api/sensors/{trained}/quality", None),
        ("get", f"/api/sensors/{trained}/chart", None),
        ("get", f"/api/drift-prediction/?sensor_id={trained}", None),
        ("post", "/api/adaptive-calibration/", {"sensor_id": trained, "raw_value": 1.0}),
        ("post", "/api/enhanced-anomaly-detection/", {"sensor_id": trained, "reading_value": 1.0}),
        ("post", "/api/model-training/", {"sensor_id": trained}),
        ("post", "/api/calibrations/", {"sensor_id": trained, "corrected_value": 1.0}),
        ("post", "/api/anomalies/", {"sensor_id": trained, "type": "Spike", "value": 1.0}),
        ("post", f"/predict/sensors/{trained}-anomaly", {"value": 1.0}),
        ("post", f"/train/sensors/{trained}-anomaly", None),
    ):
        answer = getattr(client, method)(path, headers=other, **({"json": body} if body else {}))
        assert answer.status_code == 404, (path, answer.json)
    sent = client.post("/api/readings/", json={"sensor_id": trained, "raw_value": 1.0}, headers=other)
    assert sent.status_code == 422
    assert client.get("/api/ml-analytics/", headers=other).json["sensors"] == 0
    assert client.get("/api/model-training/", headers=other).json["count"] == 0
