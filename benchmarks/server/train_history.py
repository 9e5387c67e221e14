"""How training time grows with the history: generated plants of 5,000, 20,000 and 100,000 reports.

``python -m benchmarks.server.train_history``

For each length a server starts with that history (its first training is timed, too) and is then asked for
trainings with three records, each after it has come to rest. The guide's server is asked in turns with it.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import clock, spread, table, write_results
from benchmarks.server.process import guide, millwright
from benchmarks.server.train_latency import Round, measure
from benchmarks.server.workload import FreshReports, generate_history

SIZES = (5_000, 20_000, 100_000)


def measured(size: int, repeats: int, alone: bool) -> dict[str, Any]:
    """Return the figures of one length."""
    texts: list[int] = []

    def fill(data: Path) -> None:
        texts.append(generate_history(data, size))

    figures: dict[str, Any] = {"reports": size, "first": {}}
    with ExitStack() as stack:
        rounds = []
        for kind in [millwright] if alone else [millwright, guide]:
            with clock() as taken:
                server = stack.enter_context(kind(fill))
            figures["first"][server.name] = round(taken.seconds, 2)
            rounds.append(Round(server))
        figures["distinct_texts"] = texts[0]
        measure(rounds, FreshReports(rounds[0].server.data, seed=size), repeats, hurried=0)
        figures["seconds"] = {one.server.name: spread(one.seconds) for one in rounds}
        figures["phases"] = {name: spread(taken) for name, taken in rounds[0].phases.items()}
        figures["promoted"] = {one.server.name: one.promoted for one in rounds}
    return figures


def main() -> None:
    """Measure every length, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    command.add_argument("--repeats", type=int, default=5)
    command.add_argument("--alone", action="store_true", help="without the guide's server")
    asked = command.parse_args()
    lengths = [measured(size, asked.repeats, asked.alone) for size in asked.sizes]
    rows = [
        [f"{one['reports']:,}", f"{one['distinct_texts']:,}", name, one["first"][name], seconds]
        for one in lengths
        for name, seconds in one["seconds"].items()
    ]
    header = [
        "reports",
        "distinct texts",
        "server",
        "start and first training, s",
        "3 records, s (quartiles)",
    ]
    table("Training time by length of the history", header, rows)
    for one in lengths:
        phases = [[name, taken] for name, taken in one["phases"].items()]
        table(f"Where the time goes with {one['reports']:,} reports", ["phase", "seconds"], phases)
    print(write_results("server.train_history", {"lengths": lengths}))


if __name__ == "__main__":
    main()
