"""Questions that narrative and layout both put to a session's facts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from reports.formatting import format_quantity, humanize

JSON = dict[str, Any]


_SPELLED_OUT = {
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "f1": "F1",
}


@dataclass(frozen=True)
class ModelQuality:
    """The headline metric of a session's model and of what it stands beside."""

    metric: str
    unit: str
    higher_is_better: bool
    value: float | None
    champion: float | None
    baselines: dict[str, float]
    held_out: int
    beats_baselines: bool

    def gain(self, value: float, other: float) -> float:
        """How much better a value is than another."""
        return value - other if self.higher_is_better else other - value

    def said(self, value: float | None) -> str:
        """A value with the metric's unit."""
        return format_quantity(value, self.unit)

    @property
    def best_baseline(self) -> tuple[str, float] | None:
        """The naive rule that is hardest to beat."""
        known = {told: v for told, v in self.baselines.items() if v is not None and math.isfinite(v)}
        if not known:
            return None
        pick = max if self.higher_is_better else min
        best = pick(known, key=lambda told: known[told])
        return best, known[best]


def model_quality(facts: JSON) -> ModelQuality | None:
    """What was measured; None where the session made no version."""
    manifest = facts["manifest"]
    scores = manifest and manifest.get("metrics")
    if not scores:
        return None
    about = manifest.get("headline") or {}
    champion = manifest.get("champion_metrics") or {}
    return ModelQuality(
        metric=_SPELLED_OUT.get(str(about.get("name")), humanize(about.get("name", "headline"))),
        unit=about.get("unit", ""),
        higher_is_better=bool(about.get("higher_is_better")),
        value=scores.get("headline"),
        champion=champion.get("headline"),
        baselines=scores.get("baselines") or {},
        held_out=scores.get("held_out") or 0,
        beats_baselines=bool(scores.get("beats_baselines")),
    )


def time_span(facts: JSON) -> tuple[str, str] | None:
    """First and last moment of the data: the facts whose names begin with *first* and *last*."""
    told = (facts["manifest"] or {}).get("facts") or {}
    ends = []
    for word in ("first", "last"):
        found = [v for k, v in told.items() if k.startswith(word) and isinstance(v, str) and v[:4].isdigit()]
        ends += found[:1]
    return (ends[0], ends[1]) if len(ends) == 2 else None


@dataclass(frozen=True)
class TrainingCurve:
    """How the losses went.

    Parameters
    ----------
    best : int
        Place of the best epoch in ``epochs``.
    """

    epochs: list[JSON]
    best: int
    stopped: str | None

    @property
    def judged_by(self) -> str:
        """The loss that chooses the best epoch."""
        return "val_loss" if self.epochs[self.best].get("val_loss") is not None else "train_loss"

    def losses(self, which: str) -> list[float]:
        """One loss over the epochs, where it was measured."""
        return [e[which] for e in self.epochs if _is_number(e.get(which))]

    @property
    def rise_after_best(self) -> float:
        """By what share the judging loss ended above its best."""
        losses = self.losses(self.judged_by)
        best = min(losses, default=0.0)
        return losses[-1] / best - 1 if best > 0 else 0.0


def training_curve(facts: JSON) -> TrainingCurve | None:
    """The epochs; None where the model is fitted in one go."""
    history = facts["history"]
    epochs = [e for e in history["epochs"] if isinstance(e, dict) and _is_number(e.get("train_loss"))]
    if not epochs:
        return None
    best = next((p for p, e in enumerate(epochs) if e.get("epoch") == history["best_epoch"]), None)
    if best is None:
        which = "val_loss" if _is_number(epochs[-1].get("val_loss")) else "train_loss"
        known = {p: e[which] for p, e in enumerate(epochs) if _is_number(e.get(which))}
        best = min(known, key=lambda p: known[p])
    return TrainingCurve(epochs, best, history.get("stopped"))


def epochs_to_show(run: TrainingCurve, most: int = 14) -> list[int]:
    """Places of the epochs to show: the first, every k-th, the best and the last."""
    count = len(run.epochs)
    step = max(1, -(-count // most))
    return sorted({0, *range(0, count, step), run.best, count - 1})


def curve_metrics(run: TrainingCurve) -> Iterator[str]:
    """Names of what was measured each epoch besides the loss, such as ``accuracy``."""
    for told in run.epochs[0]:
        if told.startswith("train_") and told != "train_loss":
            yield told.removeprefix("train_")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
