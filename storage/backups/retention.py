"""Retention rules for backups, as in restic: the newest, and the newest of each day, week and month."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from storage.backups.backup import Backup

_PERIODS: Final[dict[str, Callable[[Backup], str]]] = {
    "day": lambda backup: f"{backup.created_at:%Y-%m-%d}",
    "week": lambda backup: f"{backup.created_at:%G-W%V}",
    "month": lambda backup: f"{backup.created_at:%Y-%m}",
}


def plan_retention(
    backups: Sequence[Backup],
    keep_last: int = 0,
    keep_daily: int = 0,
    keep_weekly: int = 0,
    keep_monthly: int = 0,
) -> list[tuple[Backup, bool, str]]:
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
    list of (Backup, bool, str)
        In the order of ``backups``.
    """
    newest_first = sorted(backups, key=lambda backup: backup.sequence, reverse=True)
    groups: dict[frozenset[str], list[Backup]] = {}
    for backup in newest_first:
        groups.setdefault(frozenset(backup.models), []).append(backup)
    reasons: dict[str, list[str]] = {backup.name: [] for backup in backups}
    for name in _newest_of_each_model(newest_first):
        reasons[name].append("newest that can be restored")
    for group in groups.values():
        for name, reason in _reasons(group, keep_last, (keep_daily, keep_weekly, keep_monthly)):
            reasons[name].append(reason)
    return [
        (backup, bool(reasons[backup.name]), ", ".join(reasons[backup.name]) or "not needed")
        for backup in backups
    ]


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
) -> Iterator[tuple[str, str]]:
    """Yield a backup's name with each reason to keep it."""
    verified = [backup for backup in newest_first if backup.verified]
    for backup in newest_first:
        if backup.retained:
            yield backup.name, "marked to be retained"
    for number, backup in enumerate(verified[:keep_last], start=1):
        yield backup.name, f"last {number} of {keep_last}"
    for (unit, period_of), count in zip(_PERIODS.items(), counts, strict=True):
        newest = {period_of(backup): backup for backup in reversed(verified)}
        for period in sorted(newest, key=lambda key: -newest[key].sequence)[:count]:
            yield newest[period].name, f"newest of {unit} {period}"
