"""Past answers beside the failures that came: how good a version is where it serves.

Only ends in a failure tell the truth. A run that goes on, or was ended by maintenance, is censored: its
answers are left out of every metric, and only counted where they are contradicted already.

When questions are asked differs between a plant and a held-out device, and far from the end errors are
larger: so what was measured is compared with what the held-out errors promise *at the same remaining lives*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.monitoring import ProductionMetrics
from prediction.rul.data.label import MICROSECONDS_AN_HOUR, DataLabeler
from prediction.rul.evaluation import metrics
from storage.devices.predictions import StoredPredictions

Floats = NDArray[np.float64]
Ends = Mapping[str, Sequence[tuple[int, bool]]]

_LIVES: Final = 8
_NEVER: Final = 2**62
NEWEST_RUNS: Final = 30
"""So many failures are looked at: a long good past must not hide a change."""


@dataclass(frozen=True)
class ExpectedError:
    """Mean absolute error on held-out devices by remaining life, both in hours: arrays of shape (lives,)."""

    lives: Floats
    errors: Floats

    @classmethod
    def of(cls, truth: Floats, answers: Floats, horizon_hours: float) -> ExpectedError:
        """Learn from held-out rows: eight equal stretches below the horizon, and the horizon itself."""
        stretch = np.minimum((truth / horizon_hours * _LIVES).astype(int), _LIVES)
        middles = np.append((np.arange(_LIVES) + 0.5) / _LIVES, 1.0) * horizon_hours
        known = np.unique(stretch)
        off = np.abs(answers - truth)
        return cls(middles[known], np.array([off[stretch == one].mean() for one in known]))

    def at(self, truth: Floats) -> Floats:
        """The error to expect of an answer at each remaining life."""
        return np.interp(truth, self.lives, self.errors)

    def to_dict(self) -> JSON:
        """As JSON."""
        return {"lives": self.lives.tolist(), "errors": self.errors.tolist()}

    @classmethod
    def from_dict(cls, told: JSON) -> ExpectedError:
        """From JSON."""
        return cls(np.array(told["lives"]), np.array(told["errors"]))


@dataclass(frozen=True)
class MatchedPredictions:
    """Answers whose truth is known, and how many are open.

    Parameters
    ----------
    rows : int64, shape (n,)
        Their places among the kept ones.
    truth : float64, shape (n,)
        Hours to the failure, capped like the answers.
    runs : int64, shape (n,)
        A number for each run that ended in a failure.
    censored, contradicted : int
        Answers of runs that did not end in a failure (yet), and those among them that said less than the
        device has lived since.
    """

    rows: NDArray[np.int64]
    truth: Floats
    runs: NDArray[np.int64]
    censored: int
    contradicted: int


def match(kept: StoredPredictions, ends: Ends, last_row: Callable[[str], int]) -> MatchedPredictions:
    """Find for each answer the failure that came; of the newest thirty failures.

    Parameters
    ----------
    ends : mapping
        When each device's runs ended (microseconds since 1970) and whether in a failure, oldest first.
    last_row : callable
        When a device was last heard of.
    """
    until, failed, runs = _ends_of(kept, ends, last_row)
    hours = np.maximum(until - kept.as_of, 0) / MICROSECONDS_AN_HOUR
    rows = _of_newest_runs(np.flatnonzero(failed), until, runs)
    contradicted = ~failed & (kept.value < np.minimum(hours, 0.98 * kept.max_value))
    return MatchedPredictions(
        rows=rows,
        truth=np.minimum(hours[rows], kept.max_value[rows]),
        runs=runs[rows],
        censored=int((~failed).sum()),
        contradicted=int(contradicted.sum()),
    )


def _of_newest_runs(
    rows: NDArray[np.int64], until: NDArray[np.int64], runs: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Those of the rows whose runs were the last to end."""
    numbers, firsts = np.unique(runs[rows], return_index=True)
    newest = numbers[np.argsort(until[rows][firsts], kind="stable")][-NEWEST_RUNS:]
    found: NDArray[np.int64] = rows[np.isin(runs[rows], newest)]
    return found


def _ends_of(
    kept: StoredPredictions, ends: Ends, last_row: Callable[[str], int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """When the run of each answer ended or was last seen, whether in a failure, and a number for the run."""
    until, failed = np.zeros(len(kept), dtype=np.int64), np.zeros(len(kept), dtype=bool)
    runs = np.zeros(len(kept), dtype=np.int64)
    names, firsts = np.unique(np.array(kept.devices), return_index=True)
    edges = np.append(np.sort(firsts), len(kept))
    before = 0
    for name, first in sorted(zip(names.tolist(), firsts.tolist(), strict=True), key=lambda pair: pair[1]):
        mine = slice(first, int(edges[np.searchsorted(edges, first, side="right")]))
        times = np.array([time for time, _ in ends.get(name, ())] + [_NEVER], dtype=np.int64)
        said = np.array([failure for _, failure in ends.get(name, ())] + [False])
        place = np.searchsorted(times, kept.as_of[mine], side="left")
        open_ones = place == len(times) - 1
        until[mine] = np.where(open_ones, last_row(name) if open_ones.any() else 0, times[place])
        failed[mine], runs[mine] = said[place], before + place
        before += len(times)
    return until, failed, runs


def production(
    kept: StoredPredictions, matched: MatchedPredictions, promise: ExpectedError, labeler: DataLabeler
) -> ProductionMetrics:
    """What the matched answers say of the version that gave them."""
    counted: JSON = {
        "matched_predictions": len(matched.rows),
        "failures": len(np.unique(matched.runs)),
        "censored_predictions": matched.censored,
        "contradicted_predictions": matched.contradicted,
    }
    if not len(matched.rows):
        return ProductionMetrics(counted, error="mean absolute error", unit="h")
    answers, truth = kept.value[matched.rows], matched.truth
    off, promised = np.abs(answers - truth), promise.at(truth)
    excess = metrics.mean_by_device(off - promised, matched.runs)
    return ProductionMetrics(
        metrics={**_measured(kept, matched, labeler), **counted},
        promised=float(promised.mean()),
        measured=float(off.mean()),
        excess=excess,
        error="mean absolute error",
        unit="h",
    )


def _measured(kept: StoredPredictions, matched: MatchedPredictions, labeler: DataLabeler) -> JSON:
    """The metrics of the evaluation, of the same names."""
    answers, truth = kept.value[matched.rows], matched.truth
    low, high = kept.lower[matched.rows], kept.upper[matched.rows]
    bounded = np.isfinite(low) & np.isfinite(high)
    held = (truth >= low - 1e-6) & (truth <= high + 1e-6)
    return {
        **metrics.regression(truth, answers),
        "critical_accuracy": metrics.critical_accuracy(truth, answers, labeler),
        "alpha_lambda": metrics.alpha_lambda(truth, answers, labeler.horizon_hours),
        "classification_report": metrics.classification_report(truth, answers, labeler),
        "interval_coverage_90": float(held[bounded].mean()) if bounded.any() else None,
    }
