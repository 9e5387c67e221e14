"""Ten million readings: ``python -m benchmarks.sensors.volume``; what they take of memory, and of time.

One sensor has a fifth of them, sixteen have the rest. They are ingested, asked by sensor and time, examined,
and trained from; each step's largest memory is that of the process of its own in which it is done.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from prediction.contract import ModelKey, no_progress
from prediction.sensors.data_source import SensorsDataSource
from prediction.sensors.options import SensorTrainingOptions
from prediction.sensors.readings import SensorSeries
from prediction.sensors.readings.quality import check_quality
from prediction.sensors.training_data import MAX_READINGS
from settings import Settings
from storage.db.database import Database
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from training.execution.run_task import TaskContext, train
from training.execution.tasks import TrainTask

JSON = dict[str, Any]
OTHERS = 16
STEP_US = 60_000_000
START_US = 1_500_000_000_000_000
AT_ONCE = 100_000


def main() -> None:
    """Print one JSON document."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--rows", type=int, default=10_000_000)
    command.add_argument("--database", help="SQLAlchemy URL of an empty database; SQLite where it is missing")
    asked = command.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "data" / "run").mkdir(parents=True)
        url = asked.database or f"sqlite:///{home}/data/millwright.db"
        steps: list[Any] = [ingest, pages, quality, Training("anomaly"), Training("drift")]
        found = {step.__name__: _alone(step, url, home, asked.rows) for step in steps}
    print(json.dumps({"rows": asked.rows, **found}, indent=2))


def _alone(step: Callable[..., JSON], url: str, home: Path, rows: int) -> JSON:
    """One step in a process of its own, with its largest memory."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_measured, args=(theirs, step, url, home, rows))
    worker.start()
    theirs.close()
    told: JSON = ours.recv()
    worker.join()
    return told


def _measured(answer: Any, step: Callable[..., JSON], url: str, home: Path, rows: int) -> None:
    database = Database(url, home / "data" / "run")
    database.migrate()
    before, cpu, began = _megabytes(), time.process_time(), time.perf_counter()
    told = step(database, home, rows)
    seconds = {"seconds": round(time.perf_counter() - began, 2), "cpu_s": round(time.process_time() - cpu, 2)}
    answer.send({**told, **seconds, "rss_mb_before": before, "largest_rss_mb": _megabytes()})


def _megabytes() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def ingest(database: Database, home: Path, rows: int) -> JSON:
    """Every sensor's readings, a hundred thousand at a time."""
    names = [{"name": f"sensor {n}", "type": "Flow"} for n in range(OTHERS + 1)]
    ids = Sensors(database).create("default", names)
    shares = [rows // 5] + [(rows - rows // 5) // OTHERS] * OTHERS
    chance, store = np.random.default_rng(1), Readings(database)
    for sensor, share in zip(ids, shares, strict=True):
        for start in range(0, share, AT_ONCE):
            at = np.arange(start, min(share, start + AT_ONCE))
            values = 50 + 3 * np.sin(at * 60 / 86_400 * 2 * np.pi) + chance.normal(0, 0.5, len(at))
            store.ingest("default", ReadingBlock(np.full(len(at), sensor), START_US + at * STEP_US, values))
    return {"sensors": len(ids), "largest_sensor": shares[0]}


def pages(database: Database, home: Path, rows: int) -> JSON:
    """First and last pages of a sensor and of the tenant, in milliseconds of processor time."""
    store, times = Readings(database), []
    last = store.get_watermark()
    asks: list[Callable[[], Any]] = [
        lambda: store.page_by_time("default", 1, limit=1_000),
        lambda: store.page_by_time("default", 1, limit=1_000, after=rows // 5 - 2_000),
        lambda: store.page("default", limit=1_000, after=last - 2_000),
        lambda: store.page("nobody", limit=1_000),
    ]
    for ask in asks:
        ask()
        began = time.process_time()
        for _ in range(5):
            ask()
        times.append(round(1e3 * (time.process_time() - began) / 5, 2))
    return {"cpu_ms_first_late_of_all_of_nobody": times}


def quality(database: Database, home: Path, rows: int) -> JSON:
    """Return the report on the largest sensor's data, as the route makes it."""
    series = SensorSeries.from_stored(Readings(database).series(1, latest=MAX_READINGS))
    return {"readings": check_quality(series, 0.0, 100.0)["readings"]}


class Training:
    """One model of the largest sensor, as a session's child makes it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.__name__ = f"train_{kind}"

    def __call__(self, database: Database, home: Path, rows: int) -> JSON:
        source = SensorsDataSource(home / "data", database).training_source(
            ModelKey("sensors", f"1-{self.kind}"), None
        )
        staging = home / self.__name__
        staging.mkdir()
        task = TrainTask(
            family="prediction.sensors.family:SensorsFamily",
            source=source,
            options=asdict(SensorTrainingOptions()),
            staging=self.__name__,
            probe=f"{self.__name__}.json",
        )
        context = TaskContext.from_settings(Settings(home=home))
        return {"readings": train(task, context, no_progress).rows}


if __name__ == "__main__":
    main()
