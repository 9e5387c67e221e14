"""How long ``POST /train`` with three records takes on a plant's history, beside the guide's approach.

``python -m benchmarks.server.train_latency --data FOLDER``

Both servers hold the same history and get the same records. They are asked in turns, each after both have
come to rest (Millwright makes its next warm process when a training has ended). The outputs are compared,
too: every answer a success of three records, and in the end the same rows in both servers' CSV files.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import clock, foreign_load, spread, table, write_results
from benchmarks.server.process import Server, guide, millwright
from benchmarks.server.workload import FreshReports, copy_history, same_rows

RECORDS = 3
STAGES = ("admit", "prepare", "fit", "evaluate", "refit", "save", "verify", "commit", "answer")


class Round:
    """One server's measurements."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seconds: list[float] = []
        self.back_to_back: list[float] = []
        self.processor: list[float] = []
        self.phases: dict[str, list[float]] = defaultdict(list)
        self.promoted = 0

    def train(self, records: list[dict[str, Any]], into: list[float]) -> None:
        """One training; its duration goes ``into`` a list."""
        began = time.time()
        with clock() as taken:
            answer = self.server.post("/train", records)
        added = answer["statistics"]["total_records_added"]
        if not answer["success"] or added != len(records):
            raise RuntimeError(f"{self.server.name} added {added} of {len(records)} records: {answer}")
        into.append(taken.seconds)
        self.promoted += answer.get("promoted", True)
        if "training_session_id" in answer and into is self.seconds:
            self._note_phases(answer["training_session_id"], began, began + taken.seconds)

    def _note_phases(self, session_id: int, began: float, ended: float) -> None:
        marks = {"admit": began, **dict(self.server.events(session_id))}
        order = sorted((moment, name) for name, moment in marks.items() if moment <= ended)
        for (start, name), (end, _) in zip(order, [*order[1:], (ended, "")], strict=True):
            self.phases["answer" if name in ("end", "ended") else name].append(end - start)


def measure(rounds: Sequence[Round], fresh: FreshReports, repeats: int, hurried: int) -> None:
    """Ask all servers in turns, each turn beginning with another one; all get the same records."""
    first = fresh.records(RECORDS)
    for one in rounds:
        one.train(first, [])
    for turn in range(repeats):
        records = fresh.records(RECORDS)
        for one in [*rounds[turn % len(rounds) :], *rounds[: turn % len(rounds)]]:
            for each in rounds:
                each.server.settle()
            before = one.server.used_seconds()
            one.train(records, one.seconds)
            one.server.settle()
            one.processor.append(one.server.used_seconds() - before)
    batches = [fresh.records(RECORDS) for _ in range(hurried)]
    for one in rounds:
        for records in batches:
            one.train(records, one.back_to_back)


def main() -> None:
    """Measure, compare, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the three CSV files")
    command.add_argument("--repeats", type=int, default=15)
    command.add_argument("--hurried", type=int, default=5, help="trainings one right after the other")
    command.add_argument("--alone", action="store_true", help="without the guide's server")
    asked = command.parse_args()
    fill, kinds = partial(copy_history, asked.data), [millwright] if asked.alone else [millwright, guide]
    with ExitStack() as stack:
        rounds = [Round(stack.enter_context(kind(fill))) for kind in kinds]
        ours = [process.pid for one in rounds for process in one.server.family()]
        load = foreign_load(ours)
        measure(rounds, FreshReports(asked.data, seed=7), asked.repeats, asked.hurried)
        equal = same_rows([one.server.data for one in rounds])
        show(rounds, load, equal)


def show(rounds: Sequence[Round], load: float, equal: bool) -> None:
    """Print the tables and keep the figures."""
    usual = {one.server.name: spread(one.seconds) for one in rounds}
    hurried = {one.server.name: spread(one.back_to_back) for one in rounds if one.back_to_back}
    used = {one.server.name: spread(one.processor) for one in rounds}
    rows = [
        [name, s.n, s, f"{s.least:.3g} to {s.most:.3g}", hurried.get(name, ""), used[name]]
        for name, s in usual.items()
    ]
    header = [
        "server",
        "n",
        "seconds, median (quartiles)",
        "range",
        "one right after the other",
        "processor s",
    ]
    table(f"POST /train with {RECORDS} records", header, rows)
    phases = {name: spread(rounds[0].phases[name]) for name in STAGES if rounds[0].phases[name]}
    table("Where Millwright's time goes", ["phase", "seconds"], [[n, s] for n, s in phases.items()])
    ratio = usual[rounds[-1].server.name].median / usual[rounds[0].server.name].median
    promoted = {one.server.name: one.promoted for one in rounds}
    print(f"\nratio {ratio:.2f}; same rows in both: {equal}; promoted: {promoted}; foreign load {load} %")
    figures = {
        "seconds": usual,
        "hurried": hurried,
        "processor_seconds": used,
        "phases": phases,
        "ratio": ratio,
    }
    print(
        write_results(
            "server.train_latency",
            {**figures, "same_rows": equal, "promoted": promoted, "foreign_load": load},
        )
    )


if __name__ == "__main__":
    main()
