"""Clients of InfluxDB write readings: the real one, and what Telegraf sends."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write.point import Point
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.domain.write_precision import WritePrecision
from influxdb_client.rest import ApiException
from werkzeug.serving import make_server

from api.sensors import line_protocol
from errors import BodyTooLarge, MalformedBody
from storage.text.line_protocol import parse_point

WRITE = "/api/v2/write"
AT = 1_767_623_422  # 2026-01-05T14:30:22Z


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()


def _add_sensor(client: FlaskClient, tag: str) -> int:
    body = {"name": tag, "type": "Temperature", "unit": "°C", "tag": tag}
    return client.post("/api/sensors/", json=body).get_json()["id"]


def _values(client: FlaskClient, tag: str) -> list[tuple[str, float]]:
    rows = client.get("/api/readings/", query_string={"tag": tag}).get_json()["results"]
    return [(row["timestamp"], row["raw_value"]) for row in rows]


def _write(client: FlaskClient, text: str, **query: str):
    return client.post(WRITE, data=text.encode(), content_type="text/plain", query_string=query)


@pytest.mark.parametrize("gzipped", [False, True])
def test_the_client_of_influxdb_writes_readings(client: FlaskClient, address: str, gzipped: bool) -> None:
    _add_sensor(client, "TI-1023.PV")
    at = datetime.fromtimestamp(AT, UTC)
    with InfluxDBClient(address, token="", org="plant", enable_gzip=gzipped) as influx:
        api = influx.write_api(write_options=SYNCHRONOUS)
        points = [
            Point("opcua").tag("tag", "TI-1023.PV").field("value", 71.5).time(at, WritePrecision.NS),
            Point("opcua").tag("tag", "TI-1023.PV").field("value", 72).time(AT + 1, WritePrecision.S),
        ]
        api.write("millwright", record=points[0])
        api.write("millwright", record=points[1], write_precision=WritePrecision.S)
        assert [value for _, value in _values(client, "TI-1023.PV")] == [71.5, 72.0]
        with pytest.raises(ApiException) as refused:
            api.write("millwright", record="not line protocol")
        assert refused.value.status == 400
        assert "unable to parse" in refused.value.message


def test_a_token_is_an_api_key(client: FlaskClient, app: Flask) -> None:
    secret, _ = app.extensions["millwright"].keys.create("train")
    headers = {"Authorization": f"Token {secret}"}
    line = f"pressure value=4i {AT}"
    answer = client.post(f"{WRITE}?precision=s", data=line, content_type="text/plain", headers=headers)
    assert answer.status_code == 204, answer.text
    refused = client.post(
        WRITE, data=line, content_type="text/plain", headers={"Authorization": "Token wrong"}
    )
    assert (refused.status_code, refused.get_json()["code"]) == (401, "unauthorized")
    assert refused.get_json()["message"] == "This API key is unknown or revoked"


def test_telegraf_without_a_token_writes_readings(client: FlaskClient) -> None:
    """Its output sends this header whether the configuration has a token or not."""
    _add_sensor(client, "TI-1024.PV")
    text = f"opcua,host=gateway,tag=TI-1024.PV value=71.5 {AT}000000000\n"
    query = {"bucket": "millwright", "org": "plant"}
    headers = {
        "Authorization": "Token ",
        "Content-Encoding": "gzip",
        "User-Agent": "Telegraf/1.36.4 Go/1.25.0",
    }
    body, kind = gzip.compress(text.encode()), "text/plain; charset=utf-8"
    answer = client.post(WRITE, data=body, content_type=kind, headers=headers, query_string=query)
    assert answer.status_code == 204, answer.text
    assert [value for _, value in _values(client, "TI-1024.PV")] == [71.5]


def test_clients_of_influxdb_find_the_server(address: str) -> None:
    with InfluxDBClient(address, token="", org="plant") as influx:
        assert influx.ping()


def test_a_partial_write_stores_what_is_valid_and_names_the_rest(client: FlaskClient) -> None:
    _add_sensor(client, "TI-1")
    lines = [
        f"m,tag=TI-1 value=1 {AT}",
        f"m,tag=TI-1 value=nan {AT + 1}",
        "# a comment",
        f"m,tag=4711 value=1 {AT}",
        f"m,machine=a value=1 {AT}",
        f'm,tag=TI-1 value=2,quality="OK (0x0), \\"fine\\"" {AT + 2}',
        f'm,tag=TI-1 quality="OK" {AT + 2}',
        f"m,tag=TI-1 value=3 {AT}000000000",
    ]
    answer = _write(client, "\n".join(lines), precision="s")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid")
    message = answer.get_json()["message"]
    assert message.startswith("partial write: 2 readings stored, 5 lines dropped: line 2: unable to parse")
    for reason in (
        "'nan' is no number",
        "name it by a tag called `tag`",
        "texts are no readings",
        "another precision",
    ):
        assert reason in message
    assert [value for _, value in _values(client, "TI-1")] == [1.0, 2.0]


def test_unknown_tags_wait_by_default(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = f"opcua,host=gateway temperature=20.5,running=true {AT}\nflow,tag=FI-7 value=3u {AT}"
    assert _write(client, lines, precision="s").status_code == 204
    waiting = client.get("/api/unknown-tags").get_json()["results"]
    assert [row["tag"] for row in waiting] == ["FI-7", "opcua.running", "opcua.temperature"]
    assert waiting[0]["first_at"].startswith("2026-01-05T14:30:22")
    assert (
        "there is no sensor"
        in _write(client, lines, on_unknown="refuse", precision="s").get_json()["message"]
    )
    monkeypatch.setattr("storage.sensors.waiting_readings.MAX_TAGS", 3)
    full = _write(client, f"flow,tag=FI-8 value=3u {AT}", precision="s")
    assert (full.status_code, full.get_json()["code"]) == (503, "unavailable")


def test_a_body_that_is_no_gzip_or_too_large_is_refused(client: FlaskClient, app: Flask) -> None:
    headers = {"Content-Encoding": "gzip"}
    wrong = client.post(WRITE, data=b"m value=1", content_type="text/plain", headers=headers)
    assert (wrong.status_code, wrong.get_json()["code"]) == (400, "invalid")
    cut = client.post(
        WRITE, data=gzip.compress(b"m value=1")[:-4], content_type="text/plain", headers=headers
    )
    assert (cut.status_code, cut.get_json()["code"]) == (400, "invalid")
    app.config["MAX_CONTENT_LENGTH"] = 10_000
    bomb = gzip.compress(b"m value=1\n" * 10_000)
    large = client.post(WRITE, data=bomb, content_type="text/plain", headers=headers)
    assert (large.status_code, large.get_json()["code"]) == (413, "request too large")


def test_all_members_of_a_gzip_body_are_read(client: FlaskClient) -> None:
    members = [gzip.compress(f"m,tag=TI-{number} value={number} {AT}\n".encode()) for number in range(3)]
    answer = client.post(
        f"{WRITE}?precision=s",
        data=b"".join(members),
        content_type="text/plain",
        headers={"Content-Encoding": "gzip"},
    )
    assert answer.status_code == 204, answer.text
    assert client.get("/api/unknown-tags").get_json()["count"] == 3


def test_a_body_is_read_line_by_line_up_to_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_protocol, "MAX_READINGS", 10)
    read: list[bytes] = []

    def endless(line: bytes) -> Iterator[bytes]:
        while True:
            read.append(line)
            yield line

    with pytest.raises(BodyTooLarge) as refusal:
        line_protocol.parse_lines(endless(b"m a=1,b=2\n"), "s")
    assert refusal.value.message == "More than 10 readings came, as many as fit in one write"
    with pytest.raises(BodyTooLarge) as refusal:
        line_protocol.parse_lines(endless(b"no line protocol\n"), "s")
    begin = "More than 10 readings and wrong lines came, as many as fit in one write; 11 lines are wrong: line 1: "
    assert refusal.value.message.startswith(begin)
    assert "; line 5: " in refusal.value.message and "line 6" not in refusal.value.message
    assert len(read) < 20
    with pytest.raises(MalformedBody, match="longer than"):
        line_protocol.parse_lines([b"m " + b"a" * line_protocol.MAX_LINE_BYTES], "s")


def test_names_are_stripped_and_those_that_no_sensor_can_have_are_refused(client: FlaskClient) -> None:
    _add_sensor(client, "TI-1")
    lines = [
        f"m,tag=\\ TI-1\\  value=1 {AT}",
        rf"m,tag=\ \  value=2 {AT}",
        f"m,tag=TI\u00a01 value=3 {AT}",
        f"{'m' * 201} value=4 {AT}",
    ]
    answer = _write(client, "\n".join(lines), precision="s")
    assert answer.status_code == 400
    assert "1 readings stored, 3 lines dropped" in answer.get_json()["message"]
    assert "no sensor can be called ''" in answer.get_json()["message"]
    assert [value for _, value in _values(client, "TI-1")] == [1.0]
    assert client.get("/api/unknown-tags").get_json()["count"] == 0


def test_escapes_are_read_as_the_specification_says() -> None:
    point = parse_point(
        r"my\ plant\,1,tag=TI\ 1\=2,é=\b te\ mp=1.5e3,n=-2i,on=T,text=\"a\"".replace(r"\"", '"')
    )
    assert (point.measurement, point.tags) == ("my plant,1", {"tag": "TI 1=2", "é": r"\b"})
    assert (point.fields, point.time) == ({"te mp": 1500.0, "n": -2.0, "on": 1.0}, None)


@pytest.mark.parametrize(
    "line",
    [
        *("m", "m value", "m value=", "m,tag value=1", "m value=1 x", "m value=1,", "m value=1_0", 'm v="a'),
        *("m value=1,value=2", 'm a="x",a=1', r"m,tag=a,tag=b value=1"),
    ],
)
def test_what_is_no_line_protocol_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"expected|number|twice"):
        parse_point(line)


@pytest.mark.parametrize(("precision", "stamp"), [("ns", AT), ("ns", AT * 1000), ("us", AT), ("ms", AT)])
def test_a_time_of_another_precision_is_not_stored_in_1970(
    client: FlaskClient, precision: str, stamp: int
) -> None:
    _add_sensor(client, "TI-1")
    answer = _write(client, f"m,tag=TI-1 value=1 {stamp}", precision=precision)
    assert answer.status_code == 400
    assert "lies in January 1970: is it another precision" in answer.get_json()["message"]
    assert _values(client, "TI-1") == []


def test_two_sensors_of_one_line_are_refused(client: FlaskClient) -> None:
    _add_sensor(client, "TI-1")
    _add_sensor(client, "TI-2")
    answer = _write(client, f"m,tag=TI-1,sensor=TI-2 value=1 {AT}", precision="s")
    assert answer.status_code == 400
    assert "its tags sensor=TI-2 and tag=TI-1 name two sensors" in answer.get_json()["message"]


def test_a_query_that_cannot_be_used_is_explained_in_the_message(client: FlaskClient) -> None:
    answer = _write(client, f"m,tag=TI-1 value=1 {AT}", precision="m")
    assert answer.status_code == 422
    assert "precision" in answer.get_json()["message"]
