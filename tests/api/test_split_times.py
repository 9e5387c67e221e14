"""Dates and times of day in two columns are one time at every door, and the answer says so."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient

from cli.imports.record_files import read_numbered_records
from cli.imports.tables import read_query
from prediction.records.fields import FieldError, parse_instant
from tests.api.test_same_reading import Refused, post

SPELLINGS = {
    "iso": ("Date,Time", "2024-03-14,14:30:00", ","),
    "German": ("Datum;Uhrzeit", "14.03.2024;14:30", ";"),
    "French": ("Date de mesure;Heure", "14/03/2024;14:30:00", ";"),
    "American": ("Date,Time [hh:mm]", "3/14/2024,2:30 PM", ","),
    "named months": ("Date,Clock", "14-Mar-24,14:30:00.0", ","),
    "the end of a day": ("Date,Time", "2024-03-13,24:00:00", ","),
}  # fmt: skip
NOON = "2024-03-14T14:30:00Z"


@pytest.mark.parametrize(("names", "cells", "sign"), SPELLINGS.values(), ids=SPELLINGS)
def test_rows_of_devices_and_sensors_have_the_time_of_both_columns(
    client: FlaskClient, names: str, cells: str, sign: str
) -> None:
    at = "2024-03-14T00:00:00Z" if "24:00" in cells else NOON
    date, clock = names.split(sign)
    query = f"?time_column={date}"
    answer = post(
        client,
        f"/api/telemetry{query}",
        sign.join([f"device_id{sign}{names}{sign}flow", ""])[:-1].encode()
        + f"\nP7{sign}{cells}{sign}1\n".encode(),
    )
    assert f"{date!r} and {clock!r} are read as one time column" in answer["warnings"]
    (row,) = client.get("/api/telemetry?device_id=P7").get_json()["results"]
    assert (row["timestamp"], row["flow"]) == (at, 1)
    assert clock not in row
    sensor = client.post("/api/sensors/", json={"name": "Flow", "type": "Flow"}).get_json()["id"]
    text = f"sensor_id{sign}{names}{sign}raw_value\n{sensor}{sign}{cells}{sign}1\n"
    answer = post(client, f"/api/readings/{query}&detect=0", text.encode())
    assert answer["reading"]["timestamp"] == at
    assert answer["ignored_fields"] == []


def by_csv(folder: Path) -> object:
    (folder / "a.csv").write_text("Date,Time,flow\n2024-03-14,14:30:00,1\n")
    return next(read_numbered_records(folder / "a.csv"))[1]["Date"]


def by_ndjson(folder: Path) -> object:
    row = {"Date": "2024-03-14", "Time": "14:30:00", "flow": 1}
    (folder / "a.ndjson").write_text(json.dumps(row))
    return next(read_numbered_records(folder / "a.ndjson"))[1]["Date"]


def by_parquet(folder: Path) -> object:
    day, clock = pa.array([19796], pa.date32()), pa.array([52_200], pa.time32("s"))
    pq.write_table(pa.table({"Date": day, "Time": clock}), folder / "a.parquet")
    return next(read_numbered_records(folder / "a.parquet"))[1]["Date"]


def by_query(folder: Path) -> object:
    with sqlite3.connect(folder / "a.db") as database:
        database.execute("CREATE TABLE t (Date TEXT, Time TEXT)")
        database.execute("INSERT INTO t VALUES ('14.03.2024', '14:30')")
    return next(read_query(f"sqlite:///{folder}/a.db", "SELECT * FROM t"))[1]["Date"]


@pytest.mark.parametrize("door", [by_csv, by_ndjson, by_parquet, by_query])
def test_files_and_queries_have_the_time_of_both_columns(
    tmp_path: Path, door: Callable[[Path], object]
) -> None:
    assert parse_instant("timestamp", door(tmp_path)).isoformat() == "2024-03-14T14:30:00+00:00"


def test_the_file_says_what_is_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("Date,Time,flow\n2024-03-14,14:30:00,1\n")
    list(read_numbered_records(tmp_path / "a.csv"))
    assert "'Date' and 'Time' are read as one time column" in capsys.readouterr().err


def test_a_first_row_without_a_time_of_day_does_not_decide_for_the_others(client: FlaskClient) -> None:
    sensor = client.post("/api/sensors/", json={"name": "Flow", "type": "Flow"}).get_json()["id"]
    text = f"sensor_id,Date,Time,raw_value\n{sensor},2024-03-14,,1\n{sensor},2024-03-14,14:30:00,2\n"
    answer = post(client, "/api/readings/?time_column=Date&skip_invalid=1&detect=0", text.encode())
    assert (answer["accepted"], len(answer["rejected"])) == (1, 1)
    (row,) = client.get(f"/api/readings/?sensor_id={sensor}").get_json()["results"]
    assert row["timestamp"] == "2024-03-14T14:30:00Z"


@pytest.mark.parametrize("clock", ["", "25:00:00", "noon"])
def test_a_row_without_a_time_of_day_is_not_of_midnight(client: FlaskClient, clock: str) -> None:
    text = f"device_id,Date,Time,flow\nP7,2024-03-14,14:30:00,1\nP7,2024-03-14,{clock},1\n"
    with pytest.raises(Refused, match=f"got '2024-03-14 with Time {clock or 'empty'}'"):
        post(client, "/api/telemetry?time_column=Date", text.encode())


def test_an_unknown_order_of_day_and_month_is_asked_for(client: FlaskClient) -> None:
    text = b"device_id,Date,Time,flow\nP7,03/04/2024,14:30:00,1\n"
    with pytest.raises(Refused, match="may be two days: send date_order"):
        post(client, "/api/telemetry?time_column=Date", text)
    post(client, "/api/telemetry?time_column=Date&date_order=month", text)
    (row,) = client.get("/api/telemetry?device_id=P7").get_json()["results"]
    assert row["timestamp"] == "2024-03-04T14:30:00Z"


def test_without_the_name_of_the_column_the_likely_one_is_named(client: FlaskClient) -> None:
    with pytest.raises(Refused, match=r"did you mean 'Date'\?"):
        post(client, "/api/telemetry", b"device_id,Date,Time,flow\nP7,2024-03-14,14:30:00,1\n")


def test_times_with_a_time_of_day_stay_what_they_are(client: FlaskClient) -> None:
    text = b"device_id,timestamp,flow\nP7,2024-03-14T14:30:00Z,1\n"
    assert post(client, "/api/telemetry", text)["warnings"] == []
    with pytest.raises(FieldError):
        parse_instant("timestamp", "14:30:00")
