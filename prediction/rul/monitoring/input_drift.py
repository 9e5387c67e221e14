"""Drift of the inputs since the training: the population stability index of each channel.

Worn devices look different from new ones, and a fleet gets younger and older. Only the early part of a run is
compared, as the network sees it (normalised within its operating condition), so that wear is not taken for
drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.monitoring import InputDrift
from prediction.rul.data.windows import FleetSplit

Floats = NDArray[np.float64]

# The newest runs are compared: a long past without changes must not hide one.
MIN_RUNS, MAX_RUNS = 8, 12
_NUM_DRAWN_RUNS: Final = 5
_NUM_DRAWS: Final = 200
_NUM_BINS: Final = 10
_DECILES: Final = np.linspace(0, 1, _NUM_BINS + 1)[1:-1]
_EARLY_SHARE: Final = 0.25


class PsiBaselineRecord(TypedDict):
    """A `PsiBaseline` as ``model_metadata.json`` holds it."""

    channels: list[str]
    early_rows: int
    edges: list[list[float]]
    shares: list[list[float]]
    by_chance: list[float]


@dataclass(frozen=True)
class PsiBaseline:
    """The distribution of the early rows of the training runs.

    Parameters
    ----------
    channels : sequence of str
    early_rows : int
        Number of early rows of a run: a quarter of the median run.
    edges : float64, shape (channels, 9)
        Deciles.
    shares : float64, shape (channels, 10)
        Of the rows between them.
    by_chance : float64, shape (channels,)
        The largest index of five of the training runs against the others, in two hundred draws.
    """

    channels: Sequence[str]
    early_rows: int
    edges: Floats
    shares: Floats
    by_chance: Floats

    @classmethod
    def fit(cls, channels: Sequence[str], train: FleetSplit, seed: int) -> PsiBaseline:
        """Fit to the runs of the training devices."""
        early_rows, early_runs = _select_early_runs(train)
        edges = np.quantile(np.concatenate(early_runs).astype(np.float64), _DECILES, axis=0).T
        counts = np.array([_count_bins(run, edges) for run in early_runs])
        by_chance = _draw_largest_index(counts, np.random.default_rng(seed))
        return cls(channels, early_rows, edges, _to_shares(counts.sum(axis=0)), by_chance)

    def measure(self, runs: Sequence[NDArray[np.float32]]) -> dict[str, InputDrift]:
        """Return the drift of each channel over the early rows of later runs; empty if they are too few."""
        if len(runs) < MIN_RUNS:
            return {}
        counts = np.sum([_count_bins(run, self.edges) for run in runs], axis=0)
        sizes = _stability_index(_to_shares(counts), self.shares).tolist()
        drifts = zip(self.channels, sizes, self.by_chance.tolist(), strict=True)
        return {name: InputDrift(size, by_chance) for name, size, by_chance in drifts}

    def to_dict(self) -> PsiBaselineRecord:
        """Return what `from_dict` reads."""
        return {
            "channels": list(self.channels),
            "early_rows": self.early_rows,
            "edges": self.edges.tolist(),
            "shares": self.shares.tolist(),
            "by_chance": self.by_chance.tolist(),
        }

    @classmethod
    def from_dict(cls, content: PsiBaselineRecord) -> PsiBaseline:
        """Rebuild what `to_dict` returned."""
        return cls(
            channels=content["channels"],
            early_rows=content["early_rows"],
            edges=np.array(content["edges"]),
            shares=np.array(content["shares"]),
            by_chance=np.array(content["by_chance"]),
        )


def _select_early_runs(train: FleetSplit) -> tuple[int, list[NDArray[np.float32]]]:
    """Return the number of early rows, and these rows of each training run, ``(rows, channels)``."""
    fleet = train.runs
    of_training = np.isin(fleet.device, np.unique(train.devices))
    is_first = fleet.cycles_since_start == 1
    lengths = (fleet.cycles_since_start + fleet.cycles_to_end)[of_training & is_first]
    early_rows = max(2, int(_EARLY_SHARE * np.median(lengths)))
    early = of_training & (fleet.cycles_since_start <= early_rows)
    starts = np.flatnonzero(is_first[early])
    return early_rows, np.split(fleet.matrix[fleet.last_rows[early]], starts[1:])


def _count_bins(rows: NDArray[np.float32], edges: Floats) -> NDArray[np.int64]:
    """Count the rows between the edges of each channel, shape (channels, 10)."""
    columns = zip(edges, rows.T, strict=True)
    counts = [np.bincount(np.searchsorted(edge, values), minlength=_NUM_BINS) for edge, values in columns]
    return np.array(counts, dtype=np.int64)


def _draw_largest_index(counts: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Return the largest index of a few runs against the others; counts are (runs, channels, bins)."""
    size, total = min(_NUM_DRAWN_RUNS, len(counts) // 2), counts.sum(axis=0)
    draws = [rng.choice(len(counts), size, replace=False) for _ in range(_NUM_DRAWS)]
    sums = [counts[draw].sum(axis=0) for draw in draws]
    largest: Floats = np.max(
        [_stability_index(_to_shares(part), _to_shares(total - part)) for part in sums], axis=0
    )
    return largest


def _to_shares(counts: NDArray[np.int64]) -> Floats:
    """Return shares of the bins; half a row more in each keeps the logarithm of an empty one finite."""
    filled = counts + 0.5
    shares: Floats = filled / filled.sum(axis=1, keepdims=True)
    return shares


def _stability_index(shares: Floats, baseline: Floats) -> Floats:
    """Return the population stability index of each channel (Siddiqi, Credit Risk Scorecards, 2006)."""
    index: Floats = ((shares - baseline) * np.log(shares / baseline)).sum(axis=1)
    return index
