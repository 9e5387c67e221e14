"""The scoring of the Numenta Anomaly Benchmark, from its published description.

Lavin & Ahmad, "Evaluating real-time anomaly detection algorithms", ICMLA 2015. A detection counts by where
in its labelled window it lies (a sigmoid that is 1 at the left end and 0 at the right), once a window; one
outside costs by its distance from the window before; a missed window costs, too. One threshold is chosen for
all files of a profile; null detections score 0 and perfect ones 100.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Weights of a false positive and of a missed window; a true positive weighs 1.
PROFILES = {"standard": (0.11, 1.0), "low_fp": (0.22, 1.0), "low_fn": (0.11, 2.0)}

PROBATION, MAX_PROBATION = 0.15, 750


@dataclass(frozen=True)
class File:
    """One series with its windows, as inclusive positions."""

    name: str
    times: Array
    values: Array
    windows: Sequence[tuple[int, int]]

    @property
    def probation(self) -> int:
        """Rows at the start that are not scored."""
        return min(int(PROBATION * len(self.values)), MAX_PROBATION)


def read_files(data: Path) -> Iterator[File]:
    """Every file of the benchmark below ``data``."""
    labels = json.loads((data / "labels" / "combined_windows.json").read_text())
    for name, windows in sorted(labels.items()):
        with (data / "data" / name).open() as opened:
            rows = list(csv.DictReader(opened))
        times = np.array([_seconds(row["timestamp"]) for row in rows])
        values = np.array([float(row["value"]) for row in rows])
        ends = [(_seconds(a), _seconds(b)) for a, b in windows]
        at = [(int(np.searchsorted(times, a)), int(np.searchsorted(times, b, "right")) - 1) for a, b in ends]
        yield File(name, times, values, at)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def sigmoid(position: Array) -> Array:
    """1 far before, 0 at the right end of the window, -1 far behind."""
    return np.where(position > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(position, 3))) - 1)


def values_of(file: File) -> tuple[Array, Array]:
    """Return what a detection at each row is worth, and the window it lies in (-1 for none)."""
    rows = np.arange(len(file.values))
    worth, window = np.full(len(rows), -1.0), np.full(len(rows), -1)
    for number, (left, right) in enumerate(file.windows):
        width = right - left + 1
        behind = rows > right
        worth[behind] = sigmoid((rows[behind] - right) / max(1, width - 1))
        inside = (rows >= left) & (rows <= right)
        worth[inside] = sigmoid(-(right - rows[inside] + 1) / width) / sigmoid(np.array(-1.0))
        window[inside] = number
    return worth, window


def benchmark(files: Sequence[File], scorer: Callable[[File], Array]) -> dict[str, float]:
    """Return the three profiles' scores of a detector that gives every row of a file an anomaly score."""
    scores, worth, window, shift = [], [], [], 0
    for file in files:
        value, inside = values_of(file)
        kept = slice(file.probation, None)
        scores.append(np.asarray(scorer(file), dtype=np.float64)[kept])
        worth.append(value[kept])
        window.append(np.where(inside >= 0, inside + shift, -1)[kept])
        shift += len(file.windows)
    joined = (np.concatenate(scores), np.concatenate(worth), np.concatenate(window))
    return {name: round(_best(joined, shift, *weights), 1) for name, weights in PROFILES.items()}


def _best(rows: tuple[Array, Array, Array], count: int, false: float, missed: float) -> float:
    """Return the best score over all thresholds, null at 0 and perfect at 100.

    ``rows`` are score, worth and window of every row.
    """
    scores, worth, window = rows
    order = np.argsort(-scores, kind="stable")
    scores, worth, window = scores[order], worth[order], window[order]
    gain = np.where(window < 0, false * worth, 0.0)
    for number in range(count):
        mine = np.flatnonzero(window == number)
        so_far = np.maximum.accumulate(worth[mine]) if len(mine) else np.empty(0)
        gain[mine] = np.diff(np.concatenate([[-missed], so_far]))
    total = -missed * count + np.cumsum(gain)
    ends = np.append(np.diff(scores) != 0, True)
    best = max(-missed * count, float(total[ends].max()))
    return 100 * (best + missed * count) / (count + missed * count)
