"""Only so many sessions train at the same time; the places of those that end or die are free at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from errors import NotReady, TooManyRequests
from prediction.contract import ModelKey
from settings import Settings
from storage.filesystem.locks import ProcessLock
from tests import toy_family
from tests.training.conftest import KEY, ended_session
from training.context import TrainingRequest
from training.session_limit import hold_session_place
from training_manager import TrainingManager


@pytest.fixture
def limits(tmp_path: Path) -> Settings:
    """Return settings with two places, one of them for a tenant."""
    return replace(Settings(), home=tmp_path, max_sessions=2, max_tenant_sessions=1)


def request_of(tenant: str, kind: str = "train") -> TrainingRequest:
    """Return a request to train a model of a tenant."""
    return TrainingRequest(ModelKey("toy", tenant=tenant), kind, {})


def test_a_tenant_has_its_own_limit(limits):
    with hold_session_place(limits, request_of("one")):
        with (
            pytest.raises(TooManyRequests, match="Try again when one has ended") as refusal,
            hold_session_place(limits, request_of("one")),
        ):
            pass
        with hold_session_place(limits, request_of("two")):
            pass
        with hold_session_place(limits, request_of("one", "first")):
            pass
    assert refusal.value.code == "too_many_sessions"
    with hold_session_place(limits, request_of("one")):
        pass


def test_all_tenants_share_the_limit_of_the_server(limits):
    with (
        hold_session_place(limits, request_of("one")),
        hold_session_place(limits, request_of("two")),
        pytest.raises(NotReady, match="2 trainings run"),
        hold_session_place(limits, request_of("three")),
    ):
        pass
    with hold_session_place(limits, request_of("three")):
        pass


def test_a_training_without_a_place_is_refused_and_changes_nothing(
    trained: TrainingManager, settings: Settings
):
    locks = [
        ProcessLock(settings.run_dir / "locks" / f"sessions {number}")
        for number in range(settings.max_sessions)
    ]
    last = trained.sessions.last(KEY)
    assert all(lock.acquire() for lock in locks)
    try:
        with pytest.raises(NotReady) as refusal:
            trained.train(KEY, toy_family.records(5, 100))
    finally:
        for lock in locks:
            lock.release()
    assert refusal.value.code == "too_many_sessions"
    assert trained.sessions.last(KEY) == last
    assert ended_session(trained.train(KEY, toy_family.records(5, 100))).records_added == 5
