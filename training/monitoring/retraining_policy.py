"""The rule: when a model is trained again, and why, in sentences a plant can check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from prediction.monitoring import MonitoringReport
from settings import Settings
from training.gate import significant

TRAIN: Final = "train"
WAIT: Final = "wait"
LEAVE: Final = "leave"

MIN_CASES: Final = 5
"""Fewer cases say nothing about a model, and teach a new one nothing."""
CONFIDENCE: Final = 0.99
"""That a model does worse is no chance. It is asked every day, so it is asked strictly."""
PERIOD: Final = timedelta(days=7)
MAX_COOLDOWN: Final = timedelta(days=30)


@dataclass(frozen=True)
class RetrainingPolicy:
    """What the settings say.

    Parameters
    ----------
    below : float
        Train where the promised error is less than this share of the measured one.
    max_age : timedelta
    growth : float
        Train where this share of the known cases has come anew.
    shift : float
        Train where the population stability index of an input is above it, and above chance.
    cooldown : timedelta
        From one scheduled training of a model to the next; doubled with each that promoted nothing.
    budget : int
        Scheduled trainings of a tenant in seven days.
    """

    below: float = 0.8
    max_age: timedelta = timedelta(days=90)
    growth: float = 0.5
    shift: float = 0.25
    cooldown: timedelta = timedelta(days=1)
    budget: int = 20

    @classmethod
    def of(cls, settings: Settings) -> RetrainingPolicy:
        """From the settings."""
        return cls(
            below=settings.retrain_error_ratio,
            max_age=timedelta(days=settings.retrain_max_age_days),
            growth=settings.retrain_min_new_data,
            shift=settings.retrain_psi,
            cooldown=timedelta(hours=settings.retrain_cooldown_hours),
            budget=settings.retrain_budget,
        )


@dataclass(frozen=True)
class RetrainHistory:
    """The scheduled trainings there have been.

    Parameters
    ----------
    last : datetime or None
        Of this model.
    refused : int
        Of this model, in a row, up to the last, that promoted nothing.
    of_period : int
        Of all models of the tenant within the last seven days.
    """

    last: datetime | None = None
    refused: int = 0
    of_period: int = 0


def decide(
    evidence: MonitoringReport, policy: RetrainingPolicy, past: RetrainHistory, now: datetime
) -> tuple[str, list[str]]:
    """The action (``train``, ``wait`` or ``leave``) and its reasons."""
    wanted = [
        *_complaint(evidence),
        *_changes(evidence, policy),
        *_age(evidence, policy, now),
        *_new_cases(evidence, policy),
    ]
    if not wanted:
        return LEAVE, [_quiet(evidence)]
    hindered = [*_nothing_new(evidence), *_cooling(policy, past, now), *_spent(policy, past)]
    return (WAIT, [*wanted, *hindered]) if hindered else (TRAIN, wanted)


def has_changed(evidence: MonitoringReport, policy: RetrainingPolicy) -> bool:
    """Whether what the model learnt no longer holds, so that only what is new should teach the next one."""
    return any(_changes(evidence, policy))


def _changes(evidence: MonitoringReport, policy: RetrainingPolicy) -> list[str]:
    return [*_performance(evidence, policy), *_shifts(evidence, policy)]


def _complaint(evidence: MonitoringReport) -> Iterator[str]:
    if evidence.issue:
        yield f"{evidence.issue[:1].upper()}{evidence.issue[1:]}."


def _performance(evidence: MonitoringReport, policy: RetrainingPolicy) -> Iterator[str]:
    """Worse than promised by more than the settings allow, and not by the chance of few cases."""
    found = evidence.production
    enough = len(found.excess) >= MIN_CASES and significant(found.excess, CONFIDENCE)
    if enough and found.ratio is not None and found.ratio < policy.below:
        yield (
            f"Over {len(found.excess)} {evidence.cases} since its training its {found.error} was "
            f"{_measured(evidence)}, where {found.promised:.3g} was promised for the same cases: a ratio of "
            f"{found.ratio:.2f}, below {policy.below:g}."
        )


def _age(evidence: MonitoringReport, policy: RetrainingPolicy, now: datetime) -> Iterator[str]:
    allowed = evidence.max_age or policy.max_age
    if evidence.trained_at is not None and now - evidence.trained_at > allowed:
        yield f"It is {(now - evidence.trained_at).days} days old, {allowed.days} are allowed."


def _new_cases(evidence: MonitoringReport, policy: RetrainingPolicy) -> Iterator[str]:
    if evidence.new is None or evidence.known is None:
        return
    if evidence.new >= max(MIN_CASES, policy.growth * evidence.known):
        yield f"{evidence.new} {evidence.cases} have come since its training, which knew {evidence.known}."


def _shifts(evidence: MonitoringReport, policy: RetrainingPolicy) -> Iterator[str]:
    for name, shift in evidence.shifts.items():
        if shift.size > max(policy.shift, shift.by_chance):
            yield (
                f"{name} is not what it was in training: a population stability index of {shift.size:.2f}, "
                f"{max(policy.shift, shift.by_chance):.2f} is allowed."
            )


def _nothing_new(evidence: MonitoringReport) -> Iterator[str]:
    if evidence.new == 0:
        yield f"No {evidence.cases} have come since its training, so there is nothing new to learn from yet."


def _cooling(policy: RetrainingPolicy, past: RetrainHistory, now: datetime) -> Iterator[str]:
    if past.last is None:
        return
    pause = max(policy.cooldown, min(policy.cooldown * 2 ** min(past.refused, 20), MAX_COOLDOWN))
    if now < past.last + pause:
        refused = f" ({past.refused} in a row promoted nothing)" if past.refused else ""
        yield (
            f"It was trained at {past.last:%Y-%m-%d %H:%M} UTC{refused}, the next training may begin at "
            f"{past.last + pause:%Y-%m-%d %H:%M}."
        )


def _spent(policy: RetrainingPolicy, past: RetrainHistory) -> Iterator[str]:
    if past.of_period >= policy.budget:
        yield f"The budget of {policy.budget} scheduled trainings in {PERIOD.days} days is spent."


def _quiet(evidence: MonitoringReport) -> str:
    found = evidence.production
    if found.ratio is None:
        return "Nothing speaks for a training; nothing has been measured since the last one."
    said = f"its {found.error} is {_measured(evidence)}, {found.promised:.3g} was promised"
    return f"Nothing speaks for a training: {said}."


def _measured(evidence: MonitoringReport) -> str:
    return f"{evidence.production.measured:.3g} {evidence.production.unit}".strip()
