"""Past predictions compared with later failures: how good a version is where it serves.

Only failures reveal the truth. A run that goes on, or was ended by maintenance, is censored: its predictions
are left out of every metric, and only counted where they are contradicted already.

A plant asks for predictions at other remaining lives than those of the held-out rows, and errors are larger
far from the end. So the measured error is compared with the held-out error *at the same remaining lives*.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.monitoring import ProductionMetrics
from prediction.rul.data.label import MICROSECONDS_PER_HOUR, DataLabeler
from prediction.rul.evaluation import metrics
from prediction.rul.evaluation.intervals import is_covered
from storage.devices.failures import RunEnd
from storage.devices.predictions import StoredPredictions

Floats = NDArray[np.float64]
RunEnds = Mapping[str, Sequence[RunEnd]]

_NUM_BINS: Final = 8
_NEVER: Final = 2**62
# Only the newest failures count: a long good past must not hide a change.
MAX_RUNS: Final = 30


class ExpectedErrorRecord(TypedDict):
    """An `ExpectedError` as ``model_metadata.json`` holds it."""

    lives: list[float]
    errors: list[float]


@dataclass(frozen=True)
class ExpectedError:
    """Mean absolute error on held-out devices by remaining life, both in hours: arrays of shape (lives,)."""

    lives: Floats
    errors: Floats

    @classmethod
    def fit(cls, truth: Floats, predictions: Floats, horizon_hours: float) -> ExpectedError:
        """Fit to held-out rows in eight equal bins below the horizon, and one at the horizon."""
        bins = np.minimum((truth / horizon_hours * _NUM_BINS).astype(int), _NUM_BINS)
        middles = np.append((np.arange(_NUM_BINS) + 0.5) / _NUM_BINS, 1.0) * horizon_hours
        used = np.unique(bins)
        errors = np.abs(predictions - truth)
        return cls(middles[used], np.array([errors[bins == number].mean() for number in used]))

    def at(self, truth: Floats) -> Floats:
        """Return the expected error of a prediction at each remaining life."""
        return np.interp(truth, self.lives, self.errors)

    def to_dict(self) -> ExpectedErrorRecord:
        """Return what `from_dict` reads."""
        return {"lives": self.lives.tolist(), "errors": self.errors.tolist()}

    @classmethod
    def from_dict(cls, content: ExpectedErrorRecord) -> ExpectedError:
        """Rebuild what `to_dict` returned."""
        return cls(np.array(content["lives"]), np.array(content["errors"]))


@dataclass(frozen=True)
class MatchedPredictions:
    """Predictions with a known outcome, and the number of those without.

    Parameters
    ----------
    rows : int64, shape (n,)
        Their positions among the stored ones.
    truth : float64, shape (n,)
        Hours to the failure, capped like the predictions.
    runs : int64, shape (n,)
        A number for each run that ended in a failure.
    censored, contradicted : int
        Predictions of runs that have not ended in a failure, and those among them that were shorter than the
        device has lived since.
    """

    rows: NDArray[np.int64]
    truth: Floats
    runs: NDArray[np.int64]
    censored: int
    contradicted: int


def match_failures(
    stored: StoredPredictions, ends: RunEnds, last_row: Callable[[str], int]
) -> MatchedPredictions:
    """Match predictions with the failures that followed, of the newest thirty failures.

    Parameters
    ----------
    ends : mapping
        The ends of each device's runs, oldest first.
    last_row : callable
        Returns the time of a device's last telemetry.
    """
    until, failed, runs = _find_run_ends(stored, ends, last_row)
    hours = np.maximum(until - stored.as_of, 0) / MICROSECONDS_PER_HOUR
    rows = np.flatnonzero(failed)
    numbers, firsts = np.unique(runs[rows], return_index=True)
    newest = numbers[np.argsort(until[rows][firsts], kind="stable")][-MAX_RUNS:]
    rows = rows[np.isin(runs[rows], newest)]
    contradicted = ~failed & (stored.value < np.minimum(hours, 0.98 * stored.max_value))
    return MatchedPredictions(
        rows=rows,
        truth=np.minimum(hours[rows], stored.max_value[rows]),
        runs=runs[rows],
        censored=int((~failed).sum()),
        contradicted=int(contradicted.sum()),
    )


def measure_production(
    stored: StoredPredictions,
    matched: MatchedPredictions,
    expected: ExpectedError,
    labeler: DataLabeler,
) -> ProductionMetrics:
    """Return the metrics of the matched predictions beside the expected error."""
    counts = {
        "matched_predictions": len(matched.rows),
        "failures": len(np.unique(matched.runs)),
        "censored_predictions": matched.censored,
        "contradicted_predictions": matched.contradicted,
    }
    if not len(matched.rows):
        return ProductionMetrics(counts, error="mean absolute error", unit="h")
    predictions, truth = stored.value[matched.rows], matched.truth
    low, high = stored.lower[matched.rows], stored.upper[matched.rows]
    has_interval = np.isfinite(low) & np.isfinite(high)
    covered = is_covered(truth, low, high)[has_interval]
    errors, expected_errors = np.abs(predictions - truth), expected.at(truth)
    return ProductionMetrics(
        metrics={
            **metrics.regression_metrics(truth, predictions),
            "critical_accuracy": metrics.critical_accuracy(truth, predictions, labeler),
            "alpha_lambda": metrics.alpha_lambda(truth, predictions, labeler.horizon_hours),
            "classification_report": metrics.classification_report(truth, predictions, labeler),
            "interval_coverage_90": float(covered.mean()) if len(covered) else None,
            **counts,
        },
        promised=float(expected_errors.mean()),
        measured=float(errors.mean()),
        excess=metrics.mean_by_device(errors - expected_errors, matched.runs),
        error="mean absolute error",
        unit="h",
    )


def _find_run_ends(
    stored: StoredPredictions, ends: RunEnds, last_row: Callable[[str], int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Return for each prediction the end of its run, whether it was a failure, and the run's number.

    A run that goes on ends with the device's last row.
    """
    until, failed = np.zeros(len(stored), dtype=np.int64), np.zeros(len(stored), dtype=bool)
    runs = np.zeros(len(stored), dtype=np.int64)
    # Predictions are ordered by device, so each device is one slice.
    names, firsts = np.unique(np.array(stored.devices), return_index=True)
    edges = np.append(np.sort(firsts), len(stored))
    num_runs = 0
    for name, first in sorted(zip(names.tolist(), firsts.tolist(), strict=True), key=lambda pair: pair[1]):
        rows = slice(first, int(edges[np.searchsorted(edges, first, side="right")]))
        times = np.array([time for time, _ in ends.get(name, ())] + [_NEVER], dtype=np.int64)
        is_failure = np.array([failure for _, failure in ends.get(name, ())] + [False])
        run = np.searchsorted(times, stored.as_of[rows], side="left")
        is_open = run == len(times) - 1
        until[rows] = np.where(is_open, last_row(name) if is_open.any() else 0, times[run])
        failed[rows], runs[rows] = is_failure[run], num_runs + run
        num_runs += len(times)
    return until, failed, runs
