"""A sensor's tag stands wherever its number does, and readings of unknown tags are not lost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from flask.testing import FlaskClient
from pyarrow.parquet import write_table

from api.sensors.reading_tags import TagNumbers
from errors import StorageFailed
from storage.datasets.columnar import read_rows_in_child
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.sensors import Sensors
from storage.sensors.waiting_readings import UnknownReadings, WaitingReadings

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


def test_a_tag_names_the_models_of_its_sensor(client: FlaskClient) -> None:
    number = _sensor(client)["id"]
    assert client.post("/api/readings/?detect=0", json=_readings(TAG)).status_code == 201
    asked = {"value": 5.0}
    by_tag = client.post(f"/predict/sensors/{TAG}-anomaly", json=asked).get_json()
    by_number = client.post(f"/predict/sensors/{number}-anomaly", json=asked).get_json()
    assert by_tag["code"] == by_number["code"] == "no_champion" and by_tag["error"] == by_number["error"]
    assert f"sensors/{number}-anomaly" in client.post(f"/train/sensors/{TAG}-anomaly?dry_run=1").text
    unknown = client.get("/models/sensors/TI-9-drift")
    assert unknown.status_code == 404 and "No sensor has the tag 'TI-9'" in unknown.text
    assert client.get("/models/sensors/TI-9").status_code == 404


@pytest.mark.parametrize("tag", ["1023", " TI", "TI\n", "", "  ", "TI\u00a0", "TI\u200b1"])
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


def test_columns_have_the_names_that_the_sender_gives(client: FlaskClient) -> None:
    for tag in ("FI-1", "FI-2"):
        _sensor(client, tag=tag)
    wide = "Zeit;FI-1;FI-2\n05.11.2026 10:00;4,5;\n05.11.2026 11:00;5;7\n"
    query = {"wide": 1, "time_column": "Zeit"}

    def post(path: str, text: str, query: dict[str, object]) -> dict:
        return client.post(path, data=text, content_type="text/csv", query_string=query).get_json()

    assert post("/api/readings/", wide, query)["accepted"] == 3
    long = "when,point,reading\n2026-11-05T12:00:00Z,FI-1,6\n"
    query = {"time_column": "when", "tag_column": "point", "value_column": "reading"}
    assert post("/api/readings/", long, query)["accepted"] == 1
    stored = client.get("/api/readings/", query_string={"tag": "FI-1"}).get_json()["results"]
    assert [(row["timestamp"], row["raw_value"]) for row in stored] == [
        ("2026-11-05T10:00:00Z", 4.5),
        ("2026-11-05T11:00:00Z", 5.0),
        ("2026-11-05T12:00:00Z", 6.0),
    ]
    refused = post("/api/readings/", long, {"value_column": "temperature"})
    assert "there is no column 'temperature' for raw_value, there is: when" in str(refused)

    query = {"time_column": "when", "tag_column": "machine"}
    rows = "when,machine,current_mean\n2026-11-05T12:00:00Z,P-1,6\n"
    assert post("/api/telemetry", rows, query)["accepted"] == 1
    stops = "when,machine,event_type\n2026-11-05T12:00:00Z,P-1,bearing\n"
    assert post("/api/failure-events", stops, query)["accepted"] == 1
    (event,) = client.get("/api/failure-events").get_json()["results"]
    assert (event["device_id"], event["event_time"]) == ("P-1", "2026-11-05T12:00:00Z")


def test_parquet_and_arrow_bodies_are_tables(client: FlaskClient) -> None:
    sensor = _sensor(client, tag="FI-1")["id"]
    at = [datetime(2026, 11, 5, hour, tzinfo=UTC) for hour in (10, 11, 12)]
    times = pa.array(at, pa.timestamp("ns", "UTC"))
    table = pa.table({"sensor_id": [sensor] * 3, "raw_value": [4.5, 5.0, 6.0], "timestamp": times})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    kind = "application/vnd.apache.arrow.stream"
    answer = client.post("/api/readings/", data=sink.getvalue().to_pybytes(), content_type=kind)
    assert answer.get_json()["accepted"] == 3, answer.text
    (_, row, _) = client.get("/api/readings/", query_string={"tag": "FI-1"}).get_json()["results"]
    assert (row["timestamp"], row["raw_value"]) == ("2026-11-05T11:00:00Z", 5.0)

    sink = pa.BufferOutputStream()
    channels = {
        "device_id": ["P-1"] * 3,
        "timestamp": times,
        "current_mean": [1, None, float("nan")],
        "rpm": [1, 2, 3],
    }
    write_table(pa.table(channels), sink)
    kind = "application/vnd.apache.parquet"
    answer = client.post("/api/telemetry", data=sink.getvalue().to_pybytes(), content_type=kind)
    assert answer.get_json()["accepted"] == 3, answer.text
    assert len(read_rows_in_child(sink.getvalue().to_pybytes(), max_rows=1)) == 2
    answer = client.post("/api/telemetry", data=b"PAR1 is not all of it", content_type=kind)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed")
    assert "cannot be read as Parquet or Arrow" in answer.get_json()["error"]


def test_a_wide_body_has_a_limit_of_readings(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.sensors.readings.MAX_READINGS", 3)
    _sensor(client, tag="FI-1")
    text = "timestamp,FI-1,FI-2\n2026-11-05T10:00:00Z,1,2\n2026-11-05T11:00:00Z,1,2\n"
    answer = client.post("/api/readings/?wide=1", data=text, content_type="text/csv")
    (fault,) = answer.get_json()["errors"]
    assert (fault["code"], fault["value"]) == ("count", None)
    assert answer.get_json()["validation_errors"] == ["Expected 1 to 3 readings, got more than 3"]


@pytest.mark.parametrize("query", ["", "&skip_invalid=1", "&on_unknown=queue"])
def test_a_wide_table_without_a_filled_cell_is_refused(client: FlaskClient, query: str) -> None:
    text = "timestamp,FI-1,FI-2\n2026-11-05T10:00:00Z,,\n2026-11-05T11:00:00Z,NaN,\n"
    answer = client.post(f"/api/readings/?wide=1{query}", data=text, content_type="text/csv")
    assert answer.status_code == 422, answer.text
    (fault,) = answer.get_json()["errors"]
    assert (fault["code"], fault["value"]) == ("count", 0)
    assert answer.get_json()["validation_errors"] == [
        "Expected 1 to 500,000 readings, got none: every cell beside the times is empty"
    ]


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


def test_a_tag_is_registered_for_one_sensor_only(client: FlaskClient) -> None:
    first, second = _sensor(client, tag="TI-1"), _sensor(client, tag=None)
    client.post("/api/readings/?on_unknown=queue", json=_readings("TI-9"))
    register = "/api/unknown-tags/register"
    for body in ({"tag": "TI-9", "sensor_id": first["id"]}, {"tag": "TI-1", "sensor_id": second["id"]}):
        answer = client.post(register, json=body)
        assert (answer.status_code, answer.get_json()["code"]) == (409, "conflict")
    assert client.get(f"/api/sensors/{first['id']}").get_json()["tag"] == "TI-1"
    done = client.post(register, json={"tag": "TI-9", "sensor_id": second["id"]}).get_json()
    assert (done["sensor_id"], done["readings"]) == (second["id"], 3)


def test_readings_are_stored_with_those_that_wait_or_not_at_all(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _sensor(client)
    monkeypatch.setattr("storage.sensors.waiting_readings.MAX_READINGS", 0)
    body = [*_readings(TAG), *_readings("TI-9")]
    for detect in (0, 1):
        full = client.post(f"/api/readings/?on_unknown=queue&detect={detect}", json=body)
        assert full.status_code == 409
    assert client.get("/api/readings/").get_json()["count"] == 0
    monkeypatch.undo()
    monkeypatch.setattr("storage.sensors.readings._update_sensors", _fail)
    assert client.post("/api/readings/?on_unknown=queue", json=body).status_code == 500
    assert client.get("/api/unknown-tags").get_json()["count"] == 0


def _fail(*given: object) -> None:
    raise StorageFailed("The disk is full")


def _register_after_settling(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, tag: str) -> None:
    """Let a sensor get a tag while readings of it are on their way to those that wait."""

    def settle_late(tags: TagNumbers, block: ReadingBlock) -> tuple[ReadingBlock, UnknownReadings | None]:
        monkeypatch.setattr(TagNumbers, "settle", settle)
        settled = tags.settle(block)
        _sensor(client, tag=tag)
        return settled

    settle = TagNumbers.settle
    monkeypatch.setattr(TagNumbers, "settle", settle_late)


def test_readings_of_a_tag_that_is_registered_meanwhile_do_not_wait(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register_after_settling(client, monkeypatch, "TI-9")
    body = [*_readings("TI-9"), *_readings("TI-8", 2)]
    answer = client.post("/api/readings/?on_unknown=queue", json=body).get_json()
    assert (answer["accepted"], answer["waiting"]) == (3, 2)
    assert [row["tag"] for row in client.get("/api/unknown-tags").get_json()["results"]] == ["TI-8"]
    assert client.get("/api/readings/", query_string={"tag": "TI-9"}).get_json()["count"] == 3


def test_readings_that_a_new_sensor_cannot_take_now_go_on_waiting(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _register_after_settling(client, monkeypatch, "TI-9")
    monkeypatch.setattr("storage.sensors.readings._update_sensors", _fail)
    # What is stored is not refused: the sender would send it a second time.
    answer = client.post("/api/readings/?on_unknown=queue", json=_readings("TI-9"))
    assert answer.status_code == 201, answer.text
    assert (answer.get_json()["accepted"], answer.get_json()["waiting"]) == (0, 3)
    _assert_told(answer.get_json(), "3 readings", "TI-9")
    client.post("/api/readings/?on_unknown=queue", json=_readings("TI-8"))
    _assert_told(_sensor(client, tag="TI-8"), "3 readings", "TI-8")
    monkeypatch.undo()
    for tag in ("TI-8", "TI-9"):
        done = client.post("/api/unknown-tags/register", json={"tag": tag}).get_json()
        assert done["readings"] == 3
    assert client.get("/api/unknown-tags").get_json()["count"] == 0


def _assert_told(answer: dict, *words: str) -> None:
    """Assert that a warning names what waits, and why."""
    (warning,) = answer["warnings"]
    assert all(word in warning for word in (*words, "The disk is full", "they wait")), warning


def test_what_waits_for_a_new_tag_is_told_and_stored_later(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever call gives the tag to a sensor; the server stores the readings by itself."""
    for tag in ("TI-1", "TI-2", "TI-3", "TI-4"):
        client.post("/api/readings/?on_unknown=queue", json=_readings(tag))
    other = _sensor(client, tag=None)
    monkeypatch.setattr(WaitingReadings, "adopt", _fail)
    _assert_told(_sensor(client, tag="TI-1"), "3 readings", "TI-1")
    patched = client.patch(f"/api/sensors/{other['id']}", json={"tag": "TI-2"})
    assert patched.status_code == 200, patched.text
    _assert_told(patched.get_json(), "3 readings", "TI-2")
    registered = client.post("/api/unknown-tags/register", json={"tag": "TI-3"})
    assert (registered.status_code, registered.get_json()["readings"]) == (201, 0), registered.text
    _assert_told(registered.get_json(), "3 readings", "TI-3")
    created = client.post("/api/readings/?on_unknown=create&detect=0", json=_readings("TI-4", 1))
    assert created.status_code == 201, created.text
    _assert_told(created.get_json(), "3 readings", "TI-4")
    assert client.get("/api/unknown-tags").get_json()["count"] == 4
    monkeypatch.undo()

    waiting = client.application.extensions["millwright"].sensors.waiting
    assert waiting.adopt_due() == 12
    assert client.get("/api/unknown-tags").get_json()["count"] == 0
    counts = [client.get(f"/api/readings/?tag=TI-{number}").get_json()["count"] for number in (1, 2, 3, 4)]
    assert counts == [3, 3, 3, 4]
    assert "warnings" not in client.patch(f"/api/sensors/{other['id']}", json={"unit": "K"}).get_json()


