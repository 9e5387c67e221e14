"""Records of a rejected session are kept, and no later training reads them until a person accepts them."""

from __future__ import annotations

import pytest

from errors import Conflict
from settings import Settings
from tests import toy_family
from tests.training.conftest import KEY, answer, ended_session, stored
from training_manager import TrainingManager

ROWS = toy_family.records
ODD = ROWS(20, 100, value=9.0)


@pytest.fixture
def rejected(trained: TrainingManager) -> TrainingManager:
    """Return a manager that has rejected twenty contradictory records in session 2."""
    session = ended_session(trained.train(KEY, ODD))
    assert (session.state, session.promoted) == ("rejected", False)
    return trained


def quarantined(manager: TrainingManager) -> list[tuple[int, int]]:
    return [(batch.session_id, batch.records) for batch in manager.data_health.quarantined(KEY)]


def test_rejected_records_are_stored_marked_and_named(rejected: TrainingManager, settings: Settings):
    assert stored(settings).count(b",9.0,2") == 20
    assert quarantined(rejected) == [(2, 20)]
    session = rejected.sessions.get(2)
    assert session.details["quarantined"] == 20
    assert "POST /train/sessions/2/accept" in session.message and "POST /train/undo/2" in session.message


def test_a_later_clean_batch_wins_by_itself_and_has_not_seen_them(rejected: TrainingManager):
    session = ended_session(rejected.train(KEY, ROWS(5, 200)))
    assert session.state == "completed"
    assert rejected.models.version(KEY, session.version).manifest["rows"] == 55
    assert answer(rejected) == pytest.approx(3.0, abs=0.05)
    assert quarantined(rejected) == [(2, 20)]


def test_accepted_records_are_learnt_and_serve(rejected: TrainingManager):
    session = ended_session(rejected.accept(2, "default", accepted_by="Karim"))
    assert (session.state, session.kind, session.details["accepted_by"]) == ("completed", "accept", "Karim")
    assert any("A person accepted the records" in reason for reason in session.reasons)
    assert rejected.models.version(KEY, session.version).manifest["rows"] == 70
    assert quarantined(rejected) == []
    with pytest.raises(Conflict):
        rejected.accept(2, "default")
    assert ended_session(rejected.train(KEY, ROWS(5, 200))).version == session.version + 1


def test_an_accept_that_failed_changes_nothing_and_can_be_tried_again(
    rejected: TrainingManager, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patched:
        patched.setattr(toy_family.ToyFamily, "fit", lambda *given: 1 / 0)
        failed = ended_session(rejected.accept(2, "default"))
    assert failed.state == "failed"
    assert quarantined(rejected) == [(2, 20)]
    assert ended_session(rejected.retry(failed.id, "default")).state == "completed"
    assert quarantined(rejected) == []


def test_an_undo_takes_the_records_and_their_mark_away(rejected: TrainingManager, settings: Settings):
    assert ended_session(rejected.undo(2, "default")).state == "completed"
    assert b",9.0,2" not in stored(settings)
    assert quarantined(rejected) == []


def test_a_version_that_is_promoted_by_hand_releases_what_it_has_learnt(rejected: TrainingManager):
    rejected.models.promote(KEY, 2)
    assert quarantined(rejected) == []
    session = ended_session(rejected.train(KEY, ROWS(5, 200)))
    assert rejected.models.version(KEY, session.version).manifest["rows"] == 75


def test_a_restore_brings_the_marks_back_with_the_records(rejected: TrainingManager):
    before_accept = rejected.backups.create(None, "default", "before the accept").name
    ended_session(rejected.accept(2, "default"))
    rejected.backups.restore(before_accept, "default")
    assert quarantined(rejected) == [(2, 20)]


def test_status_and_health_say_since_when_and_what_heals_it(rejected: TrainingManager, monkeypatch):
    monkeypatch.setattr("training.services.status.GUIDE_FAMILY", "toy")
    status = rejected.status.read("default")
    (waiting,) = status["quarantine"]
    assert (waiting["model"], waiting["training_session_id"], waiting["records"]) == ("toy/default", 2, 20)
    assert "POST /train/sessions/2/accept" in status["frozen"]
    last = status["last_training"]
    assert (last["success"], last["models_retrained"], last["state"]) == (False, 0, "rejected")
    (problem,) = rejected.data_health.problems()
    assert "rejected since" in problem and "20 records wait in quarantine" in problem
    ended_session(rejected.train(KEY, ROWS(5, 200)))
    assert "frozen" not in rejected.status.read("default")
    assert rejected.data_health.problems() == []
    assert rejected.status.read("default")["quarantine"] == [waiting], "they wait for a person all the same"


def test_a_session_keeps_which_records_it_did_not_read(rejected: TrainingManager):
    session = ended_session(rejected.train(KEY, ROWS(5, 200)))
    (waiting,) = rejected.data_health.quarantined(KEY)
    assert session.details["waiting"] == {"records": 20, "since": waiting.since, "sessions": [2]}
    assert "waiting" not in ended_session(rejected.undo(2, "default")).details
