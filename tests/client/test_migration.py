"""The scripts of docs/migration.md bring the data of earlier systems over."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from millwright_client import Millwright
from settings import PROJECT

SERVER = "http://127.0.0.1:5000"
PLATFORM, TIMESCALE = re.findall(
    r"^```py\n(.*?)^```$", (PROJECT / "docs/migration.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)


def run(script: str, client: Millwright, folder: Path, database: str) -> None:
    """Run a script of the page against this server and a database in a folder."""
    typed = script.replace(SERVER, client.connection.location)
    exec(
        compile(typed.replace(f"sqlite:///{database}", f"sqlite:///{folder / database}"), database, "exec"),
        {},
    )


def test_the_calibration_platform(
    client: Millwright, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(tmp_path / "platform.db") as old:
        old.executescript("""
            CREATE TABLE sensors (id, name, type, unit, min_value, max_value);
            INSERT INTO sensors VALUES (13, 'Moved flow', 'Flow', 'm3/h', 0, NULL);
            CREATE TABLE readings (sensor_id, timestamp, raw_value);
            INSERT INTO readings VALUES (13, '2026-01-05 10:00:00', 4.5), (13, '2026-01-05 11:00:00', 4);
            INSERT INTO readings VALUES (99, '2026-01-05 10:00:00', 1);
            CREATE TABLE calibrations (sensor_id, method, corrected_value, applied_at);
            INSERT INTO calibrations VALUES (13, 'linear', 4.4, '2026-01-05T10:30:00Z');
            CREATE TABLE anomalies (sensor_id, type, severity, value, timestamp, resolved);
            INSERT INTO anomalies VALUES (13, 'Spike', 'High', 9.5, '2026-01-04T10:00:00Z', 1);
        """)
    run(PLATFORM, client, tmp_path, "platform.db")
    sensor = client.sensor("Moved flow")
    assert f"13 is {sensor.id} here: Moved flow, 2 readings" in capsys.readouterr().out
    assert [(row["timestamp"], row["raw_value"]) for row in sensor.readings()] == [
        ("2026-01-05T10:00:00Z", 4.5),
        ("2026-01-05T11:00:00Z", 4.0),
    ]
    (calibration,) = sensor.calibrations()
    assert (calibration["applied_at"], calibration["corrected_value"]) == ("2026-01-05T10:30:00Z", 4.4)
    (anomaly,) = sensor.anomalies()
    assert (anomaly["type"], anomaly["severity"], anomaly["resolved"]) == ("Spike", "High", True)


def test_the_timescaledb_schema(
    client: Millwright, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(tmp_path / "plant.db") as old:
        old.executescript("""
            CREATE TABLE sensor_data (time, device_id, current_mean, temperature_mean);
            INSERT INTO sensor_data VALUES ('2026-01-05 10:00:00+00:00', 'OLD-1', 11.5, NULL);
            INSERT INTO sensor_data VALUES ('2026-01-05 11:00:00+00:00', 'OLD-1', 11.7, 61);
            CREATE TABLE failure_events (event_time, device_id, event_type, component_failed,
                                         operating_hours_at_failure);
            INSERT INTO failure_events VALUES ('2026-01-05 12:00:00+00:00', 'OLD-1', 'failure', 'bearing', 812);
        """)
    run(TIMESCALE, client, tmp_path, "plant.db")
    assert "2 rows and 1 failures" in capsys.readouterr().out
    rows = sorted(client.telemetry(device_id="OLD-1"), key=lambda row: row["timestamp"])
    assert [(row["current_mean"], row.get("temperature_mean")) for row in rows] == [
        (11.5, None),
        (11.7, 61.0),
    ]
    (failure,) = client.failures(device_id="OLD-1")
    assert (failure["component_failed"], failure["operating_hours_at_failure"]) == ("bearing", 812.0)