def test_tags_of_many_readings_are_looked_up_at_once(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _sensor(client, tag="TI-1", value=5)
    _sensor(client, tag="TI-2", value=5)
    find, lookups = Sensors.find_tags, []

    def count(table: Sensors, tenant: str, tags: Iterable[str]) -> dict[str, int]:
        lookups.append(list(tags))
        return find(table, tenant, lookups[-1])

    monkeypatch.setattr(Sensors, "find_tags", count)
    readings = [{"tag": f"TI-{1 + number % 2}", "reading_value": 5} for number in range(20)]
    answer = client.post("/api/enhanced-anomaly-detection/", json={"readings": readings})
    assert answer.status_code == 200, answer.text
    assert len(lookups) == 1
    readings[7]["tag"] = "TI-3"
    wrong = client.post("/api/enhanced-anomaly-detection/", json={"readings": readings})
    assert (wrong.status_code, "no sensor with the tag 'TI-3'" in wrong.text) == (422, True)


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


@pytest.mark.parametrize(
    ("path", "table", "values"),
    [
        (
            "/api/readings/",
            "sensor_id,tag,raw_value,timestamp\n1,2,4,2026-01-05T14:30:22Z\n",
            "sensor_id (1) and tag (2)",
        ),
        (
            "/api/telemetry",
            "device_id,device,timestamp,a\nP-1,P-2,2026-01-05T14:30:22Z,1\n",
            "device_id (P-1) and device (P-2)",
        ),
        (
            "/api/failure-events",
            "device_id,timestamp,event_time\nP-1,2026-01-05,2026-01-06\n",
            "event_time (2026-01-06) and timestamp (2026-01-05)",
        ),
    ],
)
def test_two_values_of_one_field_are_refused(client: FlaskClient, path: str, table: str, values: str) -> None:
    for query in ("", "?skip_invalid=1"):
        refused = client.post(path + query, data=table, content_type="text/csv")
        assert refused.status_code == 422
        assert refused.get_json()["validation_errors"] == [
            f"Record 2: {values} are two values of one field: leave one out"
        ]
    assert client.get(path).get_json()["count"] == 0


def test_the_column_that_the_sender_names_counts(client: FlaskClient) -> None:
    table = "device_id,device,timestamp,a\nP-1,P-2,2026-01-05T14:30:22Z,1\n"
    answer = client.post("/api/telemetry?tag_column=device_id", data=table, content_type="text/csv")
    assert answer.status_code == 201
    assert client.get("/api/telemetry").get_json()["results"][0]["device_id"] == "P-1"


@pytest.mark.parametrize("name", ["epoch_ms", "time_ms", "timestamp_utc", "unix_time"])
def test_a_time_with_its_unit_is_not_taken_for_a_channel(client: FlaskClient, name: str) -> None:
    row = {"device_id": "P-1", name: 1736000000000, "a": 1}
    refused = client.post("/api/telemetry", json=row)
    assert refused.status_code == 422
    assert "looks like its time" in refused.get_json()["validation_errors"][0]
    assert client.post("/api/telemetry", json={"device_id": "P-1", "cycle_time_ms": 5}).status_code == 201


def test_a_wide_table_without_a_time_names_its_own_columns(client: FlaskClient) -> None:
    table = "Datum;Zeit;13\n05.01.2025;16:20;4,1\n"
    refused = client.post("/api/readings/?wide=1", data=table, content_type="text/csv")
    assert refused.get_json()["validation_errors"] == [
        "Record 2: timestamp is missing, there is: Datum, 13; time_column names the column of the times"
    ]
