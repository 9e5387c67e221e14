"""A session ends in exactly one state, and what the journal recorded has the last word."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from errors import NotFound
from storage.db.session_events import SessionEventStore
from storage.db.sessions import ENDED_STATES, STORED_STATES, SessionFilter, SessionStore, StoredSession


@pytest.fixture
def store(database):
    return SessionStore(database)


@pytest.fixture
def events(database):
    return SessionEventStore(database)


def begun(store, **columns):
    facts = {"tenant": "default", "family": "scoring", "name": "default", "kind": "train", "state": "running"}
    return store.create(**facts | columns)


def test_numbers_count_across_all_families_and_are_never_used_again(store):
    assert [begun(store, family=family).id for family in ("scoring", "rul", "scoring")] == [1, 2, 3]


def test_what_is_kept_comes_back(store):
    started = datetime(2024, 12, 5, 14, 30, 22, tzinfo=UTC)
    made = begun(
        store,
        started_at=started,
        options={"b": 1, "a": [None, 0.1]},
        warnings=["été \U0001f600"],
        details={"x": 1},
    )
    assert store.get(made.id) == made
    assert (made.started_at, made.warnings, list(made.options)) == (started, ["été \U0001f600"], ["b", "a"])
    assert (made.promoted, made.metrics, made.reasons, made.error) == (None, {}, [], None)


def test_another_tenants_session_is_not_found(store):
    made = begun(store)
    assert store.get(made.id, "default").id == made.id
    for tenant, number in (("other", made.id), (None, 77), (None, 10**30), (None, -1)):
        with pytest.raises(NotFound):
            store.get(number, tenant)


@pytest.mark.parametrize("state", ENDED_STATES)
def test_an_end_is_written_with_its_last_event(store, events, state):
    made = begun(store)
    assert store.finish(made.id, state, message="so it ended", records_added=3)
    found = store.get(made.id)
    assert (found.state, found.message, found.records_added, found.has_ended) == (
        state,
        "so it ended",
        3,
        True,
    )
    assert found.ended_at is not None
    assert [(event.event, event.data) for event in events.list(made.id)] == [
        ("end", {"state": state, "message": "so it ended"})
    ]


def test_ending_twice_changes_nothing(store, events):
    made = begun(store)
    store.finish(made.id, "completed")
    before = store.get(made.id)
    assert not store.finish(made.id, "completed", message="again")
    assert store.get(made.id) == before
    assert len(events.list(made.id)) == 1


@pytest.mark.parametrize("first", ENDED_STATES)
def test_only_what_the_journal_recorded_replaces_an_end(store, first):
    for second in ENDED_STATES:
        made = begun(store)
        store.finish(made.id, first)
        changed = first not in STORED_STATES and second in STORED_STATES
        assert store.finish(made.id, second) is changed
        assert store.get(made.id).state == (second if changed else first)


def test_an_ended_session_is_not_updated_by_somebody_late(store):
    made = begun(store)
    store.update(made.id, stage="fit", progress_pct=40.0)
    assert (store.get(made.id).stage, store.get(made.id).progress_pct) == ("fit", 40.0)
    store.finish(made.id, "cancelled")
    store.update(made.id, state="running", stage="save")
    assert (store.get(made.id).state, store.get(made.id).stage) == ("cancelled", None)


def test_a_session_cannot_end_as_something_else(store):
    with pytest.raises(ValueError, match="running"):
        store.finish(begun(store).id, "running")
    with pytest.raises(NotFound):
        store.finish(77, "completed")


def test_events_can_be_read_on_from_the_last_one_seen(store, events):
    made, other = begun(store), begun(store)
    seen = [events.add(made.id, "epoch", {"done": n}) for n in range(3)]
    events.add(other.id, "epoch", {})
    assert seen == sorted(seen)
    assert [event.data["done"] for event in events.list(made.id, after=seen[0])] == [1, 2]
    assert events.list(made.id, after=seen[-1]) == []


def test_an_event_may_change_the_row_in_the_same_write(store, events):
    made = begun(store)
    events.add(made.id, "stage", {"stage": "fit"}, stage="fit", progress_pct=20.0)
    assert store.get(made.id).stage == "fit"


def test_lists_page_from_the_newest_back(store):
    for number in range(5):
        begun(store, name="a" if number % 2 else "b")
    begun(store, tenant="other")
    first = store.list("default", limit=2)
    assert [found.id for found in first] == [5, 4]
    assert [found.id for found in store.list("default", limit=2, cursor=first[-1].id)] == [3, 2]
    assert [found.id for found in store.list("default", "scoring", "a")] == [4, 2]
    assert store.list("default", "rul") == []


def test_last_is_the_newest_that_has_ended_whatever_the_clock_said(store):
    one, two, three = begun(store), begun(store), begun(store)
    assert store.last("default", "scoring", "default") is None
    store.finish(one.id, "completed", ended_at=datetime(2024, 1, 2, tzinfo=UTC))
    store.finish(two.id, "failed", ended_at=datetime(2024, 1, 1, tzinfo=UTC))
    assert store.last("default", "scoring", "default").id == two.id
    assert store.last("default", "scoring", "default", STORED_STATES).id == one.id
    assert [found.id for found in store.list_live()] == [three.id]
    assert store.list_live("other") == []


def test_trained_sessions_are_counted_promoted_or_not(store):
    for state in ENDED_STATES:
        store.finish(begun(store).id, state)
    store.finish(begun(store, name="other").id, "completed")
    assert store.count_completed("default", "scoring", "default") == 2
    assert store.count_completed("default") == 3
    assert store.count_by_state("default")["scoring", "other", "completed"] == 1


def test_a_session_is_a_value(store):
    made = begun(store)
    assert replace(made, state="failed") != made


def test_a_list_reads_of_the_details_what_it_is_asked_for(store):
    items = [{"name": "4-drift"}]
    made = begun(store, details={"items": items, "why": ["old"], "quarantined": 3}, options={"a": 1})
    begun(store, tenant="other")
    (listed,) = store.list("default", details=("why", "quarantined", "undo_of"))
    assert listed == replace(made, details={"why": ["old"], "quarantined": 3})
    (summary,) = store.list_summaries("default")
    assert (summary.id, summary.state, summary.created_at) == (made.id, "running", made.created_at)
    assert not hasattr(summary, "details")
    newer = begun(store, family="rul")
    assert [row.id for row in store.list_summaries("default", "scoring", 5, newer.id)] == [made.id]
    assert [row.id for row in store.list_summaries("default", limit=1)] == [newer.id]


def test_a_list_may_be_of_some_sessions_and_some_models_only(store):
    numbered, named = begun(store), begun(store, family="sensors", name="4-drift")
    begun(store, name="4-drift")
    begun(store, family="sensors", name="5-drift")
    begun(store, tenant="other", family="sensors", name="4-drift")
    only = SessionFilter({numbered.id}, "sensors", {"4-drift"})
    assert [row.id for row in store.list_summaries("default", only=only)] == [named.id, numbered.id]
    assert store.list_summaries("default", only=SessionFilter((), "sensors", ())) == []
    trained = begun(store, options={"dataset": "ds-1"})
    begun(store, options={"dataset": "ds-2"})
    assert [row.id for row in store.list_summaries("default", dataset="ds-1")] == [trained.id]


def test_the_sessions_that_stored_records_are_the_newest_of_one_model(store):
    states = ("completed", "failed", "rejected", "running", "completed")
    made = [
        begun(
            store, state=state, records_added=number, details={"undo_of": 1} if number == 2 else {"why": []}
        )
        for number, state in enumerate(states)
    ]
    begun(store, state="completed", name="other")
    newest = [StoredSession(made[4].id, "completed", 4, None), StoredSession(made[2].id, "rejected", 2, 1)]
    assert store.list_stored("default", "scoring", "default", 2) == newest
    assert [row.id for row in store.list_stored("default", "scoring", "default", 9)] == [
        made[4].id,
        made[2].id,
        made[0].id,
    ]


def test_the_newest_events_of_a_kind_come_in_their_order(store, events):
    made = begun(store)
    for number in range(5):
        events.add(made.id, "epoch", {"epoch": number})
        events.add(made.id, "stage", {})
    assert [event.data["epoch"] for event in events.newest(made.id, 2, "epoch")] == [3, 4]
    assert [event.event for event in events.newest(made.id, 2)] == ["epoch", "stage"]
    assert events.newest(made.id + 1, 2) == []
