"""A typed view of a session's facts, shared by narrative and layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TypedDict, TypeGuard

from reports.formatting import format_count, format_day, format_quantity, humanize
from storage.db.sessions import BatchItem, SessionRecord
from storage.models.manifest import Manifest

# The number of an epoch, and what was measured in it, by name.
Epoch = Mapping[str, float | None]

_METRIC_NAMES = {
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "f1": "F1",
}


# From 1973 to 2262: no count of rows or devices is as large.
_MIN_MICROSECONDS, _MAX_MICROSECONDS = 10**14, 9_214_646_400_000_000


# What is held out, by the unit of the split; specimens have several recordings.
_HELD_OUT_UNITS = {"device": "device", "recording": "recording", "specimen": "recording"}


class SessionRow(SessionRecord):
    """The session; ``model`` is its family and name."""

    model: str


class TrainingHistory(TypedDict):
    """The epochs of a training; none for a model that is fitted in one step."""

    epochs: list[Epoch]
    best_epoch: int | None
    stopped: str | None


class Stage(TypedDict):
    """A stage that a session announced, and when it began."""

    stage: str
    at: str


class VersionFile(TypedDict):
    """A file of the version."""

    name: str
    bytes: int


class VersionLine(TypedDict):
    """One earlier version of the model."""

    number: int
    created_at: str | None
    session_id: int | None
    rows: int | None
    headline: float | None
    held_out: int | None
    promoted: bool | None


class ReportFacts(TypedDict):
    """Everything that a report says about an ended session.

    ``manifest`` is that of the version it made, None where it made none; ``versions`` are the last ones of the model
    up to this session, newest first; ``stages`` is what it announced and when; ``log`` are lines of its output.
    """

    format: int
    session: SessionRow
    manifest: Manifest | None
    files: list[VersionFile]
    history: TrainingHistory
    versions: list[VersionLine]
    stages: list[Stage]
    log: list[str]


@dataclass(frozen=True)
class ModelQuality:
    """The headline metric of a model, and those of the previous model and of the baselines."""

    metric: str
    unit: str
    higher_is_better: bool
    value: float | None
    champion: float | None
    baselines: Mapping[str, float | None]
    held_out: int
    held_out_unit: str
    beats_baselines: bool

    def gain(self, value: float, other: float) -> float:
        """Return how much better a value is than another; negative where it is worse."""
        return value - other if self.higher_is_better else other - value

    def format(self, value: float | None) -> str:
        """Format a value with the metric's unit."""
        return format_quantity(value, self.unit)

    @property
    def best_baseline(self) -> tuple[str, float] | None:
        """The name and value of the baseline that is hardest to beat."""
        finite = {name: value for name, value in self.baselines.items() if is_number(value)}
        if not finite:
            return None
        best = (max if self.higher_is_better else min)(finite, key=lambda name: finite[name])
        return best, finite[best]


