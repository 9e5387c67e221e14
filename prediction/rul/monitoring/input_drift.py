"""Whether inputs are still those of the training: the population stability index of each channel.

Worn devices look different from new ones, and a fleet is now younger, now older. Only the early part of a run
is compared, as the network is shown it (normalised within its operating condition), so that wear is not taken
for drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.monitoring import InputDrift
from prediction.rul.data.windows import FleetSplit

Floats = NDArray[np.float64]

FEWEST_RUNS, MOST_RUNS = 8, 12
"""The newest runs are compared: a long past in which nothing moved must not hide what does."""
_DRAWN: Final = 5
_BINS: Final = 10
_DECILES: Final = np.linspace(0, 1, _BINS + 1)[1:-1]
_DRAWS: Final = 200
_EARLY: Final = 0.25


@dataclass(frozen=True)
class PsiBaseline:
    """The early rows of the training runs.

    Parameters
    ----------
    channels : sequence of str
    early_rows : int
        Rows of a run that count as early: a quarter of the median run.
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
    def of(cls, channels: Sequence[str], train: FleetSplit, seed: int) -> PsiBaseline:
        """Learn from the runs of the training devices."""
        early_rows, early = _early_runs(train)
        edges = np.quantile(np.concatenate(early).astype(np.float64), _DECILES, axis=0).T
        counts = np.array([_counts(run, edges) for run in early])
        shares = _shares(counts.sum(axis=0))
        return cls(channels, early_rows, edges, shares, _by_chance(counts, np.random.default_rng(seed)))

    def shifts(self, runs: Sequence[NDArray[np.float32]]) -> dict[str, InputDrift]:
        """The index of each channel over the early rows of later runs; empty where these are too few."""
        if len(runs) < FEWEST_RUNS:
            return {}
        counts = np.sum([_counts(run, self.edges) for run in runs], axis=0)
        sizes = _index(_shares(counts), self.shares).tolist()
        told = zip(self.channels, sizes, self.by_chance.tolist(), strict=True)
        return {name: InputDrift(size, by_chance) for name, size, by_chance in told}

    def to_dict(self) -> JSON:
        """As JSON."""
        arrays = {name: getattr(self, name).tolist() for name in ("edges", "shares", "by_chance")}
        return {"channels": list(self.channels), "early_rows": self.early_rows, **arrays}

    @classmethod
    def from_dict(cls, told: JSON) -> PsiBaseline:
        """From JSON."""
        arrays = {name: np.array(told[name]) for name in ("edges", "shares", "by_chance")}
        return cls(told["channels"], told["early_rows"], **arrays)


def _early_runs(train: FleetSplit) -> tuple[int, list[NDArray[np.float32]]]:
    """How many rows are early, and those of each run of the training devices, ``(rows, channels)``."""
    fleet = train.fleet
    mine = np.isin(fleet.device, np.unique(train.devices))
    lengths = (fleet.age + fleet.to_end)[mine & (fleet.age == 1)]
    early_rows = max(2, int(_EARLY * np.median(lengths)))
    chosen = mine & (fleet.age <= early_rows)
    starts = np.flatnonzero(fleet.age[chosen] == 1)
    return early_rows, np.split(fleet.matrix[fleet.ends[chosen]], starts[1:])


def _counts(rows: NDArray[np.float32], edges: Floats) -> NDArray[np.int64]:
    """Rows between the edges of each channel, shape (channels, 10)."""
    columns = zip(edges, rows.T, strict=True)
    found = [np.bincount(np.searchsorted(edge, values), minlength=_BINS) for edge, values in columns]
    return np.array(found, dtype=np.int64)


def _by_chance(counts: NDArray[np.int64], chance: np.random.Generator) -> Floats:
    """The largest index of a few runs against the others; counts have shape (runs, channels, bins)."""
    few, total = min(_DRAWN, len(counts) // 2), counts.sum(axis=0)
    drawn = [chance.choice(len(counts), few, replace=False) for _ in range(_DRAWS)]
    sums = [counts[places].sum(axis=0) for places in drawn]
    found: Floats = np.max([_index(_shares(some), _shares(total - some)) for some in sums], axis=0)
    return found


def _shares(counts: NDArray[np.int64]) -> Floats:
    """Shares with half a row more in each bin: an empty one must not count without bound."""
    filled = counts + 0.5
    shares: Floats = filled / filled.sum(axis=1, keepdims=True)
    return shares


def _index(shares: Floats, known: Floats) -> Floats:
    """Population stability index of each channel (Siddiqi, Credit Risk Scorecards, 2006)."""
    found: Floats = ((shares - known) * np.log(shares / known)).sum(axis=1)
    return found
