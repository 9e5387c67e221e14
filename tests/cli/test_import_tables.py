"""Tables of other systems: queries of a database, columns with names of their own, a column for each tag."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from settings import Settings
from storage.container import open_storage
from storage.db.database import Database
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
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


def test_files_or_a_query_and_not_both(tmp_path: Path, database: Database, plant: str) -> None:
    (tmp_path / "a.csv").write_text("sensor_id,raw_value,timestamp\n1,2,2026-01-05T10:00:00Z\n")
    for wrong in ((), ("--sql", plant), (tmp_path / "a.csv", "--sql", plant, "--query", "SELECT 1")):
        answer = run_json("import", "readings", *wrong, home=tmp_path, code=2)
        assert "--sql URL with --query SELECT" in str(answer)
    query = ("--sql", plant, "--query", "SELECT point AS tag, v AS raw_value, 'x' AS timestamp FROM history")
    assert run_json("import", "readings", *query, home=tmp_path, code=6)["file"] == "the query"
    assert stored(database) == []
