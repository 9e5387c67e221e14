"""New data is compared with an earlier champion, so that small harm cannot add up unseen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from storage.times import utc_now
from tests import toy_family
from tests.training.conftest import KEY, ended_session
from training.anchor import find_anchor, list_stored
from training_manager import TrainingManager

ROWS = toy_family.records


@pytest.fixture
def grown(trained: TrainingManager) -> TrainingManager:
    """Return a manager whose model was trained four times, with 5 records each after the first."""
    for start in (100, 110, 120):
        assert ended_session(trained.train(KEY, ROWS(5, start))).state == "completed"
    return trained


def anchor(manager: TrainingManager, days: int = 30, records: int = 200, age: int = 0) -> int:
    storage = replace(
        manager.storage, settings=replace(manager.settings, anchor_days=days, anchor_records=records)
    )
    champion = manager.models.champion(KEY)
    assert champion is not None
    now = utc_now() + timedelta(days=age)
    return find_anchor(storage, champion, list_stored(manager.storage, KEY), now).number


def test_without_an_old_one_it_is_the_first_champion(grown: TrainingManager):
    assert anchor(grown) == 1


def test_it_is_the_last_champion_before_so_many_records_or_days(grown: TrainingManager):
    assert anchor(grown, records=5) == 3
    assert anchor(grown, records=10) == 2
    assert anchor(grown, age=31) == 4


def test_it_is_none_that_a_person_has_set_aside(grown: TrainingManager):
    ended_session(grown.undo(3, "default"))
    assert anchor(grown) == 5
    assert ended_session(grown.train(KEY, ROWS(20, 300, value=9.0))).state == "rejected"
    ended_session(grown.accept(6, "default"))
    champion = grown.models.champion_number(KEY)
    ended_session(grown.train(KEY, ROWS(5, 400)))
    assert anchor(grown) == champion


def test_a_rejected_version_is_no_anchor_and_a_rolled_back_one_neither(grown: TrainingManager):
    grown.models.promote(KEY, 2)
    assert anchor(grown) == 1
    ended_session(grown.train(KEY, ROWS(5, 200)))
    manifest = grown.models.version(KEY, 5).manifest
    assert (manifest["parent"], manifest["anchor"]) == (2, 1)
