"""How fast a web worker starts, what it holds in memory, and what it has not imported.

``python -m benchmarks.server.startup --data FOLDER``

A worker is killed; gunicorn starts another. Its age (by the kernel's clock) at its first answers is its
start-up time. Memory is read when it has loaded the champion, and when it has answered a thousand records.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import spread, table, write_results
from benchmarks.server.process import Server, millwright
from benchmarks.server.workload import FreshReports, copy_history

MAX_SECONDS = 60.0
UNWANTED = ("torch", "sklearn", "scipy", "pandas")


def replaced(server: Server, question: dict[str, Any]) -> tuple[float, float, float]:
    """Kill the only worker.

    Returns
    -------
    tuple of float
        The next one's age in seconds at its first answer and at its first prediction, and its processor time.
    """
    old = server.workers()[0]
    old.kill()
    server.wait(lambda: any(worker.pid != old.pid for worker in server.workers()), MAX_SECONDS)
    worker = server.workers()[0]
    born = worker.create_time()
    server.wait(lambda: server.answers("/health/live"), MAX_SECONDS)
    alive = time.time() - born
    server.post("/predict", question)
    predicted = time.time() - born
    used = worker.cpu_times()
    return alive, predicted, used.user + used.system


def memory(server: Server, fresh: FreshReports, size: int) -> dict[str, float]:
    """Megabytes of the worker: resident when it has loaded the champion, after a batch, and not shared."""
    worker = server.workers()[0]
    loaded = worker.memory_info().rss / 1e6
    server.post("/predict", fresh.questions(size))
    full = worker.memory_full_info()
    return {"champion loaded": loaded, "after a batch": full.rss / 1e6, "its own alone": full.uss / 1e6}


def unwanted(worker: psutil.Process) -> list[str]:
    """Libraries that only children may load, found among the files mapped into a worker."""
    mapped = Path(f"/proc/{worker.pid}/maps").read_text()
    return [name for name in UNWANTED if f"/site-packages/{name}/" in mapped]


def main() -> None:
    """Measure, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the three CSV files")
    command.add_argument("--repeats", type=int, default=7)
    command.add_argument("--size", type=int, default=1_000)
    asked = command.parse_args()
    fresh = FreshReports(asked.data, seed=3)
    with millwright(partial(copy_history, asked.data), workers=1) as server:
        server.settle()
        ages = [replaced(server, fresh.questions(1)[0]) for _ in range(asked.repeats)]
        held = memory(server, fresh, asked.size)
        found = unwanted(server.workers()[0])
        server.stop()
        whole = server.start()
    moments = ("first answer", "first prediction", "processor time until then")
    times = {name: spread(taken) for name, taken in zip(moments, zip(*ages, strict=True), strict=True)}
    table("A web worker's start, seconds (quartiles)", ["moment", "age"], list(times.items()))
    table("A web worker's memory, MB", ["moment", "MB"], [[name, round(mb)] for name, mb in held.items()])
    print(f"\nwhole server, start to ready: {whole:.2f} s; loaded though unwanted: {found or 'nothing'}")
    print(
        write_results(
            "server.startup", {"seconds": times, "memory_mb": held, "unwanted": found, "server_start": whole}
        )
    )


if __name__ == "__main__":
    main()
