"""Figures of a report: predictions beside the truth, and the coverage of their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.figures import Figure, confusion, line, scatter
from prediction.rul.data.label import STATUSES, DataLabeler
from prediction.rul.evaluation.intervals import IntervalFunction, is_covered

Floats = NDArray[np.float64]

COVERAGES: Final[Sequence[float]] = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def plot_test(
    truth: Floats, predictions: Floats, labeler: DataLabeler, interval: IntervalFunction
) -> Iterator[Figure]:
    """Yield the figures of the test part."""
    order = np.argsort(truth, kind="stable")
    sorted_truth, sorted_predictions = truth[order], predictions[order]
    yield scatter(
        "Answers on held-out devices",
        "hours left",
        "hours predicted",
        {"rows": (sorted_truth, sorted_predictions)},
        diagonal=True,
    )
    yield scatter(
        "Errors on held-out devices",
        "hours left",
        "hours too many",
        {"rows": (sorted_truth, sorted_predictions - sorted_truth)},
        note="Above 0 the model promised more life than there was.",
    )
    actual, predicted = labeler.status(truth), labeler.status(predictions)
    counts = [
        [int(((actual == row) & (predicted == column)).sum()) for column in STATUSES] for row in STATUSES
    ]
    yield confusion("Health status: true and predicted", STATUSES, counts)
    measured = [float(is_covered(truth, *interval(coverage)).mean()) for coverage in COVERAGES]
    curve = {"measured": (COVERAGES, measured)}
    yield line("Coverage of the intervals", "promised", "measured", curve, diagonal=True)
