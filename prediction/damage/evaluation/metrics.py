"""How good a classifier is on recordings it has not seen: by window, by recording, and honestly in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

_BINS: Final = 10
_COLDEST, _HOTTEST = 0.1, 20.0


@dataclass(frozen=True)
class ClassificationMetrics:
    """What was measured on the windows of one part.

    Parameters
    ----------
    confusion : ndarray of int64, shape (classes, classes)
        Windows by true class (row) and told class (column).
    by_recording : ndarray of int64, shape (classes, classes)
        The same for whole recordings, each told by the mean of its windows' probabilities.
    losses : list of float
        One minus the probability of the true class, one a recording.
    reliability : list of dict
        Windows by confidence: ``from, to, count, confidence, accuracy``.
    """

    confusion: Places
    by_recording: Places
    losses: list[float]
    reliability: list[JSON]
    log_loss: float

    @property
    def accuracy(self) -> float:
        """Share of windows told right."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def recording_accuracy(self) -> float:
        """Share of recordings told right by the vote of their windows."""
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
        """Every metric, flat."""
        return {
            "macro_f1": self.macro_f1,
            "accuracy": self.accuracy,
            "recording_accuracy": self.recording_accuracy,
            "recording_macro_f1": float(np.mean(f1_by_class(self.by_recording))),
            "log_loss": self.log_loss,
            "calibration_error": self.calibration_error,
        }

    def told(self, classes: tuple[str, ...]) -> JSON:
        """Confusion, figures by class and reliability as JSON."""
        right, given, told = np.diag(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        scores = f1_by_class(self.confusion)
        return {
            "classes": list(classes),
            "confusion": self.confusion.tolist(),
            "recording_confusion": self.by_recording.tolist(),
            "per_class": {
                name: {
                    "windows": int(given[place]),
                    "precision": float(right[place] / told[place]) if told[place] else 0.0,
                    "recall": float(right[place] / given[place]) if given[place] else 0.0,
                    "f1": float(scores[place]),
                }
                for place, name in enumerate(classes)
            },
            "reliability": self.reliability,
        }


def evaluate_probabilities(probabilities: Numbers, targets: Places, owners: Places) -> ClassificationMetrics:
    """Measure probabilities ``(n, classes)`` of windows that belong to recordings ``owners``."""
    classes = probabilities.shape[1]
    votes, truth = by_recording(probabilities, targets, owners)
    chance = probabilities[np.arange(len(targets)), targets]
    return ClassificationMetrics(
        confusion=_confusion(targets, probabilities.argmax(axis=1), classes),
        by_recording=_confusion(truth, votes.argmax(axis=1), classes),
        losses=[float(loss) for loss in 1 - votes[np.arange(len(truth)), truth]],
        reliability=_reliability(probabilities, targets),
        log_loss=float(-np.log(np.maximum(chance, 1e-12)).mean()),
    )


def by_recording(probabilities: Numbers, targets: Places, owners: Places) -> tuple[Numbers, Places]:
    """Mean probabilities and true class of each recording, in the order of their numbers."""
    known, place = np.unique(owners, return_inverse=True)
    votes = np.zeros((len(known), probabilities.shape[1]))
    np.add.at(votes, place, probabilities)
    truth = np.zeros(len(known), dtype=np.int64)
    truth[place] = targets
    return votes / np.bincount(place)[:, None], truth


def f1_by_class(confusion: Places) -> Numbers:
    """F1 of each class; 0 for a class that is never told right."""
    right = np.diag(confusion).astype(np.float64)
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    return np.where(both > 0, 2 * right / np.maximum(both, 1), 0.0)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Numbers:
    """Probabilities ``(n, classes)`` of logits."""
    scaled = logits.astype(np.float64) / temperature
    raised = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    found: Numbers = raised / raised.sum(axis=1, keepdims=True)
    return found


def fit_temperature(logits: NDArray[np.floating], targets: Places) -> float:
    """The temperature with the least log loss on these windows (Guo et al., ICML 2017), by golden section."""
    wanted = smoothed_targets(targets, logits.shape[1])

    def loss(power: float) -> float:
        chances = softmax(logits, float(np.exp(power)))
        return float(-(wanted * np.log(np.maximum(chances, 1e-12))).sum(axis=1).mean())

    low, high = float(np.log(_COLDEST)), float(np.log(_HOTTEST))
    golden = (5**0.5 - 1) / 2
    for _ in range(40):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def smoothed_targets(targets: Places, classes: int) -> Numbers:
    """What chances to aim at, ``(n, classes)``: as sure as so many windows allow and no surer.

    Where all of n windows are told right, the next one is with (n + 1) / (n + classes): the rule of
    succession, as Platt (1999) has it. Without it a perfect validation part makes certainties.
    """
    wanted: Numbers = np.full((len(targets), classes), 1 / (len(targets) + classes))
    wanted[np.arange(len(targets)), targets] += len(targets) / (len(targets) + classes)
    return wanted


def _confusion(truth: Places, told: Places, classes: int) -> Places:
    counts: Places = np.bincount(truth * classes + told, minlength=classes**2).reshape(classes, classes)
    return counts


def _reliability(probabilities: Numbers, targets: Places) -> list[JSON]:
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == targets
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    return [
        {
            "from": number / _BINS,
            "to": (number + 1) / _BINS,
            "count": int((place == number).sum()),
            "confidence": float(confidence[place == number].mean()),
            "accuracy": float(right[place == number].mean()),
        }
        for number in range(_BINS)
        if (place == number).any()
    ]
