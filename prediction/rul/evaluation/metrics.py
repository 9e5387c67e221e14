"""How good answers are: errors, who was late, what was found in time. Hours everywhere."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prediction.rul.data.label import STATUSES, DataLabeler

Floats = NDArray[np.float64]

CRITICAL_TOLERANCE_HOURS: Final = 5.0
_ALPHA: Final = 0.2
_EARLY_SCALE, _LATE_SCALE = 13.0, 10.0
_LARGEST_EXPONENT: Final = 700.0


def regression(truth: Floats, answers: Floats) -> dict[str, float | None]:
    """``mae``, ``rmse``, ``r2``, ``early_prediction_rate`` and ``late_prediction_rate``.

    An early answer is below the truth (the device is stopped too soon), a late one above it.
    """
    off = answers - truth
    spread = float(((truth - truth.mean()) ** 2).sum())
    return {
        "mae": float(np.abs(off).mean()),
        "rmse": float(np.sqrt((off**2).mean())),
        "r2": 1.0 - float((off**2).sum()) / spread if spread > 0 else None,
        "early_prediction_rate": float((off < 0).mean()),
        "late_prediction_rate": float((off > 0).mean()),
        "nasa_score": nasa_score(truth, answers),
        "nasa_score_mean": nasa_score(truth, answers) / len(truth),
    }


def nasa_score(truth: Floats, answers: Floats) -> float:
    """Return the score of the PHM08 challenge (Saxena et al., 2008), with ``d`` the answer minus the truth.

    It is the sum of ``exp(-d/13) - 1`` over early answers and ``exp(d/10) - 1`` over late ones.
    """
    off = answers - truth
    exponent = np.where(off < 0, -off / _EARLY_SCALE, off / _LATE_SCALE)
    return float(np.expm1(np.minimum(exponent, _LARGEST_EXPONENT)).sum())


def critical_accuracy(truth: Floats, answers: Floats, labeler: DataLabeler) -> float | None:
    """Share of critical rows whose answer is within 5 h; None where no row is critical."""
    critical = truth < labeler.critical_hours
    if not critical.any():
        return None
    return float((np.abs(answers - truth)[critical] <= CRITICAL_TOLERANCE_HOURS).mean())


def classification_report(truth: Floats, answers: Floats, labeler: DataLabeler) -> dict[str, Any]:
    """Precision, recall, f1-score and support of each health status, and the share that is right.

    Each name stands with its own rows: nothing hangs on an order of labels.
    """
    real, told = labeler.status(truth), labeler.status(answers)
    report: dict[str, Any] = {name: _of_status(real == name, told == name) for name in STATUSES}
    report["accuracy"] = float((real == told).mean())
    return report


def _of_status(real: NDArray[np.bool_], told: NDArray[np.bool_]) -> dict[str, float]:
    hits = int((real & told).sum())
    precision = hits / int(told.sum()) if told.any() else 0.0
    recall = hits / int(real.sum()) if real.any() else 0.0
    both = precision + recall
    f1 = 2 * precision * recall / both if both else 0.0
    return {"precision": precision, "recall": recall, "f1-score": f1, "support": float(real.sum())}


def alpha_lambda(truth: Floats, answers: Floats, horizon_hours: float) -> float | None:
    """Share of answers within 20 % of the truth, of rows below the horizon (Saxena et al., 2010)."""
    below = (truth < horizon_hours) & (truth > 0)
    if not below.any():
        return None
    return float((np.abs(answers - truth)[below] <= _ALPHA * truth[below]).mean())


def prognostic_horizon(
    truth: Floats, answers: Floats, devices: NDArray[np.int64], bound: float
) -> float | None:
    """Mean over devices of the life left from which on every answer is within ``bound`` hours of the truth.

    Rows of a device stand in order of time (Saxena et al., 2010); None where no device was seen to its end.
    """
    found = []
    for device in np.unique(devices):
        mine = devices == device
        good = np.abs(answers[mine] - truth[mine]) <= bound
        wrong = np.flatnonzero(~good)
        first = 0 if not len(wrong) else wrong[-1] + 1
        found.append(float(truth[mine][first]) if first < len(good) else 0.0)
    return float(np.mean(found)) if found else None


def mean_by_device(losses: Floats, devices: NDArray[np.int64]) -> list[float]:
    """The mean loss of each device, in order of the devices."""
    return [float(losses[devices == device].mean()) for device in np.unique(devices)]
