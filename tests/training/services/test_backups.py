"""A restore brings data and models back together, can itself be undone, and refuses what it cannot trust."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest

from errors import BackupCorrupt, Conflict, NotFound, TrainingBusy
from prediction.contract import ModelKey
from settings import Settings
from tests import toy_family
from tests.training.conftest import KEY, answer, ended_session, footprint, stored
from training_manager import TrainingManager

ROWS = toy_family.records


@pytest.fixture
def twice(trained: TrainingManager) -> TrainingManager:
    """Trained a second time with records that move the answer; the backup in between is the newest."""
    assert ended_session(trained.train(KEY, ROWS(200, 1000, value=3.2))).backup
    return trained


def before_second(manager: TrainingManager) -> str:
    """Return the backup that the second session took."""
    return manager.storage.backups.list()[1].name


def test_data_and_models_go_back_together(twice: TrainingManager, settings: Settings):
    assert (stored(settings).count(b"\n"), twice.storage.versions.pointer(KEY.path)) == (251, 2)
    told = twice.backups.restore(before_second(twice), "default")
    assert (stored(settings).count(b"\n"), twice.storage.versions.pointer(KEY.path)) == (51, 1)
    assert told["workers"] == {os.getpid(): None}
    assert told["changes"]


def test_every_worker_is_told_to_load_again(twice: TrainingManager):
    before = twice.storage.versions.epoch()
    twice.backups.restore(before_second(twice), "default")
    assert twice.storage.versions.epoch() == before + 1


def test_a_restore_can_be_undone(twice: TrainingManager, settings: Settings):
    rows, value = stored(settings), answer(twice)
    told = twice.backups.restore(before_second(twice), "default")
    assert answer(twice) != value
    twice.backups.restore(told["safety_backup"].removeprefix("model_backups/"), "default")
    assert (stored(settings), answer(twice)) == (rows, value)


def test_this_worker_answers_with_the_restored_model_when_the_restore_is_told(twice: TrainingManager):
    assert twice.model_cache.current(KEY).number == 2
    twice.backups.restore(before_second(twice), "default")
    assert twice.model_cache.current(KEY).number == 1


def test_training_goes_on_after_a_restore_with_a_new_number(twice: TrainingManager, settings: Settings):
    twice.backups.restore(before_second(twice), "default")
    session = ended_session(twice.train(KEY, ROWS(5, 3000)))
    assert (session.state, session.version) == ("completed", 3)
    assert twice.storage.versions.get(KEY.path, 3).manifest["parent"] == 1


def test_a_dry_run_tells_the_changes_and_makes_none(twice: TrainingManager, settings: Settings):
    before, backups = footprint(settings), len(twice.storage.backups.list())
    told = twice.backups.restore(before_second(twice), "default", dry_run=True)
    assert any("toy-default.csv" in change for change in told["changes"])
    assert footprint(settings) == before
    assert len(twice.storage.backups.list()) == backups


def test_going_back_to_before_the_first_record_leaves_no_champion(
    trained: TrainingManager, settings: Settings
):
    trained.backups.restore(trained.storage.backups.list()[0].name, "default")
    assert stored(settings) == b""
    assert trained.storage.versions.pointer(KEY.path) is None


def test_a_damaged_backup_is_refused_and_nothing_changes(twice: TrainingManager, settings: Settings):
    backup = twice.storage.backups.list()[1]
    file = backup.folder / "data" / "toy-default.csv"
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(bytes(content))
    before, backups = footprint(settings), len(twice.storage.backups.list())
    for dry_run in (True, False):
        with pytest.raises(BackupCorrupt):
            twice.backups.restore(backup.name, "default", dry_run=dry_run)
    assert footprint(settings) == before
    assert len(twice.storage.backups.list()) == backups


def test_no_restore_while_a_model_of_the_backup_is_trained(twice: TrainingManager):
    running = twice.train(KEY, ROWS(5, 3000), {"sleep_s": 60}, wait=False)
    with pytest.raises(TrainingBusy):
        twice.backups.restore(before_second(twice), "default")
    assert running.session is not None
    twice.cancel(running.session.id, "default")
    twice.backups.restore(before_second(twice), "default")


def test_two_restores_at_once_do_not_mix(twice: TrainingManager, settings: Settings):
    names = [backup.name for backup in twice.storage.backups.list()]
    refused: list[Exception] = []

    def go_back(name: str) -> None:
        try:
            twice.backups.restore(name, "default")
        except TrainingBusy as error:
            refused.append(error)

    threads = [threading.Thread(target=go_back, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    state = (stored(settings).count(b"\n"), twice.storage.versions.pointer(KEY.path))
    assert state in {(0, None), (51, 1)}
    assert len(refused) < 2


def test_a_backup_on_request_holds_everything_a_tenant_has(trained: TrainingManager):
    other = ModelKey("toy", "other")
    trained.train(other, ROWS(20))
    backup = trained.backups.create(None, "default", "before the audit", retain=True)
    assert backup.pointers == {KEY.path: 1, other.path: 1}
    assert (backup.reason, backup.retained) == ("before the audit", True)


def damaged_champion_backed_up(manager: TrainingManager) -> str:
    """Return the backup that a plant's training took while the champion of its model was damaged."""
    key = ModelKey("toy", "pump", "plant-a")
    manager.train(key, ROWS(20))
    (manager.storage.versions.folder(key.path, 1) / "model.json").write_text("{}")
    manager.train(key, ROWS(5, 1000))
    backup = manager.storage.backups.list()[-1]
    assert (backup.models, backup.pointers) == ([key.path], {})
    return backup.name


