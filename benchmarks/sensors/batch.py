"""A fleet of sensors: ingest beside the bare database, training beside the plain loop, one detection.

``python -m benchmarks.sensors.batch --sensors 2000``  (PostgreSQL, too, with ``--postgresql URL``)

Every figure is paired in this run with what it is compared to. The plain loop is what the old platform did
for each sensor: an ORM query, scikit-learn fits, joblib dumps, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import secrets
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil
import sqlalchemy as sa
import structlog
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LinearRegression
from sqlalchemy.orm import DeclarativeBase, Mapped, Session

from prediction.contract import ModelKey
from prediction.sensors.drift import build_features, compute_drift
from prediction.sensors.readings.series import build_classic_features
from prediction.sensors.serving.online_detection import SensorService
from settings import Settings
from storage.db.database import Database
from storage.sensors.baseline import Baseline
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from storage.sensors.tables import readings
from training_manager import TrainingManager, open_manager

READINGS = 1_000
STEP_US = 900 * 1_000_000
PLAIN = 20
JSON = dict[str, Any]


class _Base(DeclarativeBase):
    pass


class _Reading(_Base):
    """A reading as an ORM object, as the plain loop reads it."""

    __table__ = readings
    raw_value: Mapped[float]
    timestamp: Mapped[int]


def main() -> None:
    """Measure and print one JSON document."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--sensors", type=int, default=200)
    command.add_argument("--rows", type=int, default=500_000, help="readings in the ingest comparison")
    command.add_argument("--postgresql", help="SQLAlchemy URL of a database for throw-away schemas")
    command.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    asked = command.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    found: JSON = {"ingest": [ingest_sqlite(asked.rows)]}
    if asked.postgresql:
        found["ingest"].append(ingest_postgresql(asked.postgresql, asked.rows))
    with tempfile.TemporaryDirectory() as home:
        manager = open_manager(Settings(home=Path(home), sentence_model="none", tracking_uri="none"))
        manager.recover()
        ids = fill(manager.storage.database, asked.sensors)
        found["training"] = training(manager, ids, asked.jobs, Path(home))
        found["detection"] = detection(manager, ids)
        manager.close()
        found["training"] |= processor_time(found["training"])
    print(json.dumps(found, indent=2))


def invented(sensors: list[int], count: int = READINGS) -> ReadingBlock:
    """Return readings of a daily rhythm with noise and drift, sensor after sensor."""
    chance = np.random.default_rng(1)
    at = np.arange(count)
    rhythm = 50 + 3 * np.sin(at * STEP_US / 86_400e6 * 2 * np.pi) + 0.002 * at
    values = np.tile(rhythm, len(sensors)) + chance.normal(0, 0.5, count * len(sensors))
    times = 1_700_000_000_000_000 + at * STEP_US
    return ReadingBlock(np.repeat(sensors, count), np.tile(times, len(sensors)), values)


def fill(database: Database, count: int) -> list[int]:
    """Sensors with a thousand readings each."""
    store, ids = Readings(database), []
    for start in range(0, count, 100):
        made = [{"name": f"sensor {n}", "type": "Flow"} for n in range(start, min(count, start + 100))]
        some = Sensors(database).create("default", made)
        store.ingest("default", invented(some))
        ids += some
    return ids


