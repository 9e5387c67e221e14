"""Figures of a training for its report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from prediction.equipment.data.inserted_faults import KINDS, InsertedFaults
from prediction.equipment.model.detector import RowScores
from prediction.equipment.model.equipment_model import EquipmentModel
from prediction.equipment.model.rows import NormalisedRows
from prediction.figures import Figure, bars, line

_MAX_CHANNELS = 12
_MAX_POINTS = 200


def plot_evaluation(
    model: EquipmentModel,
    rows: NormalisedRows,
    scores: RowScores,
    faults: InsertedFaults,
    found: Mapping[str, NDArray[np.bool_]],
) -> list[Figure]:
    """Return the faults found by kind, the score over held-out time, and what raises it."""
    by_kind = {
        name.replace("_", " "): [float(flags[faults.kind == number].mean()) for number in range(len(KINDS))]
        for name, flags in found.items()
    }
    hours = (rows.times - rows.times[0]) / 3.6e9
    # Each point is the largest score of its stretch: a short peak must stay visible.
    stretches = np.array_split(scores.score, min(_MAX_POINTS, len(scores.score)))
    highest = np.array([stretch.max() for stretch in stretches])
    x = np.linspace(0.0, float(hours[-1]), len(highest))
    shares = model.detector.explain(rows, scores.leading)
    weights = np.maximum(scores.score, 0.0)[:, None]
    mean_shares = (shares * weights).sum(axis=0) / max(float(weights.sum()), 1e-12)
    order = np.argsort(mean_shares)[::-1][:_MAX_CHANNELS]
    channels = model.preprocessor.layout.channels
    return [
        bars(
            "Inserted faults that are found",
            "share",
            KINDS,
            by_kind,
            note="Each detector has the same budget",
        ),
        line(
            "Score in held-out normal time",
            "hours",
            "score",
            {"highest score": (x, highest), "limit": ([x[0], x[-1]], [1.0, 1.0])},
        ),
        bars(
            "What raises the score in held-out normal time",
            "share",
            [channels[column] for column in order],
            {"contribution": mean_shares[order]},
            note="Sensor contributions, weighted by the score",
        ),
    ]
