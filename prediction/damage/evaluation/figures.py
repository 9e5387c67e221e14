"""What a report draws of a damage model: what was taken for what, and whether its chances are honest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from prediction.damage.evaluation.metrics import ClassificationMetrics, f1_by_class
from prediction.figures import Figure, bars, confusion, line


def of_test(measured: ClassificationMetrics, classes: Sequence[str]) -> Iterator[Figure]:
    """Confusion by window and by recording, figures by class, reliability."""
    yield confusion("Windows: true and predicted class", classes, measured.confusion.tolist())
    note = "Each recording by the vote of its windows."
    yield confusion("Recordings: true and predicted class", classes, measured.by_recording.tolist(), note)
    right = np.diag(measured.confusion)
    told, given = measured.confusion.sum(axis=0), measured.confusion.sum(axis=1)
    shares = {
        "precision": right / np.maximum(told, 1),
        "recall": right / np.maximum(given, 1),
        "F1": f1_by_class(measured.confusion),
    }
    yield bars("Precision, recall and F1 by class (windows)", "share", classes, shares)
    points = measured.reliability
    curve = ([one["confidence"] for one in points], [one["accuracy"] for one in points])
    title = "Are the chances honest? (windows)"
    yield line(title, "chance given", "share that was right", {"measured": curve}, diagonal=True)
