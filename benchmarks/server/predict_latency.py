"""How long ``POST /predict`` takes: one record, a thousand at once, and one record while a training runs.

``python -m benchmarks.server.predict_latency --data FOLDER``

Every text is fresh, so no cache has seen it. The figures while training are paired: windows with and without
a training alternate, with the same number of requests, sent at the same pace whatever the answers take. The
guide's server gets the same requests.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import Spread, clock, foreign_load, spread, table, write_results
from benchmarks.server.process import Server, guide, millwright
from benchmarks.server.workload import FreshReports, copy_history

WARM_UP = 30
PACE_HZ = 20.0
MAX_REQUESTS = 2_000
WITH, WITHOUT = "/predict", "/predict?similar_reports=0"


@dataclass(frozen=True)
class Asked:
    """Milliseconds of requests of one kind, and the server's processor time for each."""

    ms: Spread
    processor_ms: float


@dataclass
class Pair:
    """Milliseconds of single predictions, idle and while a training runs; one list a window."""

    idle: list[list[float]] = field(default_factory=list)
    training: list[list[float]] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Pooled percentiles, and the ratio of the 99th percentiles."""
        pooled = [[ms for window in side for ms in window] for side in (self.idle, self.training)]
        idle, training = (spread(side) for side in pooled)
        return {
            "idle": idle,
            "training": training,
            "ratio_p50": training.median / idle.median,
            "ratio_p99": training.p99 / idle.p99,
        }


def timed(server: Server, path: str, body: Any) -> float:
    """Milliseconds of one request."""
    with clock() as taken:
        answer = server.post(path, body)
    if len(answer["predictions"]) != (len(body) if isinstance(body, list) else 1):
        raise RuntimeError("not as many answers as questions")
    return taken.seconds * 1000


def singles(server: Server, fresh: FreshReports, count: int) -> dict[str, Asked]:
    """Single predictions one after the other: with evidence, without, and of texts seen before."""
    for question in fresh.questions(WARM_UP):
        timed(server, WITH, question)
    questions = fresh.questions(count)
    return {
        "with evidence": asked_for(server, WITH, questions),
        "text seen before": asked_for(server, WITH, questions),
        "without evidence": asked_for(server, WITHOUT, fresh.questions(count)),
    }


def batches(server: Server, fresh: FreshReports, repeats: int, size: int) -> dict[str, Asked]:
    """Batches of fresh texts, with and without evidence."""
    kinds = {"with evidence": WITH, "without evidence": WITHOUT}
    return {
        name: asked_for(server, path, [fresh.questions(size) for _ in range(repeats)])
        for name, path in kinds.items()
    }


def asked_for(server: Server, path: str, bodies: Sequence[Any]) -> Asked:
    """Send one request after the other."""
    before = server.used_seconds()
    taken = spread([timed(server, path, body) for body in bodies])
    return Asked(taken, 1000 * (server.used_seconds() - before) / len(bodies))


def while_training(server: Server, fresh: FreshReports, windows: int) -> Pair:
    """Windows with a training, each followed by an idle one with as many requests."""
    pair = Pair()
    with ThreadPoolExecutor(1) as trainer:
        for _ in range(windows):
            server.settle()
            questions, records = fresh.questions(MAX_REQUESTS), fresh.records(3)
            training = trainer.submit(server.post, "/train", records)
            pair.training.append(_paced(server, questions, training.done))
            training.result()
            server.settle()
            asked = len(pair.training[-1])
            pair.idle.append(_paced(server, fresh.questions(asked), lambda: False))
    return pair


def _paced(server: Server, questions: Sequence[Any], enough: Callable[[], bool]) -> list[float]:
    """Milliseconds of predictions sent at a fixed pace; what delays the next request counts in full."""
    found: list[float] = []
    client = server.client()
    began = time.perf_counter()
    for number, question in enumerate(questions):
        due = began + number / PACE_HZ
        time.sleep(max(0.0, due - time.perf_counter()))
        timed(client, WITH, question)
        found.append((time.perf_counter() - due) * 1000)
        if enough():
            break
    return found


def measured(server: Server, data: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """All figures of one server."""
    fresh = FreshReports(data, seed=11)
    server.settle()
    load = foreign_load([process.pid for process in server.family()])
    one = singles(server, fresh, asked.singles)
    many = batches(server, fresh, asked.batches, asked.size)
    pair = while_training(server, fresh, asked.windows)
    return {"single_ms": one, "batch_ms": many, "while_training": pair.figures(), "foreign_load": load}


def show(found: dict[str, dict[str, Any]], size: int) -> None:
    """Print the tables."""
    one = [
        [name, kind, of.ms.n, f"{of.ms.median:.2f}", f"{of.ms.p99:.2f}", f"{of.processor_ms:.2f}"]
        for name, figures in found.items()
        for kind, of in figures["single_ms"].items()
    ]
    table("POST /predict, one record", ["server", "kind", "n", "p50, ms", "p99, ms", "processor, ms"], one)
    many = [
        [name, kind, of.ms.n, _seconds(of.ms), f"{of.processor_ms / 1000:.3f}"]
        for name, figures in found.items()
        for kind, of in figures["batch_ms"].items()
    ]
    header = ["server", "kind", "n", "seconds, median (range)", "processor s"]
    table(f"POST /predict, {size:,} fresh records", header, many)
    beside = [[name, *_sides(figures["while_training"])] for name, figures in found.items()]
    header = ["server", "n", "idle p50, p99, ms", "training p50, p99, ms", "ratio p50, p99"]
    table("POST /predict, one record, while a training runs", header, beside)


def _seconds(ms: Spread) -> str:
    return f"{ms.median / 1000:.3f} ({ms.least / 1000:.3f} to {ms.most / 1000:.3f})"


def _sides(pair: dict[str, Any]) -> Sequence[Any]:
    idle, training = pair["idle"], pair["training"]
    return (
        training.n,
        f"{idle.median:.1f}, {idle.p99:.1f}",
        f"{training.median:.1f}, {training.p99:.1f}",
        f"{pair['ratio_p50']:.2f}, {pair['ratio_p99']:.2f}",
    )


def main() -> None:
    """Measure, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the three CSV files")
    command.add_argument("--singles", type=int, default=300)
    command.add_argument("--batches", type=int, default=5)
    command.add_argument("--size", type=int, default=1_000)
    command.add_argument("--windows", type=int, default=15, help="trainings to predict beside")
    command.add_argument("--alone", action="store_true", help="without the guide's server")
    asked = command.parse_args()
    found = {}
    with ExitStack() as stack:
        kinds = [millwright] if asked.alone else [millwright, guide]
        servers = [stack.enter_context(kind(partial(copy_history, asked.data))) for kind in kinds]
        for server in servers:
            found[server.name] = measured(server, asked.data, asked)
    show(found, asked.size)
    print(write_results("server.predict_latency", found))


if __name__ == "__main__":
    main()
