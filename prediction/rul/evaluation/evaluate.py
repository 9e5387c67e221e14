"""Evaluation on held-out devices, beside the simple rules that must be beaten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON, Scores
from prediction.rul.data.label import DataLabeler
from prediction.rul.data.windows import FleetSplit
from prediction.rul.evaluation import metrics
from prediction.rul.evaluation.intervals import DEFAULT_COVERAGE, Residuals, is_covered

Floats = NDArray[np.float64]

# A network trained on noise comes out within chance of the mean, on either side of it. So a model beats a
# baseline only if its error is at most this share of the baseline's.
_MAX_BASELINE_SHARE: Final = 0.95


def evaluate(
    predictions: Floats, test: FleetSplit, labeler: DataLabeler, residuals: Residuals | None = None
) -> JSON:
    """Return every metric, under the names of ``performance_metrics``; classification_report is nested."""
    truth, horizon = test.targets.astype(np.float64), labeler.horizon_hours
    performance: JSON = {
        **metrics.regression_metrics(truth, predictions),
        "critical_accuracy": metrics.critical_accuracy(truth, predictions, labeler),
        **metrics.end_of_life_metrics(truth, predictions, labeler),
        "alpha_lambda": metrics.alpha_lambda(truth, predictions, horizon),
        "prognostic_horizon": metrics.prognostic_horizon(truth, predictions, test.devices, 0.1 * horizon),
        "classification_report": metrics.classification_report(truth, predictions, labeler),
    }
    if residuals is not None:
        low, high = residuals.interval(predictions, DEFAULT_COVERAGE, horizon)
        performance["interval_coverage_90"] = float(is_covered(truth, low, high).mean())
        performance["interval_width_hours"] = float((high - low).mean())
    return performance


def to_scores(
    performance: JSON,
    predictions: Floats,
    test: FleetSplit,
    rules: Mapping[str, Floats],
    labeler: DataLabeler,
) -> Scores:
    """Return the scores for the gate: the RMSE, and the losses of each device for paired comparisons."""
    truth = test.targets.astype(np.float64)
    baselines = {name: float(np.sqrt(((truth - rule) ** 2).mean())) for name, rule in rules.items()}
    losses = metrics.mean_by_device(np.abs(predictions - truth), test.devices)
    return Scores(
        headline=performance["rmse"],
        metrics=_flatten(performance),
        baselines=baselines,
        held_out=len(losses),
        beats_baselines=all(performance["rmse"] <= _MAX_BASELINE_SHARE * rmse for rmse in baselines.values()),
        losses=losses,
        guardrail_losses=metrics.end_of_life_losses(truth, predictions, test.devices, labeler),
    )


def _flatten(performance: JSON) -> dict[str, float]:
    """Return the metrics without nesting: ``critical.recall`` and so on."""
    flat = {name: value for name, value in performance.items() if name != "classification_report"}
    for status, row in performance["classification_report"].items():
        if isinstance(row, dict):
            flat |= {f"{status}.{name}": value for name, value in row.items()}
        else:
            flat[status] = row
    return flat
