"""Metrics of a classifier on recordings that it was not trained on: by window, by recording, and calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

_CONFIDENCE_BINS: Final = 10
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.1, 20.0
# Of the golden section: each keeps 0.62 of the interval, so forty leave less than a millionth.
_SEARCH_STEPS: Final = 40


@dataclass(frozen=True)
class ClassificationMetrics:
    """What was measured on the windows of one part.

    Parameters
    ----------
    confusion : ndarray of int64, shape (classes, classes)
        Windows by true class (row) and predicted class (column).
    by_recording : ndarray of int64, shape (classes, classes)
        The same for whole recordings, each predicted by the mean of its windows' probabilities.
    losses : list of float
        One minus the probability of the true class, one a recording.
    reliability : list of dict
        Windows by confidence: ``from, to, count, confidence, accuracy``.
    """

    confusion: Indices
    by_recording: Indices
    losses: list[float]
    reliability: list[dict[str, float]]
    log_loss: float

    @property
    def accuracy(self) -> float:
        """Share of windows classified right."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def recording_accuracy(self) -> float:
        """Share of recordings classified right by the vote of their windows."""
        return float(np.trace(self.by_recording) / self.by_recording.sum())

    @property
    def macro_f1(self) -> float:
        """Mean of the classes' F1 over windows."""
        return float(np.mean(f1_by_class(self.confusion)))

    @property
    def calibration_error(self) -> float:
        """Expected calibration error: mean distance of confidence and accuracy (Guo et al., ICML 2017)."""
        total = sum(b["count"] for b in self.reliability)
        return float(sum(b["count"] * abs(b["confidence"] - b["accuracy"]) for b in self.reliability) / total)

    def metrics(self) -> dict[str, float]:
        """Return every metric, flat."""
        return {
            "macro_f1": self.macro_f1,
            "accuracy": self.accuracy,
            "recording_accuracy": self.recording_accuracy,
            "recording_macro_f1": float(np.mean(f1_by_class(self.by_recording))),
            "log_loss": self.log_loss,
            "calibration_error": self.calibration_error,
        }

    def to_dict(self, classes: tuple[str, ...]) -> dict[str, object]:
        """Return confusion, metrics by class and reliability as JSON."""
        precision, recall = precision_by_class(self.confusion), recall_by_class(self.confusion)
        windows, f1 = self.confusion.sum(axis=1), f1_by_class(self.confusion)
        return {
            "classes": list(classes),
            "confusion": self.confusion.tolist(),
            "recording_confusion": self.by_recording.tolist(),
            "per_class": {
                name: {
                    "windows": int(windows[label]),
                    "precision": float(precision[label]),
                    "recall": float(recall[label]),
                    "f1": float(f1[label]),
                }
                for label, name in enumerate(classes)
            },
            "reliability": self.reliability,
        }


def evaluate_probabilities(
    probabilities: Numbers, targets: Indices, owners: Indices
) -> ClassificationMetrics:
    """Measure probabilities ``(n, classes)`` of windows that belong to recordings ``owners``."""
    classes = probabilities.shape[1]
    votes, truth = average_by_recording(probabilities, targets, owners)
    of_truth = probabilities[np.arange(len(targets)), targets]
    return ClassificationMetrics(
        confusion=_count_confusion(targets, probabilities.argmax(axis=1), classes),
        by_recording=_count_confusion(truth, votes.argmax(axis=1), classes),
        losses=[float(loss) for loss in 1 - votes[np.arange(len(truth)), truth]],
        reliability=_compute_reliability(probabilities, targets),
        log_loss=float(-np.log(np.maximum(of_truth, 1e-12)).mean()),
    )


def average_by_recording(
    probabilities: Numbers, targets: Indices, owners: Indices
) -> tuple[Numbers, Indices]:
    """Return mean probabilities and true class of each recording, in the order of their numbers."""
    recordings, index = np.unique(owners, return_inverse=True)
    # Windows of one recording are alike, so a recording counts once whatever its length.
    votes = np.zeros((len(recordings), probabilities.shape[1]))
    np.add.at(votes, index, probabilities)
    truth = np.zeros(len(recordings), dtype=np.int64)
    truth[index] = targets
    return votes / np.bincount(index)[:, None], truth


def precision_by_class(confusion: Indices) -> Numbers:
    """Return the precision of each class; 0 for a class that is never predicted."""
    return _divide(np.diag(confusion), confusion.sum(axis=0))


def recall_by_class(confusion: Indices) -> Numbers:
    """Return the recall of each class; 0 for a class without windows."""
    return _divide(np.diag(confusion), confusion.sum(axis=1))


def f1_by_class(confusion: Indices) -> Numbers:
    """Return F1 of each class; 0 for a class that is never classified right."""
    return _divide(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))


def _divide(counts: Indices, totals: Indices) -> Numbers:
    shares: Numbers = counts / np.maximum(totals, 1)
    return shares


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Numbers:
    """Return probabilities ``(n, classes)`` of logits."""
    scaled = logits.astype(np.float64) / temperature
    # Without the largest logit, which cancels, exp would overflow.
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    probabilities: Numbers = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def fit_temperature(logits: NDArray[np.floating], targets: Indices) -> float:
    """Return the temperature with the least log loss on these windows (Guo et al., ICML 2017)."""
    wanted = smoothed_targets(targets, logits.shape[1])

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits, float(np.exp(log_temperature)))
        return float(-(wanted * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1).mean())

    # Golden section search; the loss is convex in the inverse temperature, so it has one minimum.
    low, high = float(np.log(_MIN_TEMPERATURE)), float(np.log(_MAX_TEMPERATURE))
    golden = (5**0.5 - 1) / 2
    for _ in range(_SEARCH_STEPS):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def smoothed_targets(targets: Indices, classes: int) -> Numbers:
    """Return smoothed one-hot targets ``(n, classes)``; smoothing shrinks with the sample size.

    Where all of n windows are classified right, the next one is with (n + 1) / (n + classes): the rule of
    succession, as Platt (1999) has it. Without it a perfect validation part makes certainties.
    """
    smoothed: Numbers = np.full((len(targets), classes), 1 / (len(targets) + classes))
    smoothed[np.arange(len(targets)), targets] += len(targets) / (len(targets) + classes)
    return smoothed


def _count_confusion(truth: Indices, predicted: Indices, classes: int) -> Indices:
    counts: Indices = np.bincount(truth * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes)


def _compute_reliability(probabilities: Numbers, targets: Indices) -> list[dict[str, float]]:
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * _CONFIDENCE_BINS).astype(int), _CONFIDENCE_BINS - 1)
    return [
        {
            "from": number / _CONFIDENCE_BINS,
            "to": (number + 1) / _CONFIDENCE_BINS,
            "count": int((bins == number).sum()),
            "confidence": float(confidence[bins == number].mean()),
            "accuracy": float(is_right[bins == number].mean()),
        }
        for number in np.unique(bins).tolist()
    ]