def ingest_sqlite(rows: int) -> JSON:
    """Our ingest, sensor rows included, beside a bare executemany into the same table and indexes."""
    with tempfile.TemporaryDirectory() as folder:
        block = invented(list(range(1, rows // READINGS + 1)))
        database = _generate(f"sqlite:///{folder}/ours.db", Path(folder))
        Sensors(database).create(
            "default", [{"name": f"s{n}", "type": "Flow"} for n in range(rows // READINGS)]
        )
        bare = _generate(f"sqlite:///{folder}/bare.db", Path(folder))
        tuples = list(zip(*(c.tolist() for c in (block.sensors, block.times, block.values)), strict=True))
        seconds: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(2):
            with _timed(seconds["ours"]):
                _in_batches(database, block)
            with _timed(seconds["bare"]):
                _executemany(Path(folder) / "bare.db", tuples)
        database.close()
        bare.close()
    return _rates("SQLite", rows, seconds)


def ingest_postgresql(url: str, rows: int) -> JSON:
    """Our ingest beside a bare text COPY into the same table and indexes."""
    engine, schemas = sa.create_engine(url), [f"bench_{secrets.token_hex(4)}" for _ in range(2)]
    with engine.begin() as connection:
        for schema in schemas:
            connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
    with tempfile.TemporaryDirectory() as folder:
        databases = [_generate(f"{url}?options=-csearch_path%3D{schema}", Path(folder)) for schema in schemas]
        block = invented(list(range(1, rows // READINGS + 1)))
        named = [{"name": f"s{n}", "type": "Flow"} for n in range(rows // READINGS)]
        Sensors(databases[0]).create("default", named)
        tuples = list(zip(*(c.tolist() for c in (block.sensors, block.times, block.values)), strict=True))
        seconds: dict[str, list[float]] = {"ours": [], "bare": []}
        for _ in range(2):
            with _timed(seconds["ours"]):
                _in_batches(databases[0], block)
            with _timed(seconds["bare"]):
                _copy(databases[1], tuples)
        for database in databases:
            database.close()
    with engine.begin() as connection:
        for schema in schemas:
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
    return _rates("PostgreSQL", rows, seconds)


def training(manager: TrainingManager, ids: list[int], jobs: int, home: Path) -> JSON:
    """Anomaly and drift models of all sensors, between two rounds of the plain loop on a few of them."""
    cpu = [time.process_time()]
    before = plain_loop(manager.storage.database, ids[:PLAIN], home)
    cpu.append(time.process_time())
    names = [f"{sensor}-{kind}" for sensor in ids for kind in ("anomaly", "drift")]
    watch = psutil.Process()
    began = time.perf_counter()
    session = manager.train_batch("sensors", "default", names, jobs=jobs).session
    ours = (time.perf_counter() - began) / len(ids)
    cpu.append(time.process_time())
    after = plain_loop(manager.storage.database, ids[-PLAIN:], home)
    plain = statistics.mean([before, after])
    assert session is not None
    return {
        "sensors": len(ids),
        "jobs": jobs,
        "message": session.message,
        "seconds": round(ours * len(ids), 1),
        "ours_ms_a_sensor": round(1e3 * ours, 1),
        "plain_ms_a_sensor": [round(1e3 * before, 1), round(1e3 * after, 1)],
        "times_faster": round(plain / ours, 2),
        "owner_rss_mb": round(watch.memory_info().rss / 1e6),
        "plain_cpu_ms_a_sensor": round(1e3 * (cpu[1] - cpu[0]) / PLAIN, 1),
        "owner_cpu_s": round(cpu[2] - cpu[1], 2),
    }


def processor_time(told: JSON) -> JSON:
    """Processor time of all processes of the session: what a machine that others use, too, still tells.

    The imports of the children, and of the spares that were never used, are counted.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = told["owner_cpu_s"] + children.ru_utime + children.ru_stime
    a_sensor = 1e3 * ours / told["sensors"]
    return {
        "ours_cpu_ms_a_sensor": round(a_sensor, 1),
        "times_less_processor_time": round(told["plain_cpu_ms_a_sensor"] / a_sensor, 2),
        "largest_child_rss_mb": round(children.ru_maxrss / 1024),
    }


def plain_loop(database: Database, ids: list[int], home: Path) -> float:
    """Seconds a sensor of the loop that the old platform ran."""
    began = time.perf_counter()
    for sensor in ids:
        with Session(database.engine) as session:
            query = sa.select(_Reading).where(readings.c.sensor_id == sensor).order_by(readings.c.timestamp)
            rows = session.scalars(query).all()
            values = np.array([row.raw_value for row in rows])
            times = np.array([row.timestamp for row in rows]) / 1e6
        forest = IsolationForest(n_estimators=100, random_state=42).fit(build_classic_features(values, times))
        joblib.dump(forest, home / "anomaly.joblib")
        rows_of, targets = build_features(compute_drift(Baseline(50.0, 50.0), values), times / 3_600, 5)
        joblib.dump(LinearRegression().fit(rows_of, targets), home / "drift.joblib")
    return (time.perf_counter() - began) / len(ids)


def detection(manager: TrainingManager, ids: list[int], asked: int = 2_000) -> JSON:
    """One detection with its queries: of a model in memory, and of any of them all."""
    service = SensorService(manager.storage.database, "default", manager.model_cache.current)
    sensors = Sensors(manager.storage.database).get_many("default", ids)
    chance = np.random.default_rng(3)
    warm = ids[: min(100, len(ids))]
    found: JSON = {"models_on_disk": 2 * len(ids), "kept_in_memory": manager.model_cache.capacity}
    for name, choice in (("warm", warm), ("any", ids)):
        seconds: list[float] = []
        for sensor in chance.choice(choice, asked).tolist():
            with _timed(seconds):
                service.detect(sensors[sensor], np.array([51.0]), np.array([1_800_000_000_000_000]))
        skipped = seconds[200:]
        found[f"{name}_p50_ms"] = round(1e3 * float(np.quantile(skipped, 0.5)), 2)
        found[f"{name}_p99_ms"] = round(1e3 * float(np.quantile(skipped, 0.99)), 2)
    forest = IsolationForest(n_estimators=100, random_state=42).fit(chance.normal(size=(READINGS, 3)))
    seconds = []
    for _ in range(200):
        with _timed(seconds):
            forest.predict(np.zeros((1, 3)))
    found["scikit_learn_predict_p50_ms"] = round(1e3 * float(np.quantile(seconds, 0.5)), 2)
    assert manager.model_cache.current(ModelKey("sensors", f"{ids[0]}-anomaly")).number >= 1
    return found


@contextmanager
def _timed(into: list[float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    into.append(time.perf_counter() - began)


def _generate(url: str, folder: Path) -> Database:
    database = Database(url, folder)
    database.migrate()
    return database


def _in_batches(database: Database, block: ReadingBlock) -> None:
    for start in range(0, len(block), 100_000):
        Readings(database).ingest("default", block.select(slice(start, start + 100_000)))


def _executemany(file: Path, rows: list[tuple[Any, ...]]) -> None:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA synchronous=FULL")
    said = "INSERT INTO readings (tenant, sensor_id, timestamp, raw_value) VALUES ('default',?,?,?)"
    with connection:
        connection.executemany(said, rows)
    connection.close()


def _copy(database: Database, rows: list[tuple[Any, ...]]) -> None:
    with database.write() as connection:
        driver: Any = connection.connection
        said = "COPY readings (sensor_id, timestamp, raw_value, tenant) FROM STDIN"
        with driver.cursor() as cursor, cursor.copy(said) as copy:
            for row in rows:
                copy.write_row((*row, "default"))


def _rates(name: str, rows: int, seconds: dict[str, list[float]]) -> JSON:
    rates = {which: [round(rows / one) for one in found] for which, found in seconds.items()}
    share = statistics.mean(seconds["bare"]) / statistics.mean(seconds["ours"])
    return {"database": name, "rows": rows, "rows_a_second": rates, "share_of_bare": round(share, 2)}


if __name__ == "__main__":
    main()