@dataclass(frozen=True)
class TrainingCurve:
    """The metrics of each epoch.

    Parameters
    ----------
    best : int
        Index of the best epoch in ``epochs``.
    """

    epochs: list[Epoch]
    best: int
    stopped: str | None

    @classmethod
    def from_history(cls, history: TrainingHistory) -> TrainingCurve | None:
        """Return the curve, or None for a model that is fitted in one step."""
        epochs: list[Epoch] = [
            e for e in history["epochs"] if isinstance(e, dict) and is_number(e.get("train_loss"))
        ]
        if not epochs:
            return None
        best = next(
            (i for i, epoch in enumerate(epochs) if epoch.get("epoch") == history["best_epoch"]), None
        )
        if best is None:
            key = "val_loss" if is_number(epochs[-1].get("val_loss")) else "train_loss"
            losses = {i: loss for i, epoch in enumerate(epochs) if is_number(loss := epoch.get(key))}
            best = min(losses, key=lambda i: losses[i])
        return cls(epochs, best, history["stopped"])

    @property
    def selection_loss(self) -> str:
        """The loss that selects the best epoch."""
        return "val_loss" if self.epochs[self.best].get("val_loss") is not None else "train_loss"

    def values(self, key: str) -> list[float]:
        """Return one metric over the epochs in which it was measured."""
        return [value for epoch in self.epochs if is_number(value := epoch.get(key))]

    @property
    def rise_after_best(self) -> float:
        """The share by which the selection loss ends above its minimum."""
        losses = self.values(self.selection_loss)
        lowest = min(losses, default=0.0)
        return losses[-1] / lowest - 1 if lowest > 0 else 0.0

    @property
    def metrics(self) -> list[str]:
        """Names of what was measured in each epoch besides the loss, such as ``accuracy``."""
        names = [key.removeprefix("train_") for key in self.epochs[0] if key.startswith("train_")]
        return [name for name in names if name != "loss"]

    def indices_to_show(self, at_most: int = 14) -> list[int]:
        """Return the first, every k-th, the best and the last index."""
        count = len(self.epochs)
        step = max(1, -(-count // at_most))
        return sorted({0, *range(0, count, step), self.best, count - 1})


@dataclass(frozen=True)
class SessionFacts:
    """The facts of a session; ``manifest`` is empty where it made no version."""

    session: SessionRow
    manifest: Manifest
    history: TrainingHistory
    files: list[VersionFile]
    versions: list[VersionLine]
    stages: list[Stage]
    log: list[str]

    @classmethod
    def from_dict(cls, facts: ReportFacts) -> SessionFacts:
        """Return the view of what ``collect_facts`` returned."""
        return cls(
            facts["session"],
            facts["manifest"] or {},
            facts["history"],
            facts["files"],
            facts["versions"],
            facts["stages"],
            facts["log"],
        )

    @property
    def items(self) -> list[BatchItem]:
        """The models of a batch session; empty for a session of one model."""
        return self.session["details"].get("items") or []

    @property
    def data_facts(self) -> Mapping[str, object]:
        """What the family says about its data."""
        return self.manifest.get("facts") or {}

    @cached_property
    def curve(self) -> TrainingCurve | None:
        """The course of the epochs, where there are epochs."""
        return TrainingCurve.from_history(self.history)

    @cached_property
    def quality(self) -> ModelQuality | None:
        """The measured quality; None where the session made no version."""
        scores = self.manifest.get("metrics")
        if not scores:
            return None
        headline = self.manifest.get("headline")
        champion, certificate = self.manifest.get("champion_metrics"), self.manifest.get("certificate")
        name = headline["name"] if headline else "headline"
        return ModelQuality(
            metric=_METRIC_NAMES.get(name, humanize(name)),
            unit=headline["unit"] if headline else "",
            higher_is_better=bool(headline and headline["higher_is_better"]),
            value=scores["headline"],
            champion=champion["headline"] if champion else None,
            baselines=scores["baselines"],
            held_out=scores["held_out"],
            held_out_unit=_HELD_OUT_UNITS.get(certificate["unit"] if certificate else "", "sample"),
            beats_baselines=scores["beats_baselines"],
        )

    @property
    def quarantine(self) -> list[str]:
        """Return which records waited in quarantine when the session ended, as sentences."""
        details, sentences = self.session["details"], []
        if count := details.get("quarantined"):
            since = format_day(self.session["ended_at"] or self.session["created_at"])
            sentences.append(
                f"{format_count(count, 'record')} of this session {'wait' if count > 1 else 'waits'} in quarantine "
                f"since {since} UTC: no later training reads them until they are accepted, corrected or undone"
            )
        if waiting := details.get("waiting"):
            count, sessions = waiting["records"], ", ".join(map(str, waiting["sessions"]))
            sentences.append(
                f"{format_count(count, 'record')} of earlier sessions ({sessions}) {'wait' if count > 1 else 'waits'} "
                f"in quarantine since {format_day(waiting['since'])} UTC: this training has not read them"
            )
        return sentences

    @property
    def time_span(self) -> tuple[str, str] | None:
        """The first and last time of the data."""
        return find_time_span(self.data_facts)


def find_time_span(facts: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the first and last time of a family's data: facts whose names begin with *first* and *last*."""
    ends = []
    for word in ("first", "last"):
        times = (_as_time(value) for name, value in facts.items() if name.startswith(word))
        ends += [time for time in times if time is not None][:1]
    return (ends[0], ends[1]) if len(ends) == 2 else None


def _as_time(value: object) -> str | None:
    """Return an RFC 3339 text; families store text or microseconds since 1970."""
    if isinstance(value, str):
        return value if value[:4].isdigit() else None
    if isinstance(value, int) and _MIN_MICROSECONDS < value < _MAX_MICROSECONDS:
        return datetime.fromtimestamp(value / 1e6, UTC).isoformat(timespec="seconds")
    return None


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
