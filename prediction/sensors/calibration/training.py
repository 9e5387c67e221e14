"""Train and evaluate calibration models."""

from __future__ import annotations

import math

import numpy as np

from prediction.contract import Scores
from prediction.figures import scatter
from prediction.sensors.calibration.due_date import estimate_due_date
from prediction.sensors.calibration.model import CalibrationModel
from prediction.sensors.calibration.pairs import CalibrationPairs
from prediction.sensors.calibration.weighted_regression import select_half_life


def train(
    pairs: CalibrationPairs, reliability: float = 0.95, tolerance: float | None = None
) -> CalibrationModel:
    """Return a line through at least two pairs; ``reliability`` and ``tolerance`` decide the due date."""
    from scipy.stats import t

    discounted = select_half_life(pairs.raw, pairs.corrected)
    line, bound = discounted.line, discounted.bound_errors()
    cover = float(t.ppf(0.975, max(1.0, line.count - 2.0)))
    if bound is not None and line.deviation > 0:
        cover = max(cover, bound / line.deviation)
    return CalibrationModel(
        line.slope,
        line.intercept,
        float(pairs.raw.min()),
        float(pairs.raw.max()),
        line.centre,
        line.squares,
        line.deviation,
        cover,
        line.count,
        discounted.half_life if math.isfinite(discounted.half_life) else None,
        estimate_due_date(pairs, reliability, tolerance),
    )


def evaluate(model: CalibrationModel, held_out: CalibrationPairs) -> Scores:
    """Measure the error after correction on later calibrations.

    The baselines are the uncorrected value and a correction by the mean offset.
    """
    corrected = model.slope * held_out.raw + model.intercept
    error_after = np.abs(corrected - held_out.corrected)
    uncertainty = np.array([model.uncertainty(raw) for raw in held_out.raw.tolist()])
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
        "corrected by the line": (held_out.raw, corrected),
    }
    chart = scatter("Held-out calibrations", "raw value", "true value", points)
    beats_baselines = error < min(baselines.values())
    return Scores(error, metrics, baselines, len(held_out), beats_baselines, error_after.tolist(), [chart])