def test_a_backup_whose_champions_are_all_damaged_is_still_its_tenants_own(manager: TrainingManager):
    name = damaged_champion_backed_up(manager)
    for refused in (manager.backups.restore, manager.backups.delete):
        for other in ("plant-b", "default"):
            with pytest.raises(NotFound):
                refused(name, other)
    assert manager.backups.restore(name, "plant-a")["changes"]


def test_restoring_what_holds_no_champion_waits_for_the_training_too(manager: TrainingManager):
    name = damaged_champion_backed_up(manager)
    lock = manager.storage.training_lock("plant-a/toy/pump")
    assert lock.acquire(0)
    try:
        with pytest.raises(TrainingBusy):
            manager.backups.restore(name, "plant-a")
    finally:
        lock.release()


def test_a_tenant_that_has_nothing_backs_nothing_up(manager: TrainingManager, monkeypatch):
    monkeypatch.setattr(toy_family.ToyRecordStore, "data_files", lambda self, key: [])
    with pytest.raises(Conflict, match="nothing to back up"):
        manager.backups.create(None, "plant-b", "just in case")


@pytest.mark.parametrize(
    "name", ["backup_20200101_000000", "../data", "/etc", "a\0b", "backup_20200101_000000/.."]
)
def test_a_name_that_is_no_backup_is_not_found(trained: TrainingManager, name: str):
    for ask in (trained.backups.restore, trained.backups.delete):
        with pytest.raises(NotFound):
            ask(name, "default")


def test_another_tenants_backup_does_not_exist(trained: TrainingManager):
    name = trained.storage.backups.list()[0].name
    for ask in (trained.backups.restore, trained.backups.delete):
        with pytest.raises(NotFound):
            ask(name, "other")
    trained.backups.delete(name, "default")
    assert trained.storage.backups.list() == []


def test_a_backup_of_more_models_than_files_may_usually_be_open_is_restored(trained: TrainingManager):
    paths = [ModelKey("toy", f"m{n}").path for n in range(200)]
    with trained.storage.journal.hold_store_lock():
        backup = trained.storage.backups.create("many", [], [KEY.path, *paths])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (sum(1 for _ in Path("/proc/self/fd").iterdir()) + 100, hard))
    try:
        assert "safety_backup" in trained.backups.restore(backup.name, "default")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
