"""Tables of other systems: queries of a database, columns with names of their own, a column for each tag."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cli.imports import tables, telemetry_files
from prediction.records import NumberedRecord
from settings import Settings
from storage.container import open_storage
from storage.db.database import Database
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings, from_microseconds
from storage.sensors.sensors import Sensors
from storage.text.dates import DateOrder
from tests.cli.runner import run_json


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = open_storage(Settings(home=tmp_path)).database
    made.migrate()
    Sensors(made).create("default", [{"name": tag, "type": "Flow", "tag": tag} for tag in ("FI-1", "FI-2")])
    return made


@pytest.fixture
def plant(tmp_path: Path) -> str:
    """Return the URL of a database as a historian has it."""
    with sqlite3.connect(tmp_path / "plant.db") as old:
        old.executescript("""
            CREATE TABLE history (t, point, v);
            INSERT INTO history VALUES ('2026-01-05 10:00:00', 'FI-1', 4.5), ('2026-01-05 11:00:00', 'FI-2', 4);
            CREATE TABLE checks (day, point, true_value, method);
            INSERT INTO checks VALUES ('2026-01-05', 'FI-1', 4.6, 'linear'), ('2026-01-06', 'FI-1', 4.7, NULL);
            CREATE TABLE hourly (t, machine, current_mean);
            INSERT INTO hourly VALUES ('2026-01-05 10:00:00', 'P-1', 11.5), ('2026-01-05 11:00:00', 'P-1', 12);
            CREATE TABLE stops (at, machine, event_type);
            INSERT INTO stops VALUES ('2026-01-05 12:00:00', 'P-1', 'bearing');
        """)
    return f"sqlite:///{tmp_path / 'plant.db'}"


def stored(database: Database) -> list[tuple[int, float]]:
    return [(row["sensor_id"], row["raw_value"]) for row in Readings(database).page("default")[0]]


def test_readings_and_calibrations_of_a_query(tmp_path: Path, database: Database, plant: str) -> None:
    names: tuple[str, ...] = ("--time-column", "t", "--tag-column", "point", "--value-column", "v")
    query = ("--sql", plant, "--query", "SELECT * FROM history ORDER BY t")
    assert run_json("import", "readings", *query, *names, home=tmp_path)["accepted"] == 2
    assert stored(database) == [(1, 4.5), (2, 4.0)]

    query = ("--sql", plant, "--query", "SELECT day AS applied_at, * FROM checks")
    names = ("--tag-column", "point", "--value-column", "true_value")
    assert run_json("import", "calibrations", *query, *names, home=tmp_path)["accepted"] == 2
    rows = Calibrations(database).list_manual(1)
    assert [(row["corrected_value"], row["method"]) for row in rows] == [(4.6, "linear"), (4.7, "linear")]


def test_telemetry_and_failures_of_a_query(tmp_path: Path, database: Database, plant: str) -> None:
    for command, query, time in (
        ("telemetry", "SELECT * FROM hourly", "t"),
        ("failures", "SELECT * FROM stops", "at"),
    ):
        names = ("--time-column", time, "--tag-column", "machine")
        run_json("import", command, "--sql", plant, "--query", query, *names, home=tmp_path)
    assert [row["current_mean"] for row in Telemetry(database).page("default")[0]] == [11.5, 12.0]
    (event,) = Failures(database).page("default")[0]
    assert (event["device_id"], event["event_type"]) == ("P-1", "bearing")


@pytest.mark.parametrize("name", ["wide.csv", "wide.parquet"])
def test_a_table_with_a_column_for_each_tag(tmp_path: Path, database: Database, name: str) -> None:
    frame = pd.DataFrame(
        {"Zeit": ["2026-01-05 10:00:00", "2026-01-05 11:00:00"], "FI-1": [4.5, None], "FI-2": [1, 2]}
    )
    if name.endswith(".csv"):
        frame.to_csv(tmp_path / name, index=False)
    else:
        frame.to_parquet(tmp_path / name)
    arguments = ("import", "readings", tmp_path / name, "--wide", "--time-column")
    assert run_json(*arguments, "Zeit", home=tmp_path)["accepted"] == 3
    assert stored(database) == [(1, 4.5), (2, 1.0), (2, 2.0)]
    refused = run_json(*arguments, "Uhrzeit", home=tmp_path, code=6)
    assert "there is no column 'Uhrzeit' for timestamp, there is: Zeit, FI-1, FI-2" in str(refused)


def test_a_wide_table_has_neither_a_tag_column_nor_a_value_column(tmp_path: Path, database: Database) -> None:
    file = tmp_path / "long.csv"
    file.write_text("timestamp,sensor_id,raw_value\n2026-01-05T10:00:00Z,1,2\n")
    for option in ("--tag-column", "--value-column"):
        refused = run_json("import", "readings", file, "--wide", option, "FI-1", home=tmp_path, code=6)
        assert refused["error"].startswith("In a wide table each column but that of the time is a tag")
    refused = run_json("import", "readings", file, "--wide", home=tmp_path, code=6)
    assert "this one has sensor_id and raw_value" in refused["validation_errors"][0]


def test_files_or_a_query_and_not_both(tmp_path: Path, database: Database, plant: str) -> None:
    (tmp_path / "a.csv").write_text("sensor_id,raw_value,timestamp\n1,2,2026-01-05T10:00:00Z\n")
    for wrong in ((), ("--sql", plant), (tmp_path / "a.csv", "--sql", plant, "--query", "SELECT 1")):
        answer = run_json("import", "readings", *wrong, home=tmp_path, code=2)
        assert "--sql URL with --query SELECT" in str(answer)
    query = ("--sql", plant, "--query", "SELECT point AS tag, v AS raw_value, 'x' AS timestamp FROM history")
    assert run_json("import", "readings", *query, home=tmp_path, code=6)["file"] == "the query"
    assert stored(database) == []


def test_a_query_of_readings_is_run_once(
    tmp_path: Path, database: Database, plant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, read_query = [], tables.read_query

    def count_runs(url: str, query: str, date_order: DateOrder | None) -> Iterator[NumberedRecord]:
        runs.append(query)
        return read_query(url, query, date_order)

    monkeypatch.setattr(tables, "read_query", count_runs)
    query = ("--sql", plant, "--query", "SELECT point AS tag, v AS raw_value, t AS timestamp FROM history")
    assert run_json("import", "readings", *query, home=tmp_path)["accepted"] == 2
    assert len(runs) == 1


@pytest.mark.parametrize("command", ["readings", "telemetry", "failures", "calibrations"])
def test_a_query_without_rows_is_refused_like_an_empty_file(
    tmp_path: Path, database: Database, plant: str, command: str
) -> None:
    query = ("--sql", plant, "--query", "SELECT * FROM history WHERE v > 100")
    answer = run_json("import", command, *query, home=tmp_path, code=6)
    assert answer["error"] == "The query returned no rows"


def test_a_table_without_a_single_reading_is_not_a_success(tmp_path: Path, database: Database) -> None:
    (tmp_path / "wide.csv").write_text("timestamp,FI-1,FI-2\n2026-01-05T10:00:00Z,,\n")
    answer = run_json("import", "readings", tmp_path / "wide.csv", "--wide", home=tmp_path, code=3)
    assert answer["accepted"] == 0


def test_dates_of_a_query_and_of_parquet_are_read_in_the_stated_order(
    tmp_path: Path, database: Database
) -> None:
    frame = pd.DataFrame({"tag": ["FI-1"], "timestamp": ["03/04/2024 10:00"], "raw_value": [1.5]})
    frame.to_parquet(tmp_path / "dates.parquet")
    with sqlite3.connect(tmp_path / "dates.db") as old:
        frame.to_sql("dates", old, index=False)
    query = ("--sql", f"sqlite:///{tmp_path / 'dates.db'}", "--query", "SELECT * FROM dates")
    for source in (query, (tmp_path / "dates.parquet",)):
        answer = run_json("import", "readings", *source, home=tmp_path, code=6)
        assert "'03/04/2024 10:00' may be two days" in answer["validation_errors"][0]
        run_json("import", "readings", *source, "--date-order", "day", home=tmp_path)
    rows = Readings(database).page("default")[0]
    assert [from_microseconds(row["timestamp"]) for row in rows] == [datetime(2024, 4, 3, 10, tzinfo=UTC)] * 2


def test_the_parameters_of_a_calibration_are_an_object(tmp_path: Path, database: Database) -> None:
    record = {"tag": "FI-1", "applied_at": "2026-01-05T00:00:00Z", "corrected_value": 4.6}
    file = tmp_path / "checks.ndjson"
    for wrong in ("gain=2", 2, [1]):
        file.write_text(json.dumps({**record, "params": wrong}))
        answer = run_json("import", "calibrations", file, home=tmp_path, code=6)
        assert answer["validation_errors"] == ["Record 1: params must be a JSON object"]
    table = tmp_path / "checks.csv"
    table.write_text(
        "tag,applied_at,corrected_value,params\n"
        'FI-1,2026-01-05T00:00:00Z,4.6,"{""gain"": 2}"\nFI-1,2026-01-06T00:00:00Z,4.7,\n'
    )
    run_json("import", "calibrations", table, home=tmp_path)
    assert [row["params"] for row in Calibrations(database).list_manual(1)] == [{"gain": 2}, {}]


def test_a_long_table_of_telemetry(tmp_path: Path, database: Database) -> None:
    with sqlite3.connect(tmp_path / "long.db") as old:
        old.executescript("""
            CREATE TABLE history (at, machine, signal, v, quality);
            INSERT INTO history VALUES ('2026-01-05 10:00:00', 'P-1', 'current_mean', 11.5, 'good'),
              ('2026-01-05 11:00:00', 'P-1', 'current_mean', 12, 'good'),
              ('2026-01-05 10:00:00', 'P-1', 'oil', 2, 'good'),
              ('2026-01-05 11:00:00', 'P-1', 'oil', NULL, 'bad');
        """)
    names = (
        "--time-column",
        "at",
        "--tag-column",
        "machine",
        "--channel-column",
        "signal",
        "--value-column",
        "v",
    )
    query = (
        "--sql",
        f"sqlite:///{tmp_path / 'long.db'}",
        "--query",
        "SELECT * FROM history ORDER BY signal, at",
    )
    answer = run_json("import", "telemetry", *query, *names, home=tmp_path)
    assert (answer["rows"], answer["devices"]) == (2, 1)
    assert answer["warnings"] == ["Columns that were not read: quality"]
    (device,) = Telemetry(database).stream("default")
    assert device.channels == ("current_mean", "oil")
    np.testing.assert_array_equal(device.values, [[11.5, 2], [12, np.nan]])


def test_the_files_of_a_long_import_are_joined(tmp_path: Path, database: Database) -> None:
    folder = tmp_path / "tags"
    folder.mkdir()
    for channel, value in (("oil", 2), ("temp", 60)):
        frame = pd.DataFrame(
            {"device_id": "P-1", "timestamp": ["2026-01-05"], "channel": channel, "value": value}
        )
        frame.to_parquet(folder / f"{channel}.parquet")
    arguments = ("import", "telemetry", folder, "--channel-column", "channel")
    assert run_json(*arguments, home=tmp_path)["rows"] == 1
    (row,) = Telemetry(database).page("default")[0]
    assert row["extra"] == {"oil": 2, "temp": 60}

    frame.assign(value=61).to_parquet(folder / "again.parquet")
    refused = run_json(*arguments, home=tmp_path, code=6)
    assert "temp of P-1 has two values at 2026-01-05 00:00:00 UTC: 60 and 61" in str(refused)
    assert len(Telemetry(database).page("default")[0]) == 1
    refused = run_json("import", "telemetry", folder, "--value-column", "value", home=tmp_path, code=2)
    assert "--channel-column" in str(refused)


def test_a_device_in_two_batches_counts_once(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry_files, "_BATCH_SIZE", 2)
    (tmp_path / "a.csv").write_text(
        "device_id,timestamp,oil\n" + "".join(f"P-1,2026-01-0{n},1\n" for n in range(1, 6))
    )
    answer = run_json("import", "telemetry", tmp_path / "a.csv", home=tmp_path)
    assert (answer["rows"], answer["devices"]) == (5, 1)
