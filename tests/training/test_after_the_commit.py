"""What fails after the commit is a warning: the session has ended as the journal says, and the answer says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from errors import NotReady, StorageFailed
from storage.journal import Journal
from storage.journal_steps import JournalEntry
from tests.toy_family import ToyRecordStore, records
from tests.training.conftest import KEY, ended_session
from training.context import SessionContext
from training_manager import TrainingManager


def refuse(*given: Any, **named: Any) -> NoReturn:
    raise StorageFailed("The disk refuses")


def fail(*given: Any, **named: Any) -> NoReturn:
    raise OSError(5, "Input/output error")


def break_records(manager: TrainingManager, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ToyRecordStore, "on_commit", refuse)


def break_removal(manager: TrainingManager, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SessionContext, "remove_files", fail)


def break_journal(manager: TrainingManager, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "_clear", fail)


def break_pending(manager: TrainingManager, patch: pytest.MonkeyPatch) -> None:
    unlink = Path.unlink

    def refuse_pending(path: Path, missing_ok: bool = False) -> None:
        if "pending" in path.parts:
            fail()
        unlink(path, missing_ok)

    patch.setattr(Path, "unlink", refuse_pending)


def break_tracking(manager: TrainingManager, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(manager.tracking, "record_session", fail)


def break_workers(manager: TrainingManager, patch: pytest.MonkeyPatch) -> None:
    def away() -> NoReturn:
        raise NotReady("The database is away")

    patch.setattr(manager.storage.workers, "list_live", away)


def break_epoch(manager: TrainingManager, patch: pytest.MonkeyPatch) -> None:
    commit = Journal.commit

    def commit_and_break(journal: Journal, entry: JournalEntry) -> None:
        commit(journal, entry)
        patch.setattr(manager.storage.versions, "epoch", refuse)

    patch.setattr(Journal, "commit", commit_and_break)


def break_pointer(manager: TrainingManager, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(manager.model_cache, "_read_stamp", fail)


BREAKS = [break_records, break_removal, break_journal, break_pending, break_tracking, break_workers]
AFTER_ANY_COMMIT = [break_records, break_journal, break_workers, break_epoch, break_pointer]


@pytest.fixture
def trained(manager: TrainingManager) -> TrainingManager:
    assert ended_session(manager.train(KEY, records(50))).state == "completed"
    return manager


@pytest.mark.parametrize("spoil", BREAKS)
def test_a_training_stays_completed(
    trained: TrainingManager, spoil: Callable[[TrainingManager, pytest.MonkeyPatch], None]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        spoil(trained, patch)
        session = ended_session(trained.train(KEY, records(20, 100)))
    assert (session.state, session.promoted, session.version) == ("completed", True, 2)
    assert trained.sessions.get(session.id).state == "completed"
    assert trained.storage.versions.pointer(KEY.path) == 2
    trained.recover()
    assert ended_session(trained.train(KEY, records(20, 200))).version == 3
    assert [session.state for session in trained.sessions.list("default")] == ["completed"] * 3


@pytest.mark.parametrize("spoil", AFTER_ANY_COMMIT)
def test_a_promotion_stays(
    trained: TrainingManager, spoil: Callable[[TrainingManager, pytest.MonkeyPatch], None]
) -> None:
    trained.train(KEY, records(20, 100))
    with pytest.MonkeyPatch.context() as patch:
        spoil(trained, patch)
        assert trained.models.promote(KEY, 1).version == 1
    assert trained.model_cache.current(KEY).number == 1


@pytest.mark.parametrize("spoil", AFTER_ANY_COMMIT)
def test_a_restore_stays(
    trained: TrainingManager, spoil: Callable[[TrainingManager, pytest.MonkeyPatch], None]
) -> None:
    trained.train(KEY, records(20, 100))
    backup = trained.storage.backups.list()[1].name
    with pytest.MonkeyPatch.context() as patch:
        spoil(trained, patch)
        restored = trained.backups.restore(backup, "default")
    assert restored["safety_backup"].startswith("model_backups/backup_")
    assert trained.storage.versions.pointer(KEY.path) == 1
