"""Telemetry and failures over HTTP: in every format, narrowed, removed, and never another tenant's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.api.conformance import problems_of
from tests.api.conftest import open_app, settings_in

START = datetime(2026, 1, 5, tzinfo=UTC)
TELEMETRY, FAILURES = "/api/telemetry", "/api/failure-events"


LENIENT = {
    "operations": [
        {
            # a number or a time may be a text, an empty one too, as in the tables that these rows come from
            "include-path": [TELEMETRY],
            "checks": {"negative_data_rejection": {"enabled": False}},
        }
    ]
}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    yield from open_app(settings_in(tmp_path_factory.mktemp("devices")))


@pytest.fixture
def client(app):
    return app.test_client()


def rows(device: str, count: int = 5) -> list[dict]:
    return [
        {
            "device_id": device,
            "timestamp": (START + timedelta(hours=n)).isoformat(),
            "current_mean": n,
            "oil": n,
        }
        for n in range(count)
    ]


def test_rows_come_as_json_ndjson_and_csv(client):
    assert client.post(TELEMETRY, json=rows("F-1")[0]).json["accepted"] == 1
    assert client.post(TELEMETRY, json=rows("F-1")[1:3]).json["accepted"] == 2
    line = '{"device_id": "F-1", "timestamp": "2026-01-05T03:00:00Z", "oil": 3}\n'
    answer = client.post(TELEMETRY, data=line, content_type="application/x-ndjson")
    assert answer.json["accepted"] == 1, answer.json
    text = "device_id;timestamp;current_mean;oil\nF-1;2026-01-05T04:00:00Z;4,5;\n"
    answer = client.post(TELEMETRY, data=text, content_type="text/csv")
    assert answer.status_code == 201, answer.json
    told = client.get(f"{TELEMETRY}?device_id=F-1").json["results"]
    assert [row.get("oil") for row in told] == [0, 1, 2, 3, None]
    assert told[-1]["current_mean"] == 4.5
    assert told[-1]["timestamp"].startswith("2026-01-05T04:00:00")
    assert "tenant_id" not in told[-1]


LONG = "?time_column=Zeit&tag_column=Anlage&channel_column=Signal&value_column=Wert"
LONG_TABLE = (
    "Zeit;Anlage;Signal;Wert;Status\n"
    "2026-01-05T00:00:00Z;L-1;temp;4,5;ok\n2026-01-05T01:00:00Z;L-1;temp;4,6;ok\n"
    "2026-01-05T00:00:00Z;L-1;oil;2;ok\n2026-01-05T01:00:00Z;L-1;oil;;ok\n"
)


def test_a_long_table_becomes_a_row_for_each_device_and_time(client):
    answer = client.post(TELEMETRY + LONG, data=LONG_TABLE.encode(), content_type="text/csv")
    assert answer.status_code == 201, answer.json
    assert (answer.json["accepted"], answer.json["ignored_fields"]) == (2, ["Status"])
    stored = client.get(f"{TELEMETRY}?device_id=L-1").json["results"]
    assert [(row.get("temp"), row.get("oil")) for row in stored] == [(4.5, 2), (4.6, None)]
    line = {"device_id": "L-2", "timestamp": "2026-01-05T00:00:00Z", "channel": 7, "value": 1}
    answer = client.post(
        f"{TELEMETRY}?channel_column=channel", json=[line, {**line, "channel": "8", "value": 2}]
    )
    assert answer.json["accepted"] == 1
    (row,) = client.get(f"{TELEMETRY}?device_id=L-2").json["results"]
    assert (row["7"], row["8"]) == (1, 2)


@pytest.mark.parametrize(
    ("change", "code"),
    [({"channel": None}, "missing"), ({"channel": "timestamp"}, "reserved"), ({"value": "much"}, "type")],
)
def test_a_wrong_line_of_a_long_table_is_named(client, change, code):
    line = {"device_id": "L-3", "timestamp": "2026-01-05T00:00:00Z", "channel": "oil", "value": 1}
    answer = client.post(f"{TELEMETRY}?channel_column=channel", json=[line, {**line, **change}])
    assert answer.status_code == 422
    assert [(fault["record"], fault["code"]) for fault in answer.json["errors"]] == [(2, code)]
    assert client.get(f"{TELEMETRY}?device_id=L-3").json["count"] == 0


def test_two_values_of_one_channel_and_time_are_refused(client):
    line = {"device_id": "L-4", "timestamp": "2026-01-05T00:00:00Z", "channel": "oil", "value": 1}
    for query in ("", "&skip_invalid=1"):
        lines = [line, {**line, "value": 2}, {**line, "channel": "temp"}]
        answer = client.post(f"{TELEMETRY}?channel_column=channel{query}", json=lines)
        faults = answer.json["rejected" if query else "errors"]
        assert [(fault["field"], fault["code"]) for fault in faults] == [("oil", "ambiguous")]
        assert "oil of L-4 has two values at 2026-01-05 00:00:00 UTC: 1 and 2" in str(answer.json)
    (row,) = client.get(f"{TELEMETRY}?device_id=L-4").json["results"]
    assert ("oil" in row, row["temp"]) == (False, 1)
    # The same value twice is none too many.
    assert client.post(f"{TELEMETRY}?channel_column=channel", json=[line, line]).json["accepted"] == 1


def test_a_long_table_names_its_columns(client):
    line = {"device_id": "L-5", "timestamp": "2026-01-05T00:00:00Z", "channel": "oil", "value": 1}
    refused = client.post(f"{TELEMETRY}?channel_column=signal", json=[line])
    assert "there is no column 'signal'" in refused.json["validation_errors"][0]
    refused = client.post(f"{TELEMETRY}?channel_column=channel&value_column=wert", json=[line])
    assert "there is no column 'wert'" in refused.json["validation_errors"][0]
    refused = client.post(TELEMETRY, json=[line, line])
    assert "channel_column names" in refused.json["validation_errors"][0]
    refused = client.post(f"{TELEMETRY}?value_column=value", json=[line])
    assert (refused.status_code, "channel_column" in str(refused.json)) == (422, True)
    empty = client.post(f"{TELEMETRY}?channel_column=channel", json=[{**line, "value": ""}])
    assert "every value is empty" in str(empty.json)


def test_a_list_is_narrowed_and_has_pages(client):
    client.post(TELEMETRY, json=rows("N-1", 10))
    since, until = "2026-01-05T02:00:00Z", "2026-01-05T05:00:00Z"
    page = client.get(f"{TELEMETRY}?device_id=N-1&since={since}&until={until}&limit=3").json
    assert [row["oil"] for row in page["results"]] == [2, 3, 4]
    rest = client.get(f"{TELEMETRY}?device_id=N-1&until={until}&cursor={page['next_cursor']}").json
    assert [row["oil"] for row in rest["results"]] == [5]
    one = page["results"][0]
    assert client.get(f"{TELEMETRY}/{one['id']}").json == one


@pytest.mark.parametrize(
    ("record", "field", "code"),
    [
        ({"timestamp": "2026-01-05T00:00:00Z", "oil": 1}, "device_id", "missing"),
        ({"device_id": "W", "timestamp": "2026-01-05", "oil": "much"}, "oil", "type"),
        ({"device_id": "W", "timestamp": "yesterday", "oil": 1}, "timestamp", "time"),
        ({"device_id": "W", "timestamp": "2026-01-05"}, None, "channels"),
        (
            {"device_id": "W", "timestamp": "2026-01-05", "oil": 1, "tenant_id": "another"},
            "tenant_id",
            "tenant",
        ),
        (3, None, "type"),
    ],
)
def test_a_wrong_row_is_named_and_stops_the_body_unless_some_are_wanted(client, record, field, code):
    answer = client.post(TELEMETRY, json=[rows("W")[0], record])
    assert answer.status_code == 422
    assert [(f["record"], f["field"], f["code"]) for f in answer.json["errors"]] == [(2, field, code)]
    assert client.get(f"{TELEMETRY}?device_id=W").json["count"] == 0
    some = client.post(f"{TELEMETRY}?skip_invalid=1", json=[rows("W")[0], record]).json
    assert (some["accepted"], len(some["rejected"])) == (1, 1)
    assert client.delete(f"{TELEMETRY}?device_id=W").json["deleted"] == 1


@pytest.mark.parametrize("route", [TELEMETRY, FAILURES])
def test_a_table_without_a_time_is_refused_once_with_what_may_be_meant(client, route):
    table = b"device_id;T;Date\n" + b"N-0;1;2020-01-01\n" * 3
    refused = client.post(route, data=table, content_type="text/csv")
    assert refused.status_code == 422
    (said,) = refused.json["validation_errors"]
    assert said.endswith("is missing, there is: device_id, T, Date; did you mean 'Date'?")
    refused = client.post(route, json={"device_id": "N-0", "T": 1, "time": "2020-01-01"})
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "time")
    refused = client.post(route, data=b"device_id;T\nN-0;1\n", content_type="text/csv")
    assert refused.status_code == 422
    assert client.get(f"{route}?device_id=N-0").json["count"] == 0


def test_fields_that_nobody_reads_are_told_and_channels_are_none_of_them(client):
    row = {"device_id": "I-1", "cycle_time": 3.2, "id": 7}
    assert client.post(TELEMETRY, json=row).json["ignored_fields"] == ["id"]
    event = {"device_id": "I-1", "event_time": "2026-02-01T10:00:00Z", "composant": "joint"}
    assert client.post(FAILURES, json=event).json["ignored_fields"] == ["composant"]


def test_what_events_were_taken_for_is_told(client):
    kinds = ["Maintenance", "maintenence", "remplacement préventif", "REPLACEMENT", "Failure", "inspection"]
    table = "device_id;event_time;event_type\n" + "".join(
        f"K-1;2026-03-0{n};{k}\n" for n, k in enumerate(kinds, 1)
    )
    told = client.post(FAILURES, data=table.encode(), content_type="text/csv").json
    assert told["event_counts"] == {"failures": 3, "planned_ends": 2, "harmless": 1}
    (warning,) = told["warnings"]
    assert "'maintenence' (1, did you mean maintenance?), 'remplacement préventif' (1" in warning
    kept = client.get(f"{FAILURES}?device_id=K-1").json["results"]
    assert [row["event_type"] for row in kept][::3] == ["maintenance", "replacement"]
    changed = client.patch(f"{FAILURES}/{kept[1]['id']}", json={"event_type": "MAINTENANCE"}).json
    assert changed["event_type"] == "maintenance"
    fine = client.post(FAILURES, json={"device_id": "K-1", "event_time": "2026-02-01T10:00:00Z"}).json
    assert (fine["event_counts"]["failures"], fine["warnings"]) == (1, [])


def test_a_number_that_stands_for_no_value_is_kept_and_told(client):
    told = client.post(TELEMETRY, json=[{**row, "oil": -9999} for row in rows("S-1", 3)]).json
    assert told["accepted"] == 3
    (warning,) = told["warnings"]
    assert warning.startswith("oil is -9999 3 times")
    assert client.post(TELEMETRY, json=rows("S-1", 3)).json["warnings"] == []


def test_nothing_happened_in_the_future(client):
    told = {"device_id": "F-2", "oil": 1, "timestamp": "2099-01-01T00:00:00Z"}
    refused = client.post(TELEMETRY, json=told)
    assert (refused.status_code, refused.json["errors"][0]["code"]) == (422, "future")
    refused = client.post(FAILURES, json={"device_id": "F-2", "event_time": "2099-01-01T00:00:00Z"})
    assert (refused.status_code, refused.json["errors"][0]["code"]) == (422, "future")
    kept = client.post(FAILURES, json={"device_id": "F-2", "event_time": "2026-01-02T00:00:00Z"})
    assert kept.status_code == 201
    number = client.get(f"{FAILURES}?device_id=F-2").json["results"][0]["id"]
    changed = client.patch(f"{FAILURES}/{number}", json={"event_time": "2099-01-01T00:00:00Z"})
    assert changed.status_code == 422


def test_rows_are_deleted_singly_and_by_condition_but_never_by_accident(client):
    client.post(TELEMETRY, json=rows("D-1", 6))
    first = client.get(f"{TELEMETRY}?device_id=D-1").json["results"][0]["id"]
    assert client.delete(f"{TELEMETRY}/{first}").status_code == 200
    assert client.get(f"{TELEMETRY}/{first}").status_code == 404
    assert client.delete(f"{TELEMETRY}?device_id=D-1&since=2026-01-05T04:00:00Z").json["deleted"] == 2
    assert client.delete(TELEMETRY).status_code == 422
    assert client.get(f"{TELEMETRY}?device_id=D-1").json["count"] == 3


def test_failures_are_made_listed_changed_and_deleted(client):
    event = {"device_id": "P-1", "event_time": "2026-02-01T10:00:00Z", "component_failed": "bearing"}
    assert client.post(FAILURES, json=[event, {**event, "event_type": "maintenance"}]).json["accepted"] == 2
    (told,) = client.get(f"{FAILURES}?device_id=P-1&event_type=failure").json["results"]
    assert (told["component_failed"], told["operating_hours_at_failure"]) == ("bearing", None)
    changed = client.patch(f"{FAILURES}/{told['id']}", json={"operating_hours_at_failure": 812.5})
    assert changed.json["operating_hours_at_failure"] == 812.5, changed.json
    assert client.get(f"{FAILURES}?until=2026-01-01T00:00:00Z").json["count"] == 0
    assert client.delete(f"{FAILURES}?device_id=P-1").json["deleted"] == 2
    refused = client.post(FAILURES, json={"device_id": "P-1"})
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "event_time")


def test_a_row_without_any_value_is_told(client):
    told = client.post(TELEMETRY, json={"device_id": "V-1", "oil": None, "current_mean": ""})
    assert told.status_code == 422
    assert "no value of any channel" in told.json["validation_errors"][0]


def test_every_answer_is_as_described(app):
    problems = problems_of(app, "/api/(telemetry|failure-events)", 10, LENIENT)
    assert not problems, "\n\n".join(problems)


def test_another_tenant_sees_and_deletes_nothing(app, client):
    client.post(TELEMETRY, json=rows("T-1"))
    client.post(FAILURES, json={"device_id": "T-1", "event_time": "2026-02-01T10:00:00Z"})
    number = client.get(f"{TELEMETRY}?device_id=T-1").json["results"][0]["id"]
    keys = app.extensions["millwright"].keys
    stranger = {"Authorization": f"Bearer {keys.create('admin', tenant='another')[0]}"}
    assert client.get(f"{TELEMETRY}?device_id=T-1", headers=stranger).json["count"] == 0
    assert client.get(FAILURES, headers=stranger).json["count"] == 0
    assert client.get(f"{TELEMETRY}/{number}", headers=stranger).status_code == 404
    assert client.delete(f"{TELEMETRY}/{number}", headers=stranger).status_code == 404
    assert client.delete(f"{TELEMETRY}?device_id=T-1", headers=stranger).json["deleted"] == 0
