"""Fit a detector, with the limit from rows that the fit behind their scores has not seen."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np

from prediction.equipment.model.detector import AssetDetector, compute_statistics
from prediction.equipment.model.limits import fit_limit
from prediction.equipment.model.parts import fit_parts
from prediction.equipment.model.rows import Floats, NormalisedRows

_FOLDS: Final = 5
_RANGE_QUANTILE: Final = 0.99


def fit_detector(
    algorithm: str, rows: NormalisedRows, alarms_per_week: float, interval_seconds: float
) -> AssetDetector:
    """Fit a detector to normal running time.

    Five stretches of time are left out in turn, and scored by a fit to the other four: that sets the range of each
    statistic and the limit. The served parts are fitted to all rows.
    """
    held_out = _score_left_out(algorithm, rows)
    centre = np.median(held_out, axis=0)
    scale = np.maximum(np.quantile(held_out, _RANGE_QUANTILE, axis=0) - centre, 1e-9)
    combined = ((held_out - centre) / scale).max(axis=1)
    limit = fit_limit(combined, alarms_per_week, interval_seconds)
    return AssetDetector(algorithm, fit_parts(algorithm, rows), centre, scale, limit)


def _score_left_out(algorithm: str, rows: NormalisedRows) -> Floats:
    """Return the statistics of each row by parts that were fitted without its stretch of time."""
    edges = np.linspace(0, len(rows), _FOLDS + 1).round().astype(int)
    everything = np.arange(len(rows))
    statistics = []
    for start, end in pairwise(edges.tolist()):
        others = rows.select(np.delete(everything, slice(start, end)))
        parts = fit_parts(algorithm, others)
        statistics.append(compute_statistics(parts, rows.select(everything[start:end])))
    return np.concatenate(statistics)
