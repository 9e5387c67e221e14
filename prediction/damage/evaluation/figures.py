"""Charts of a damage model for the report: confusion, metrics by class, reliability of the probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prediction.damage.evaluation.metrics import (
    ClassificationMetrics,
    f1_by_class,
    precision_by_class,
    recall_by_class,
)
from prediction.figures import Figure, bars, confusion, line


def draw_test_figures(measured: ClassificationMetrics, classes: Sequence[str]) -> Iterator[Figure]:
    """Yield confusion by window and by recording, metrics by class, reliability."""
    yield confusion("Windows: true and predicted class", classes, measured.confusion.tolist())
    note = "Each recording by the vote of its windows."
    yield confusion("Recordings: true and predicted class", classes, measured.by_recording.tolist(), note)
    shares = {
        "precision": precision_by_class(measured.confusion),
        "recall": recall_by_class(measured.confusion),
        "F1": f1_by_class(measured.confusion),
    }
    yield bars("Precision, recall and F1 by class (windows)", "share", classes, shares)
    confidence = [b["confidence"] for b in measured.reliability]
    accuracy = [b["accuracy"] for b in measured.reliability]
    yield line(
        "Reliability of the probabilities (windows)",
        "predicted probability",
        "share that was right",
        {"measured": (confidence, accuracy)},
        diagonal=True,
    )
