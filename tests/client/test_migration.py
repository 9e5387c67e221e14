"""The scripts of docs/migration.md bring the data of earlier systems over."""

from __future__ import annotations

import re
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from errors import ConfigurationError
from millwright_client import Millwright
from settings import PROJECT
from storage.db.database import Database
from tests.cli.runner import run_json

SERVER = "http://127.0.0.1:5000"
PAGE = (PROJECT / "docs/migration.md").read_text("utf-8")
(PLATFORM,) = re.findall(r"^```py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
OLD_TABLES = """
    CREATE TABLE sensor_data (
        time timestamptz NOT NULL, device_id text NOT NULL, current_mean double precision,
        vibration_x_mean double precision, vibration_y_mean double precision,
        vibration_z_mean double precision, temperature_mean double precision
    );
    INSERT INTO sensor_data VALUES
        ('2026-01-05 10:00:00.123456+00', 'OLD-1', 11.5, NULL, 0.1, 0.2, NULL),
        ('2026-01-05 11:00:00+00', 'OLD-1', 11.7, 0.3, 0.1, 0.2, 61);
    CREATE TABLE failure_events (
        event_time timestamptz NOT NULL, device_id text NOT NULL, event_type text,
        component_failed text, operating_hours_at_failure double precision
    );
    INSERT INTO failure_events VALUES
        ('2026-01-05 12:00:00+00', 'OLD-1', 'failure', 'bearing', 812),
        ('2026-01-06 12:00:00+00', 'OLD-1', 'maintenance', NULL, NULL);
    CREATE TABLE measurements (device text, time timestamptz, channel text, value double precision);
    INSERT INTO measurements VALUES
        ('OLD-2', '2026-01-05 10:00:00+00', 'oil', 2), ('OLD-2', '2026-01-05 11:00:00+00', 'oil', 3),
        ('OLD-2', '2026-01-05 10:00:00+00', 'temp', 60);
"""
OLD_PLATFORM = """
    CREATE TABLE sensors (
        id integer, name text, type text, unit text, min_value double precision, max_value double precision
    );
    INSERT INTO sensors VALUES (%(id)s, 'Moved flow %(id)s', 'Flow', 'm3/h', 0, NULL);
    CREATE TABLE readings (sensor_id integer, timestamp timestamp, raw_value double precision);
    INSERT INTO readings VALUES
        (%(id)s, '2026-01-05 10:00:00', 4.5), (%(id)s, '2026-01-05 11:00:00', 4), (99, '2026-01-05 10:00:00', 1);
    CREATE TABLE calibrations (
        sensor_id integer, method text, corrected_value double precision, applied_at %(moment)s
    );
    INSERT INTO calibrations VALUES (%(id)s, 'linear', 4.4, '2026-01-05T10:30:00Z');
    CREATE TABLE anomalies (
        sensor_id integer, type text, severity text, value double precision, timestamp %(moment)s, resolved boolean
    );
    INSERT INTO anomalies VALUES (%(id)s, 'Spike', 'High', 9.5, '2026-01-04T10:00:00Z', true);
"""


def run(script: str, client: Millwright, database: str) -> None:
    """Run a script of the page against this server and this database."""
    typed = script.replace(SERVER, client.connection.location).replace("sqlite:///platform.db", database)
    names: dict[str, Any] = {}
    exec(compile(typed, "platform", "exec"), names)
    names["old"].close()  # PostgreSQL would not drop tables that a transaction has read
    names["old"].engine.dispose()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_calibration_platform(
    client: Millwright,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    number = 1013 if kind == "sqlite" else 1014
    if kind == "sqlite":
        database = f"sqlite:///{tmp_path / 'platform.db'}"
        with sqlite3.connect(tmp_path / "platform.db") as old:
            old.executescript(OLD_PLATFORM % {"id": number, "moment": "text"})
    else:
        database = request.getfixturevalue("postgres_url")
        engine = sa.create_engine(database)
        with engine.begin() as connection:
            connection.execute(sa.text(OLD_PLATFORM % {"id": number, "moment": "timestamptz"}))
        engine.dispose()
    run(PLATFORM, client, database)
    sensor = client.sensors.get(f"Moved flow {number}")
    assert f"{number} Moved flow {number}: 2 readings" in capsys.readouterr().out
    assert sensor.id == number
    assert [(row["timestamp"], row["raw_value"]) for row in sensor.readings()] == [
        ("2026-01-05T10:00:00Z", 4.5),
        ("2026-01-05T11:00:00Z", 4.0),
    ]
    (calibration,) = sensor.calibrations()
    assert (calibration["applied_at"], calibration["corrected_value"]) == ("2026-01-05T10:30:00Z", 4.4)
    (anomaly,) = sensor.anomalies()
    assert (anomaly["type"], anomaly["severity"], anomaly["resolved"]) == ("Spike", "High", True)


def test_the_timescaledb_schema(postgres_url: str, tmp_path: Path) -> None:
    """The old tables stay, a schema of its own gets the rows, and old SQL reads the views."""
    url = sa.make_url(postgres_url)
    old_schema = str(url.query["options"]).rpartition("=")[2]
    schema = f"{old_schema}_own"
    own = url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    create_schema, make_views = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    old = sa.create_engine(postgres_url)
    with old.begin() as connection:
        connection.execute(sa.text(OLD_TABLES))
    with pytest.raises(ConfigurationError, match=r'another system.*"sensor_data" already exists'):
        Database(postgres_url, tmp_path / "run").migrate()
    with old.begin() as connection:
        connection.execute(sa.text(create_schema.replace("millwright", schema)))
    try:
        queries = re.findall(r'^millwright import (\w+) --sql "\$OLD" --query "(.*)"$', PAGE, re.MULTILINE)
        assert [command for command, _ in queries] == ["telemetry", "failures"]
        for command, query in queries:
            arguments = ("import", command, "--sql", postgres_url, "--query", query)
            run_json(*arguments, home=tmp_path, database_url=own)
        (long,) = re.findall(
            r"^millwright import telemetry (--sql .*--channel-column .*)$", PAGE, re.MULTILINE
        )
        options = tuple(shlex.split(long.replace("$OLD", postgres_url)))
        assert run_json("import", "telemetry", *options, home=tmp_path, database_url=own)["rows"] == 2
        with old.begin() as connection:
            extras = sa.text(
                f"SELECT extra FROM {schema}.sensor_data WHERE device_id = 'OLD-2' ORDER BY timestamp"
            )
            assert connection.execute(extras).scalars().all() == [{"oil": 2, "temp": 60}, {"oil": 3}]
            connection.execute(sa.text(f"DELETE FROM {schema}.sensor_data WHERE device_id = 'OLD-2'"))
        with old.begin() as connection:
            connection.execute(sa.text(make_views.replace("millwright", schema)))
        with old.connect() as connection:
            for table, column in (("sensor_data", "time"), ("failure_events", "event_time")):
                columns = (
                    "column_name, data_type FROM information_schema.columns WHERE table_schema = :schema"
                )
                types = sa.text(f"SELECT {columns} AND table_name = :table").bindparams(schema=old_schema)
                before = connection.execute(types, {"table": f"{table}_before"}).all()
                after = connection.execute(types, {"table": table}).all()
                assert sorted(after) == sorted(before)
                select = f"SELECT {', '.join(name for name, _ in before)} FROM {table}%s ORDER BY {column}"
                copied = connection.execute(sa.text(select % "")).all()
                assert copied == connection.execute(sa.text(select % "_before")).all()
                assert len(copied) == 2
    finally:
        with old.begin() as connection:
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
        old.dispose()
