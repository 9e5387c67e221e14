"""Which backups to keep: the newest, and the newest of each day, week and month, in restic's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from storage.backups.backup import Backup

_BUCKETS: Final[dict[str, Callable[[Backup], str]]] = {
    "day": lambda backup: f"{backup.created:%Y-%m-%d}",
    "week": lambda backup: f"{backup.created:%G-W%V}",
    "month": lambda backup: f"{backup.created:%Y-%m}",
}


def plan_retention(
    backups: Sequence[Backup],
    keep_last: int = 0,
    keep_daily: int = 0,
    keep_weekly: int = 0,
    keep_monthly: int = 0,
) -> list[tuple[Backup, bool, str]]:
    """Say of every backup whether to keep it, and why.

    Never given up, whatever the figures: the newest one that can be restored, and those marked to be
    retained. Newest means the highest sequence number, not the latest date.

    Parameters
    ----------
    keep_last : int
        How many of the newest to keep.
    keep_daily, keep_weekly, keep_monthly : int
        Of how many days, weeks (ISO) and months that have backups to keep the newest.

    Returns
    -------
    list of (Backup, bool, str)
        Oldest first, as given.
    """
    ordered = sorted(backups, key=lambda backup: backup.sequence, reverse=True)
    reasons: dict[str, list[str]] = {backup.name: [] for backup in backups}
    for name, reason in _kept(ordered, keep_last, (keep_daily, keep_weekly, keep_monthly)):
        reasons[name].append(reason)
    why = {name: ", ".join(found) for name, found in reasons.items()}
    return [(backup, bool(why[backup.name]), why[backup.name] or "not needed") for backup in backups]


def _kept(ordered: Sequence[Backup], last: int, counts: Sequence[int]) -> Iterator[tuple[str, str]]:
    whole = [backup for backup in ordered if backup.verified]
    if whole:
        yield whole[0].name, "newest that can be restored"
    for backup in ordered:
        if backup.retain:
            yield backup.name, "marked to be retained"
    for number, backup in enumerate(whole[:last], start=1):
        yield backup.name, f"last {number} of {last}"
    for (bucket, of), count in zip(_BUCKETS.items(), counts, strict=True):
        newest = {of(backup): backup for backup in reversed(whole)}
        for period in sorted(newest, key=lambda key: -newest[key].sequence)[:count]:
            yield newest[period].name, f"newest of {bucket} {period}"
