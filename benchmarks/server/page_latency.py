"""How long pages take with 2,000 sensors and many readings: ``python -m benchmarks.server.page_latency``.

The server's own code answers in this process, without a network: what is measured is the database, the services and
the templates. One sensor has a fifth of the readings, so that its chart has to be thinned from millions of rows.
``--fleets`` adds trainings of the models of all sensors to the list of trainings.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from app import create_app
from benchmarks.measure import foreign_load, spread, write_results
from prediction.sensors.model_names import FAMILY, build_model_names
from settings import Settings
from storage.db.sessions import BatchItem, CandidateScores, SessionStore
from storage.sensors.reading_block import ReadingBlock
from training.context import BATCH_NAME

SENSORS, READINGS, REPEATS = 2_000, 10_000_000, 15
START_US, STEP_US = 1_500_000_000_000_000, 60_000_000
BLOCK = 100_000
PAGES = (
    "/",
    "/sensors",
    "/sensors?name=1999",
    "/sensors?status=critical",
    "/sensors/1",
    "/trainings",
    "/assets?id=Sensor%201999",
    "/train/sessions",
    "/devices",
)
FIGURES = ("/sensors/1/figures/readings", "/sensors/2/figures/readings")


def main() -> None:
    """Fill a home folder, ask for each page several times, and write the figures."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--readings", type=int, default=READINGS)
    command.add_argument("--repeats", type=int, default=REPEATS)
    command.add_argument("--fleets", type=int, default=0)
    asked = command.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), demo_data=False, sentence_model="none", executor="in-process")
        app = create_app(settings)
        stores = app.extensions["millwright"].sensors
        names = [
            {"name": f"Sensor {number}", "type": "Flow", "unit": "m³/h", "max_value": 9.0}
            for number in range(SENSORS)
        ]
        ids = [
            sensor
            for start in range(0, SENSORS, 500)
            for sensor in stores.sensors.create("default", names[start : start + 500])
        ]
        for block in generate_readings(np.array(ids), asked.readings):
            stores.readings.ingest("default", block)
        for _ in range(asked.fleets):
            add_fleet(app.extensions["millwright"].storage.sessions, build_model_names(ids))
        client, figures = app.test_client(), {}
        for path in (*PAGES, *FIGURES):
            seconds = []
            for _ in range(asked.repeats):
                began = time.perf_counter()
                answer = client.get(path, headers={"Accept": "text/html"})
                seconds.append(time.perf_counter() - began)
                assert answer.status_code == 200, answer.text
            figures[path] = {**asdict(spread([1e3 * value for value in seconds])), "bytes": len(answer.data)}
            print(f"{path:35} {spread([1e3 * value for value in seconds])} ms, {len(answer.data):,} bytes")
        facts = {"sensors": SENSORS, "readings": asked.readings, "fleets": asked.fleets}
        facts["foreign_load_percent"] = foreign_load([])
        print(write_results("server.page_latency", {**facts, "milliseconds": figures}))
        app.extensions["millwright"].close()
        app.extensions["millwright"].close_storage()


def add_fleet(sessions: SessionStore, names: Sequence[str]) -> None:
    """Store a training of many models, as it is after its end."""
    scores: CandidateScores = {
        "headline": 0.1,
        "metrics": {"mae": 0.1},
        "baselines": {},
        "held_out": 100,
        "beats_baselines": True,
        "parity_deviation": 0.0,
    }
    items: list[BatchItem] = [
        {"name": name, "state": "completed", "version": 1, "metrics": scores} for name in names
    ]
    session = sessions.create(tenant="default", family=FAMILY, name=BATCH_NAME, kind="fleet")
    sessions.finish(session.id, "completed", details={"models": len(names), "items": items})


def generate_readings(sensors: np.ndarray, count: int) -> Iterator[ReadingBlock]:
    """Yield blocks of readings: a fifth of the first sensor, the rest of all others in turn."""
    rng = np.random.default_rng(7)
    for first in range(0, count, BLOCK):
        rows = np.arange(first, min(first + BLOCK, count))
        is_first = rows % 5 == 0
        of = np.where(is_first, sensors[0], sensors[1 + rows % (len(sensors) - 1)])
        yield ReadingBlock(of, START_US + rows * STEP_US // 5, 4 + rng.normal(0, 0.3, len(rows)))


if __name__ == "__main__":
    main()
