"""A detector that compares a reading, and the one before it, with every such pair the sensor has shown.

The score is the distance to the nearest earlier pair: the left matrix profile with windows of two (Yeh et
al., "Matrix Profile I", ICDM 2016; Lu et al., "DAMP", KDD 2022). It sees values, jumps and changes of rhythm
that no single value shows. Every training reading is scored by those before it alone, so all of them but the
first set the threshold; beyond what they reach, the tail of the distances is taken as exponential
(peaks over threshold: Pickands 1975; Siffer et al., "SPOT", KDD 2017).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.sensors.detector import Detector, preceding, profile_of

Array = NDArray[Any]

NAME = "nearest_neighbour"
ARRAYS = "neighbours.npz"
FACTS = "neighbours.json"
MOST_PAIRS = 2_000
_WARM_UP = 0.3
"""Share of the readings, the first, whose distances are large only because little has been seen yet."""
_TAIL = 0.1
"""Share of the distances that counts as their tail."""
_BLOCKS, _LARGEST_BLOCK, _SMALLEST_BLOCK = 200, 1_000, 25
_NOTE = "each reading was judged by those before it and the tail extrapolated: not guaranteed"


@dataclass(frozen=True)
class Learnt:
    """What the readings teach: ``scores`` of those behind the warm-up, and the threshold they set."""

    pairs: Array
    scores: Array
    tail: tuple[float, float]
    threshold: float
    facts: JSON


def learnt(levels: Array, rate: float) -> Learnt:
    """Pairs to compare with, and a threshold that ordinary readings exceed at about this rate.

    Parameters
    ----------
    levels : float64, shape (n,)
        Values, shifted and scaled, in order of time.
    rate : float
        Share of ordinary readings that may alarm.
    """
    pairs = np.stack([preceding(levels), levels], axis=1)
    found = earlier_distances(pairs)[int(_WARM_UP * len(pairs)) :]
    start, excess = tail_of(found)
    limit = start + excess * max(0.0, math.log(_TAIL / rate))
    facts = {
        "algorithm": NAME,
        "rate": rate,
        "held_out": len(found),
        "guaranteed": False,
        "note": _NOTE,
        "tail_from": start,
        "mean_excess": excess,
    }
    return Learnt(_spread_out(pairs), as_score(found), (start, excess), float(as_score(limit)), facts)


def earlier_distances(pairs: Array) -> Array:
    """Distance of every pair to the nearest one before it, block by block; zero for the first block."""
    count = len(pairs)
    size = min(_LARGEST_BLOCK, max(1, min(_SMALLEST_BLOCK, count // 8), count // _BLOCKS))
    found = np.zeros(count)
    for first in range(max(size, 2), count, size):
        block = slice(first, first + size)
        found[block] = nearest(pairs[block], _spread_out(pairs[: first - 1]))
    return found


def nearest(pairs: Array, known: Array) -> Array:
    """Euclidean distance of each pair to the nearest known one, shape (n,)."""
    squares = (pairs[:, :1] - known[:, 0]) ** 2
    squares += (pairs[:, 1:] - known[:, 1]) ** 2
    distances: Array = np.sqrt(squares.min(axis=1))
    return distances


def tail_of(distances: Array) -> tuple[float, float]:
    """Where the largest tenth begins, and by how much it is exceeded on average (never zero)."""
    start = float(np.quantile(distances, 1.0 - _TAIL))
    excess = distances[distances > start] - start
    mean = float(excess.mean()) if len(excess) else 0.0
    return start, max(mean, 1e-3 * start, 1e-9)


def as_score(distance: Any) -> Any:
    """A distance as a score in [0, 1)."""
    return distance / (1.0 + distance)


def _spread_out(pairs: Array) -> Array:
    """At most 2,000 of the pairs, evenly spaced in time."""
    if len(pairs) <= MOST_PAIRS:
        return pairs
    chosen: Array = pairs[np.linspace(0, len(pairs) - 1, MOST_PAIRS).astype(int)]
    return chosen


@dataclass(frozen=True)
class NeighbourDetector(Detector):
    """How far a reading and the one before it lie from every such pair seen in training.

    Parameters
    ----------
    pairs : float64, shape (k, 2)
        Shifted and scaled values: the one before, and the reading.
    centre, scale : float
    tail : (float, float)
        Where the tail of the distances begins, and its mean excess.
    """

    pairs: Array
    centre: float
    scale: float
    tail: tuple[float, float]

    algorithm: ClassVar[str] = NAME
    context: ClassVar[int] = 1

    def scores(self, values: Array, times: Array, before: Array) -> NDArray[np.float64]:
        scored: NDArray[np.float64] = as_score(self.distances(values, before))
        return scored

    def distances(self, values: Array, before: Array) -> Array:
        """Distance to the nearest known pair in robust standard deviations, shape (n,)."""
        asked = (np.stack([before, values], axis=1) - self.centre) / self.scale
        asked = np.clip(asked, -1e150, 1e150)
        blocks = range(0, len(asked), _LARGEST_BLOCK)
        parts = [nearest(asked[at : at + _LARGEST_BLOCK], self.pairs) for at in blocks]
        return np.concatenate([*parts, np.empty(0)])

    def save(self, folder: Path) -> None:
        """Write ``neighbours.npz`` and ``neighbours.json``."""
        expected = self.profile.expected
        np.savez(folder / ARRAYS, pairs=self.pairs, held_out=self.held_out, expected=expected)
        said = {**self.told(), "centre": self.centre, "scale": self.scale, "tail": self.tail}
        (folder / FACTS).write_text(json.dumps(said, indent=1), encoding="utf-8")


def load(folder: Path) -> NeighbourDetector:
    """A detector from its folder; never unpickles."""
    said = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    with np.load(folder / ARRAYS, allow_pickle=False) as kept:
        pairs, held_out, profile = kept["pairs"], kept["held_out"], profile_of(said, kept["expected"])
    start, excess = said["tail"]
    shift = (said["centre"], said["scale"], (start, excess))
    return NeighbourDetector(said["threshold"], held_out, profile, said["facts"], pairs, *shift)
