"""Evaluation on held-out devices, beside the simple rules that must be beaten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Scores
from prediction.rul.data.label import DataLabeler
from prediction.rul.data.windows import FleetSplit
from prediction.rul.evaluation import metrics
from prediction.rul.evaluation.intervals import DEFAULT_COVERAGE, IntervalFunction, is_covered

Floats = NDArray[np.float64]

# A network trained on noise comes out within chance of the mean, on either side of it. So a model beats a
# baseline only if its error is at most this share of the baseline's.
_MAX_BASELINE_SHARE: Final = 0.95


class PointMetrics(metrics.RegressionMetrics, metrics.EndOfLifeMetrics):
    """Every metric of the predictions themselves; None where no row allows to measure it."""

    critical_accuracy: float | None
    alpha_lambda: float | None
    prognostic_horizon: float | None
    classification_report: metrics.ClassificationReport


class PerformanceMetrics(PointMetrics):
    """Every metric of a model with intervals, as ``model_metadata.json`` stores it."""

    interval_coverage_90: float
    interval_width_hours: float


def evaluate(predictions: Floats, test: FleetSplit, labeler: DataLabeler) -> PointMetrics:
    """Return every metric of the predictions themselves."""
    truth, horizon = test.targets.astype(np.float64), labeler.horizon_hours
    return {
        **metrics.regression_metrics(truth, predictions),
        "critical_accuracy": metrics.critical_accuracy(truth, predictions, labeler),
        **metrics.end_of_life_metrics(truth, predictions, labeler),
        "alpha_lambda": metrics.alpha_lambda(truth, predictions, horizon),
        "prognostic_horizon": metrics.prognostic_horizon(truth, predictions, test.devices, 0.1 * horizon),
        "classification_report": metrics.classification_report(truth, predictions, labeler),
    }


def evaluate_with_intervals(
    predictions: Floats, test: FleetSplit, labeler: DataLabeler, interval: IntervalFunction
) -> PerformanceMetrics:
    """Return every metric, with those of the intervals."""
    truth = test.targets.astype(np.float64)
    low, high = interval(DEFAULT_COVERAGE)
    return {
        **evaluate(predictions, test, labeler),
        "interval_coverage_90": float(is_covered(truth, low, high).mean()),
        "interval_width_hours": float((high - low).mean()),
    }


def to_scores(
    performance: PointMetrics,
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


def _flatten(performance: PointMetrics) -> dict[str, float | None]:
    """Return the metrics without nesting: ``critical.recall`` and so on."""
    flat: dict[str, float | None] = {}
    for name, value in [*performance.items(), *performance["classification_report"].items()]:
        if isinstance(value, float) or value is None:
            flat[name] = value
        elif name != "classification_report":
            assert isinstance(value, dict)
            flat |= {f"{name}.{metric}": number for metric, number in value.items()}
    return flat
