"""Retention rules for backups, as in restic: the newest, and the newest of each day, week and month."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from storage.backups.backup import Backup

_PERIODS: Final[dict[str, Callable[[Backup], str]]] = {
    "day": lambda backup: f"{backup.created_at:%Y-%m-%d}",
    "week": lambda backup: f"{backup.created_at:%G-W%V}",
    "month": lambda backup: f"{backup.created_at:%Y-%m}",
}


KEPT_FOR_MODEL: Final = "newest that can be restored"
RETAINED: Final = "marked to be retained"
LAST: Final = "last %(number)s of %(count)s"
KEPT_FOR_PERIOD: Final[Mapping[str, str]] = {unit: f"newest of {unit} %(period)s" for unit in _PERIODS}
NOT_NEEDED: Final = "not needed"


@dataclass(frozen=True)
class KeepReason:
    """Why a rule keeps a backup: a text of this module, and the values of its placeholders."""

    text: str
    values: Mapping[str, str | int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text % self.values


@dataclass(frozen=True)
class RetentionDecision:
    """What the rules say of a backup: it is kept where there is any reason."""

    backup: Backup
    reasons: Sequence[KeepReason]

    @property
    def is_kept(self) -> bool:
        """Whether there is a reason to keep it."""
        return bool(self.reasons)


def plan_retention(
    backups: Sequence[Backup],
    keep_last: int = 0,
    keep_daily: int = 0,
    keep_weekly: int = 0,
    keep_monthly: int = 0,
) -> list[tuple[Backup, bool, str]]:
    """Decide for every backup whether to keep it, and say why in English, as `decide_retention` does."""
    decisions = decide_retention(backups, keep_last, keep_daily, keep_weekly, keep_monthly)
    return [
        (decision.backup, decision.is_kept, ", ".join(map(str, decision.reasons)) or NOT_NEEDED)
        for decision in decisions
    ]


def decide_retention(
    backups: Sequence[Backup],
    keep_last: int = 0,
    keep_daily: int = 0,
    keep_weekly: int = 0,
    keep_monthly: int = 0,
) -> list[RetentionDecision]:
    """Decide for every backup whether to keep it, and why.

    The rules apply to each set of models by itself: backups of one model never push out those of another. The
    newest restorable backup of every model and those marked as retained are always kept. Newest means the
    highest sequence number, not the latest date.

    Parameters
    ----------
    keep_last : int
        Number of newest backups to keep.
    keep_daily, keep_weekly, keep_monthly : int
        For how many days, weeks (ISO) and months that have backups to keep the newest.

    Returns
    -------
    list of RetentionDecision
        In the order of ``backups``.
    """
    newest_first = sorted(backups, key=lambda backup: backup.sequence, reverse=True)
    groups: dict[frozenset[str], list[Backup]] = {}
    for backup in newest_first:
        groups.setdefault(frozenset(backup.models), []).append(backup)
    reasons: dict[str, list[KeepReason]] = {backup.name: [] for backup in backups}
    for name in _newest_of_each_model(newest_first):
        reasons[name].append(KeepReason(KEPT_FOR_MODEL))
    for group in groups.values():
        for name, reason in _reasons(group, keep_last, (keep_daily, keep_weekly, keep_monthly)):
            reasons[name].append(reason)
    return [RetentionDecision(backup, reasons[backup.name]) for backup in backups]


def _newest_of_each_model(newest_first: Sequence[Backup]) -> list[str]:
    """Return the names of the backups that are the newest restorable one of a model, or of all."""
    covered: set[str] = set()
    names: list[str] = []
    for backup in newest_first:
        # A backup that has lost its manifest names no model and covers none.
        if backup.verified and (not names or not covered.issuperset(backup.models)):
            names.append(backup.name)
            covered.update(backup.models)
    return names


def _reasons(
    newest_first: Sequence[Backup], keep_last: int, counts: Sequence[int]
) -> Iterator[tuple[str, KeepReason]]:
    """Yield a backup's name with each reason to keep it."""
    verified = [backup for backup in newest_first if backup.verified]
    for backup in newest_first:
        if backup.retained:
            yield backup.name, KeepReason(RETAINED)
    for number, backup in enumerate(verified[:keep_last], start=1):
        yield backup.name, KeepReason(LAST, {"number": number, "count": keep_last})
    for (unit, period_of), count in zip(_PERIODS.items(), counts, strict=True):
        newest = {period_of(backup): backup for backup in reversed(verified)}
        for period in sorted(newest, key=lambda key: -newest[key].sequence)[:count]:
            yield newest[period].name, KeepReason(KEPT_FOR_PERIOD[unit], {"period": period})
