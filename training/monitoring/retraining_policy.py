"""The retraining policy: when a model is trained again, with reasons that a plant can check."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from prediction.monitoring import MonitoringReport
from settings import Settings
from training.gate import is_significant

TRAIN: Final = "train"
WAIT: Final = "wait"
LEAVE: Final = "leave"

# Fewer cases say nothing about a model, and teach a new one nothing.
MIN_CASES: Final = 5
# Stricter than the gate's: a model is checked every day, and each check may be wrong by chance.
CONFIDENCE: Final = 0.99
PERIOD: Final = timedelta(days=7)
MAX_COOLDOWN: Final = timedelta(days=30)


@dataclass(frozen=True)
class RetrainingPolicy:
    """The thresholds of the settings.

    Parameters
    ----------
    min_error_ratio : float
        Train if the promised error is less than this share of the measured one.
    max_age : timedelta
        Train if the model is older.
    min_new_data_ratio : float
        Train if the new cases are at least this share of those the model knew.
    psi_threshold : float
        Train if the population stability index of an input is above it, and above chance.
    cooldown : timedelta
        Pause between two scheduled trainings of a model, doubled with each that promoted nothing.
    max_trainings_per_week : int
        Scheduled trainings of a tenant in seven days.
    """

    min_error_ratio: float = 0.8
    max_age: timedelta = timedelta(days=90)
    min_new_data_ratio: float = 0.5
    psi_threshold: float = 0.25
    cooldown: timedelta = timedelta(days=1)
    max_trainings_per_week: int = 20

    @classmethod
    def from_settings(cls, settings: Settings) -> RetrainingPolicy:
        """Return the policy that the settings describe."""
        return cls(
            min_error_ratio=settings.retrain_error_ratio,
            max_age=timedelta(days=settings.retrain_max_age_days),
            min_new_data_ratio=settings.retrain_min_new_data,
            psi_threshold=settings.retrain_psi,
            cooldown=timedelta(hours=settings.retrain_cooldown_hours),
            max_trainings_per_week=settings.retrain_budget,
        )


@dataclass(frozen=True)
class RetrainHistory:
    """Earlier scheduled trainings.

    Parameters
    ----------
    last : datetime, optional
        When this model was trained last.
    not_promoted : int
        How many trainings of this model in a row, up to the last, promoted nothing.
    in_period : int
        Trainings of all models of the tenant within the last seven days.
    """

    last: datetime | None = None
    not_promoted: int = 0
    in_period: int = 0


def decide(
    report: MonitoringReport, policy: RetrainingPolicy, history: RetrainHistory, now: datetime
) -> tuple[str, list[str]]:
    """Return the action (``train``, ``wait`` or ``leave``) and its reasons."""
    issue = report.issue
    reasons = [f"{issue[:1].upper()}{issue[1:]}."] if issue else []
    reasons += [
        *check_performance(report, policy),
        *check_inputs(report, policy),
        *check_age(report, policy, now),
        *check_new_cases(report, policy),
    ]
    if not reasons:
        return LEAVE, [_describe_quiet(report)]
    obstacles = [*check_cooldown(policy, history, now)]
    if report.new == 0:
        obstacles.insert(
            0, f"No {report.cases} have come since its training, so there is nothing new to learn from yet."
        )
    if history.in_period >= policy.max_trainings_per_week:
        obstacles.append(
            f"The budget of {policy.max_trainings_per_week} scheduled trainings in {PERIOD.days} days is spent."
        )
    return (WAIT, [*reasons, *obstacles]) if obstacles else (TRAIN, reasons)


def has_changed(report: MonitoringReport, policy: RetrainingPolicy) -> bool:
    """Return whether what the model learnt no longer holds, so that the next one should learn from new data."""
    return any(check_performance(report, policy)) or any(check_inputs(report, policy))


def check_performance(report: MonitoringReport, policy: RetrainingPolicy) -> Iterator[str]:
    """Check whether it does worse than promised by more than the policy allows, and not by chance."""
    production = report.production
    count = len(production.excess)
    is_certain = count >= MIN_CASES and is_significant(production.excess, CONFIDENCE)
    if is_certain and production.ratio is not None and production.ratio < policy.min_error_ratio:
        yield (
            f"Over {count} {report.cases} since its training its {production.error} was "
            f"{_format_error(report)}, where {production.promised:.3g} was promised for the same cases: a "
            f"ratio of {production.ratio:.2f}, below {policy.min_error_ratio:g}."
        )


def check_inputs(report: MonitoringReport, policy: RetrainingPolicy) -> Iterator[str]:
    """Yield a reason per input whose distribution has shifted."""
    for name, shift in report.shifts.items():
        limit = max(policy.psi_threshold, shift.by_chance)
        if shift.size > limit:
            yield (
                f"{name} is not what it was in training: a population stability index of {shift.size:.2f}, "
                f"{limit:.2f} is allowed."
            )


def check_age(report: MonitoringReport, policy: RetrainingPolicy, now: datetime) -> Iterator[str]:
    """Yield a reason where the model is too old."""
    max_age = report.max_age or policy.max_age
    if report.trained_at is not None and now - report.trained_at > max_age:
        yield f"It is {(now - report.trained_at).days} days old, {max_age.days} are allowed."


def check_new_cases(report: MonitoringReport, policy: RetrainingPolicy) -> Iterator[str]:
    """Yield a reason where enough new cases have come."""
    if report.new is None or report.known is None:
        return
    if report.new >= max(MIN_CASES, policy.min_new_data_ratio * report.known):
        yield f"{report.new} {report.cases} have come since its training, which knew {report.known}."


def check_cooldown(policy: RetrainingPolicy, history: RetrainHistory, now: datetime) -> Iterator[str]:
    """Yield a reason to wait after a recent training."""
    if history.last is None:
        return
    # 2**20 cooldowns are far beyond the maximum; a larger power would overflow.
    pause = min(policy.cooldown * 2 ** min(history.not_promoted, 20), MAX_COOLDOWN)
    next_training = history.last + max(policy.cooldown, pause)
    if now < next_training:
        streak = f" ({history.not_promoted} in a row promoted nothing)" if history.not_promoted else ""
        yield (
            f"It was trained at {history.last:%Y-%m-%d %H:%M} UTC{streak}, the next training may begin at "
            f"{next_training:%Y-%m-%d %H:%M}."
        )


def _describe_quiet(report: MonitoringReport) -> str:
    production = report.production
    if production.ratio is None:
        return "Nothing speaks for a training; nothing has been measured since the last one."
    figures = f"its {production.error} is {_format_error(report)}, {production.promised:.3g} was promised"
    return f"Nothing speaks for a training: {figures}."


def _format_error(report: MonitoringReport) -> str:
    return f"{report.production.measured:.3g} {report.production.unit}".strip()
