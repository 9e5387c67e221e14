"""Retention keeps what the figures ask for, says why, and never gives up the last good backup."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from storage.backups.backup import Backup
from storage.backups.retention import plan_retention

START = datetime(2024, 1, 1, 12, tzinfo=UTC)


def backup(sequence, days=None, verified=True, retain=False):
    name = f"backup_{sequence}"
    created = START + timedelta(days=sequence if days is None else days)
    return Backup(name, Path(name), sequence, created, "", None, retain, 0, verified, None, [], {})


def kept_names(backups, **figures):
    return [found.sequence for found, keep, _ in plan_retention(backups, **figures) if keep]


def test_the_newest_ones_are_kept():
    assert kept_names([backup(n) for n in range(1, 11)], keep_last=3) == [8, 9, 10]


def test_of_each_day_the_newest_is_kept():
    backups = [backup(n, days=n // 3) for n in range(1, 13)]
    assert kept_names(backups, keep_daily=3) == [8, 11, 12]


def test_weeks_and_months_count_likewise():
    backups = [backup(n, days=n) for n in range(100)]
    weeks, months = kept_names(backups, keep_weekly=4), kept_names(backups, keep_monthly=2)
    assert len({backups[n].created_at.isocalendar()[:2] for n in weeks}) == len(weeks) == 4
    assert [backups[n].created_at.month for n in months] == [3, 4]


def test_asked_for_nothing_it_still_keeps_the_newest_good_and_the_marked():
    backups = [backup(1, retain=True), backup(2), backup(3), backup(4, verified=False)]
    assert kept_names(backups) == [1, 3]


def test_a_damaged_one_is_never_counted_as_kept():
    backups = [backup(1), backup(2, verified=False), backup(3)]
    assert kept_names(backups, keep_last=2) == [1, 3]


def test_newest_goes_by_sequence_when_the_clock_was_set_back():
    backups = [backup(1, days=10), backup(2, days=3)]
    assert kept_names(backups, keep_last=1) == [2]


def test_every_backup_gets_a_reason():
    told = {
        found.sequence: why
        for found, _, why in plan_retention([backup(1), backup(2)], keep_last=1, keep_daily=1)
    }
    assert told == {1: "not needed", 2: "newest that can be restored, last 1 of 1, newest of day 2024-01-03"}


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.booleans()), max_size=30),
    st.fixed_dictionaries(
        {f"keep_{name}": st.integers(0, 4) for name in ("last", "daily", "weekly", "monthly")}
    ),
)
def test_the_last_good_one_and_the_marked_survive_any_figures(facts, figures):
    backups = [backup(n + 1, days, verified, retain) for n, (days, verified, retain) in enumerate(facts)]
    found = set(kept_names(backups, **figures))
    good = [b.sequence for b in backups if b.verified]
    assert {b.sequence for b in backups if b.retained} <= found
    assert not good or good[-1] in found
    assert set(good[len(good) - figures["keep_last"] :]) <= found or figures["keep_last"] == 0


def of_models(number, *models):
    return replace(backup(number), models=[f"default/{model}" for model in models])


def test_backups_of_one_model_never_push_out_those_of_another():
    backups = [of_models(1, "scoring/default"), *(of_models(n, "sensors/1-drift") for n in range(2, 9))]
    decisions = plan_retention(backups, keep_last=3)
    assert [found.sequence for found, keep, _ in decisions if keep] == [1, 6, 7, 8]


def test_the_newest_restorable_backup_of_each_model_stays_whatever_the_rules():
    backups = [
        of_models(1, "rul/a", "rul/b"),
        of_models(2, "rul/a"),
        of_models(3, "rul/c"),
        of_models(4, "rul/c"),
    ]
    decisions = plan_retention(backups)
    assert [found.sequence for found, keep, _ in decisions if keep] == [1, 2, 4]
