"""The measuring of answers on held-out devices, beside the simple rules that must be beaten."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON, Scores
from prediction.rul.data.label import DataLabeler
from prediction.rul.data.windows import FleetSplit
from prediction.rul.evaluation import metrics
from prediction.rul.evaluation.intervals import DEFAULT_COVERAGE, Residuals

Floats = NDArray[np.float64]

CLEARLY: Final = 0.95
"""A model counts as better than a simple rule where its error is at most this share of the rule's: a network
trained on noise comes out within chance of the mean, on either side of it."""


def performance(
    answers: Floats, test: FleetSplit, labeler: DataLabeler, residuals: Residuals | None = None
) -> JSON:
    """Every metric, under the names of ``performance_metrics``; ``classification_report`` is nested."""
    truth, horizon = test.targets.astype(np.float64), labeler.horizon_hours
    found: JSON = {
        **metrics.regression(truth, answers),
        "critical_accuracy": metrics.critical_accuracy(truth, answers, labeler),
        "alpha_lambda": metrics.alpha_lambda(truth, answers, horizon),
        "prognostic_horizon": metrics.prognostic_horizon(truth, answers, test.devices, 0.1 * horizon),
        "classification_report": metrics.classification_report(truth, answers, labeler),
    }
    if residuals is not None:
        low, high = residuals.interval(answers, DEFAULT_COVERAGE, horizon)
        held = (truth >= low - 1e-6) & (truth <= high + 1e-6)
        found["interval_coverage_90"] = float(held.mean())
        found["interval_width_hours"] = float((high - low).mean())
    return found


def scores(told: JSON, answers: Floats, test: FleetSplit, mean_rul: float) -> Scores:
    """What the gate looks at: root mean squared error, and each device's own for comparing pair by pair."""
    truth = test.targets.astype(np.float64)
    baselines = {"mean_rul": float(np.sqrt(((truth - mean_rul) ** 2).mean()))}
    return Scores(
        headline=told["rmse"],
        metrics=flat(told),
        baselines=baselines,
        held_out=len(test),
        beats_baselines=all(told["rmse"] <= CLEARLY * worse for worse in baselines.values()),
        losses=metrics.mean_by_device(np.abs(answers - truth), test.devices),
    )


def flat(told: JSON) -> dict[str, float]:
    """Metrics without nesting: ``critical.recall`` and so on."""
    found = {name: value for name, value in told.items() if name != "classification_report"}
    for status, row in told["classification_report"].items():
        found |= (
            {f"{status}.{name}": value for name, value in row.items()}
            if isinstance(row, dict)
            else {status: row}
        )
    return found
