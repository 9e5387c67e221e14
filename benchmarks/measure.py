"""Figures with their spread, the machine they were measured on, and where they are written."""

from __future__ import annotations

import json
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

RESULTS = Path(__file__).resolve().parent / "results"
_SAMPLE_SECONDS = 0.3


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one quantity, in its unit."""

    n: int
    median: float
    lower_quartile: float
    upper_quartile: float
    least: float
    most: float
    p99: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.lower_quartile:.3g} to {self.upper_quartile:.3g})"


def spread(values: Sequence[float]) -> Spread:
    """Summarize one or more measurements."""
    ordered = sorted(values)
    return Spread(
        n=len(ordered),
        median=statistics.median(ordered),
        lower_quartile=quantile(ordered, 0.25),
        upper_quartile=quantile(ordered, 0.75),
        least=ordered[0],
        most=ordered[-1],
        p99=quantile(ordered, 0.99),
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile, interpolated between neighbours."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


class Clock:
    """Seconds since the block was entered; they stop at its end."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._ended: float | None = None

    @property
    def seconds(self) -> float:
        return (self._ended or time.perf_counter()) - self._began

    def stop(self) -> None:
        self._ended = time.perf_counter()


@contextmanager
def clock() -> Iterator[Clock]:
    """Measure how long the block takes."""
    running = Clock()
    try:
        yield running
    finally:
        running.stop()


def foreign_load(ours: Sequence[int]) -> float:
    """Return the processor use of all other processes, in percent of one core. The less, the better a figure."""
    mine = {*ours, psutil.Process().pid}
    others = [process for process in psutil.process_iter() if process.pid not in mine]
    for process in others:
        _use(process)
    time.sleep(_SAMPLE_SECONDS)
    return round(sum(_use(process) for process in others), 1)


def _use(process: psutil.Process) -> float:
    try:
        return float(process.cpu_percent())
    except psutil.Error:
        return 0.0


def machine() -> dict[str, Any]:
    """Describe the machine that the figures come from."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in psutil.getloadavg()],
    }


def write_results(name: str, figures: dict[str, Any]) -> Path:
    """Write the figures of a benchmark (module name) with machine, date and command; return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]]),
        "machine": machine(),
        **figures,
    }
    path.write_text(json.dumps(document, indent=1, default=_plain) + "\n")
    return path


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as a Markdown table."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(f"\n{title}\n\n" + "\n".join(lines), flush=True)
