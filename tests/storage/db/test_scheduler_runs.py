"""Decisions are made once a look and kept; a look is done once, by whoever comes first, also after deaths."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from storage.db import scheduler_runs
from storage.db.scheduler_runs import RetrainDecision, RetrainDecisions, SchedulerRuns

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ONE = RetrainDecision("plant", "rul", "pumps", "monday", NOW, "train", ["It is old."], {"new": 3})


@pytest.fixture
def decisions(database):
    return RetrainDecisions(database)


@pytest.fixture
def looks(database):
    made = SchedulerRuns(database)
    assert not made.begin(0, NOW), "the first tick is only noted"
    return made


def test_a_look_decides_about_a_model_once(decisions):
    kept = decisions.add(ONE)
    assert decisions.add(replace(ONE, action="leave")) is None
    assert decisions.add(replace(ONE, run_id="tuesday")) is not None
    decisions.update(kept.id, session_id=7)
    assert decisions.list("plant")[-1] == replace(kept, session_id=7)
    assert [one.id for one in decisions.list_trainings("plant", "rul", "pumps")] == [kept.id]


def test_a_session_of_many_models_counts_once_in_the_budget_of_its_tenant(decisions):
    for name, tenant, session in (("a", "plant", 7), ("b", "plant", 7), ("c", "plant", 8), ("d", "other", 9)):
        kept = decisions.add(replace(ONE, name=name, tenant=tenant))
        decisions.update(kept.id, session_id=session)
    decisions.add(replace(ONE, name="e", action="leave"))
    assert decisions.count_trainings("plant", since=NOW) == 2
    assert decisions.count_trainings("plant", since=NOW + timedelta(seconds=1)) == 0


def test_every_tenant_has_its_own_and_the_newest_is_found(decisions):
    for look in "abc":
        for tenant in ("plant", "other"):
            decisions.add(replace(ONE, tenant=tenant, run_id=look, reasons=[look]))
        decisions.add(replace(ONE, name="fans", run_id=look))
    assert [(one.name, one.run_id) for one in decisions.latest("plant")] == [("fans", "c"), ("pumps", "c")]
    assert len(decisions.list("other")) == 3
    newest, older = decisions.list("other", limit=2)
    assert [one.run_id for one in (newest, older)] == ["c", "b"]
    assert [one.run_id for one in decisions.list("other", cursor=older.id)] == ["a"]
    assert decisions.list("plant", "rul", "nothing") == []


def test_the_newest_of_many_models_are_found_page_by_page(decisions):
    for name in ("pumps", "Pumps", "fans 10", "fans 9", "Öfen", "fans"):
        for look in "ab":
            decisions.add(replace(ONE, name=name, run_id=look))
    decisions.add(replace(ONE, family="damage", name="fans"))
    decisions.add(replace(ONE, tenant="other", name="valves"))
    whole = [(one.family, one.name) for one in decisions.latest("plant")]
    assert len(whole) == 7 and whole[0] == ("damage", "fans")
    seen, after = [], None
    while page := decisions.latest("plant", 2, after):
        seen += [(one.family, one.name) for one in page]
        after = seen[-1]
    assert seen == whole


def test_only_the_newest_decisions_about_a_model_are_kept(decisions, monkeypatch):
    monkeypatch.setattr(scheduler_runs, "MAX_DECISIONS_PER_MODEL", 5)
    decisions.add(replace(ONE, name="fans"))
    for number in range(20):
        decisions.add(replace(ONE, run_id=str(number)))
    assert [one.run_id for one in decisions.list("plant", name="pumps")] == ["19", "18", "17", "16", "15"]
    assert len(decisions.list("plant", name="fans")) == 1


def test_a_look_is_begun_once_and_taken_up_again_where_its_owner_died(looks):
    assert looks.begin(10, NOW)
    assert looks.begin(10, NOW), "it was cut short"
    looks.end(10, NOW)
    assert not looks.begin(10, NOW)
    assert looks.last().ended_at == NOW


def test_a_look_that_kills_whoever_tries_is_given_up(looks):
    assert [looks.begin(10, NOW) for _ in range(5)] == [True, True, True, False, False]
    assert looks.begin(20, NOW)


def test_a_look_under_way_on_another_machine_is_left_to_it(looks, database):
    other = SchedulerRuns(database)
    other._host = "elsewhere"
    assert other.begin(10, NOW)
    assert not looks.begin(10, NOW)


def test_a_clock_that_is_set_back_or_far_ahead_neither_repeats_nor_blocks(looks):
    assert looks.begin(10_000, NOW)
    looks.end(10_000, NOW)
    assert looks.begin(20, NOW)
    looks.end(20, NOW)
    assert not looks.begin(10_000, NOW)
