"""Metrics of predictions: errors, late predictions, statuses found in time. Hours everywhere."""

from __future__ import annotations

from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.rul.data.label import DataLabeler

Floats = NDArray[np.float64]

CRITICAL_TOLERANCE_HOURS: Final = 5.0
_ALPHA: Final = 0.2
_EARLY_SCALE, _LATE_SCALE = 13.0, 10.0
# exp(709) is the largest float64: one absurd prediction must not make the whole score infinite.
_MAX_EXPONENT: Final = 700.0


class RegressionMetrics(TypedDict):
    """Errors of predictions in hours; ``r2`` is None where all rows have the same remaining life."""

    mae: float
    rmse: float
    r2: float | None
    early_prediction_rate: float
    late_prediction_rate: float
    nasa_score: float
    nasa_score_mean: float


class EndOfLifeMetrics(TypedDict):
    """What matters near the failure; None where no row is critical."""

    critical_missed_rate: float | None
    critical_lateness: float | None


# In call syntax, because scikit-learn's name for the F1 score is no identifier.
StatusMetrics = TypedDict(
    "StatusMetrics", {"precision": float, "recall": float, "f1-score": float, "support": float}
)


class ClassificationReport(TypedDict):
    """The metrics of each health status, in the form of scikit-learn's report."""

    critical: StatusMetrics
    warning: StatusMetrics
    normal: StatusMetrics
    accuracy: float


def regression_metrics(truth: Floats, predictions: Floats) -> RegressionMetrics:
    """Return ``mae``, ``rmse``, ``r2``, the NASA score and the rates of early and late predictions.

    An early prediction is below the truth (the device is stopped too soon), a late one above it.
    """
    errors = predictions - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "r2": 1.0 - float((errors**2).sum()) / spread if spread > 0 else None,
        "early_prediction_rate": float((errors < 0).mean()),
        "late_prediction_rate": float((errors > 0).mean()),
        "nasa_score": nasa_score(truth, predictions),
        "nasa_score_mean": nasa_score(truth, predictions) / len(truth),
    }


def nasa_score(truth: Floats, predictions: Floats) -> float:
    """Return the score of the PHM08 challenge (Saxena et al., 2008).

    It sums ``exp(-d/13) - 1`` for early and ``exp(d/10) - 1`` for late predictions, where ``d`` is prediction
    minus truth.
    """
    errors = predictions - truth
    exponent = np.where(errors < 0, -errors / _EARLY_SCALE, errors / _LATE_SCALE)
    return float(np.expm1(np.minimum(exponent, _MAX_EXPONENT)).sum())


def critical_accuracy(truth: Floats, predictions: Floats, labeler: DataLabeler) -> float | None:
    """Return the share of critical rows with an error of at most 5 h; None where no row is critical."""
    critical = truth < labeler.critical_hours
    if not critical.any():
        return None
    return float((np.abs(predictions - truth)[critical] <= CRITICAL_TOLERANCE_HOURS).mean())


def end_of_life_metrics(truth: Floats, predictions: Floats, labeler: DataLabeler) -> EndOfLifeMetrics:
    """Return what matters near the failure: critical rows that were missed, and how late predictions are there.

    ``critical_missed_rate`` is the share of critical rows with another status, ``critical_lateness`` the mean of
    late errors there (early ones count as 0), as a share of the critical hours. None where no row is critical.
    """
    critical = truth < labeler.critical_hours
    if not critical.any():
        return {"critical_missed_rate": None, "critical_lateness": None}
    late = np.maximum(predictions - truth, 0.0)[critical].mean() / labeler.critical_hours
    missed = (predictions >= labeler.critical_hours)[critical].mean()
    return {"critical_missed_rate": float(missed), "critical_lateness": float(late)}


def end_of_life_losses(
    truth: Floats, predictions: Floats, devices: NDArray[np.int64], labeler: DataLabeler
) -> dict[str, list[float]]:
    """Return `end_of_life_metrics` of each device that has critical rows, in order of the devices."""
    critical = truth < labeler.critical_hours
    late = np.maximum(predictions - truth, 0.0)[critical] / labeler.critical_hours
    missed = (predictions >= labeler.critical_hours)[critical].astype(np.float64)
    return {
        "critical_missed_rate": mean_by_device(missed, devices[critical]),
        "critical_lateness": mean_by_device(late, devices[critical]),
    }


def classification_report(truth: Floats, predictions: Floats, labeler: DataLabeler) -> ClassificationReport:
    """Return precision, recall, f1-score and support of each health status, and the accuracy."""
    actual, predicted = labeler.status(truth), labeler.status(predictions)

    def measure(status: str) -> StatusMetrics:
        hits = int(((actual == status) & (predicted == status)).sum())
        num_predicted, support = int((predicted == status).sum()), int((actual == status).sum())
        precision = hits / num_predicted if num_predicted else 0.0
        recall = hits / support if support else 0.0
        total = precision + recall
        return {
            "precision": precision,
            "recall": recall,
            "f1-score": 2 * precision * recall / total if total else 0.0,
            "support": float(support),
        }

    return {
        "critical": measure("critical"),
        "warning": measure("warning"),
        "normal": measure("normal"),
        "accuracy": float((actual == predicted).mean()),
    }


def alpha_lambda(truth: Floats, predictions: Floats, horizon_hours: float) -> float | None:
    """Return the share of predictions within 20 % of the truth, below the horizon (Saxena et al., 2010)."""
    below = (truth < horizon_hours) & (truth > 0)
    if not below.any():
        return None
    return float((np.abs(predictions - truth)[below] <= _ALPHA * truth[below]).mean())


def prognostic_horizon(
    truth: Floats, predictions: Floats, devices: NDArray[np.int64], bound: float
) -> float | None:
    """Return the mean life left from which on every prediction is within ``bound`` hours of the truth.

    Rows of a device are in order of time (Saxena et al., 2010); None where there is no device.
    """
    horizons = []
    for device in np.unique(devices):
        rows = devices == device
        wrong = np.flatnonzero(np.abs(predictions[rows] - truth[rows]) > bound)
        first_good = 0 if not len(wrong) else wrong[-1] + 1
        horizons.append(float(truth[rows][first_good]) if first_good < rows.sum() else 0.0)
    return float(np.mean(horizons)) if horizons else None


def mean_by_device(losses: Floats, devices: NDArray[np.int64]) -> list[float]:
    """Return the mean loss of each device, in order of the devices."""
    return [float(losses[devices == device].mean()) for device in np.unique(devices)]
