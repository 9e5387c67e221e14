"""Train and evaluate calibration models."""

from __future__ import annotations

import math

import numpy as np

from prediction.contract import Scores
from prediction.figures import scatter
from prediction.sensors.calibration.due_date import estimate_due_date
from prediction.sensors.calibration.methods import select_method
from prediction.sensors.calibration.model import CalibrationModel
from prediction.sensors.calibration.pairs import CalibrationPairs


def train(
    pairs: CalibrationPairs, reliability: float = 0.95, tolerance: float | None = None
) -> CalibrationModel:
    """Return the best correction of at least two pairs; ``reliability`` and ``tolerance`` decide the due date."""
    from scipy.stats import t

    method = select_method(pairs)
    line = method.line
    cover = float(t.ppf(0.975, method.freedom))
    if method.bound is not None and line.deviation > 0:
        cover = max(cover, method.bound / line.deviation)
    return CalibrationModel(
        line.slope,
        line.intercept,
        float(pairs.raw.min()),
        float(pairs.raw.max()),
        line.centre,
        line.squares,
        line.deviation,
        cover,
        # JSON has no infinity; zero stands for a correction without an estimated parameter.
        line.count if math.isfinite(line.count) else 0.0,
        method.half_life if math.isfinite(method.half_life) else None,
        estimate_due_date(pairs, reliability, tolerance),
        method.name,
        method.reason,
    )


def evaluate(model: CalibrationModel, held_out: CalibrationPairs) -> Scores:
    """Measure the error after correction on later calibrations.

    The baselines are the uncorrected value and a correction by the mean offset.
    """
    corrected = model.slope * held_out.raw + model.intercept
    error_after = np.abs(corrected - held_out.corrected)
    uncertainty = np.array([model.uncertainty(raw) for raw in held_out.raw.tolist()])
    # The line at its centre; an offset has no centre, and then the slope of one removes the term.
    mean_offset = (model.slope - 1.0) * model.centre + model.intercept
    error = float(error_after.mean())
    baselines = {
        "uncorrected": float(np.abs(held_out.raw - held_out.corrected).mean()),
        "mean_offset": float(np.abs(held_out.raw + mean_offset - held_out.corrected).mean()),
    }
    metrics = {
        "error": error,
        "error_before": baselines["uncorrected"],
        "uncertainty_coverage": float((error_after <= uncertainty).mean()),
    }
    points = {
        "measured": (held_out.raw, held_out.corrected),
        "corrected": (held_out.raw, corrected),
    }
    chart = scatter("Held-out calibrations", "raw value", "true value", points)
    beats_baselines = error < min(baselines.values())
    return Scores(error, metrics, baselines, len(held_out), beats_baselines, error_after.tolist(), [chart])
