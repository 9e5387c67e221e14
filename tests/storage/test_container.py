"""Everything opened together: folders made, the journal wired to the session's row, strays swept."""

import io
import os
import re
import signal

import pytest

from errors import StorageFailed
from settings import Settings
from storage import fault_injection
from storage.anomaly_reports.csv_store import CsvStore
from storage.container import open_storage
from storage.datasets.store import DatasetStore
from storage.filesystem.files import temporary_path
from storage.journal_steps import JournalEntry, PointerChange
from tests.storage.conftest import KILLED, MODEL, in_child, record, write_plant


def begun(storage):
    return storage.sessions.create(
        tenant="default", family="scoring", name="default", kind="train", state="running"
    )


def committed(storage, session, **result):
    with storage.journal.hold_store_lock():
        appends = storage.csv.plan_append([record(1)], session.id)
        storage.journal.commit(JournalEntry("train", session.id, appends=appends, result=result))


def test_a_fresh_home_gets_its_folders_and_tables(tmp_path):
    storage = open_storage(Settings(home=tmp_path / "new"))
    assert sorted(folder.name for folder in (tmp_path / "new").iterdir()) == [
        "data",
        "model_backups",
        "models",
    ]
    assert not storage.sessions.list("default")
    assert not storage.backups.list()
    assert not storage.champions.page("default")
    storage.close()


def test_a_home_that_cannot_be_made_is_a_clear_failure(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match="file"):
        open_storage(Settings(home=tmp_path / "file"))


def test_a_commit_ends_its_session_and_is_no_hand_edit(storage):
    session = begun(storage)
    committed(storage, session, state="completed", version=1, records_added=1)
    found = storage.sessions.get(session.id)
    assert (found.state, found.version, found.records_added) == ("completed", 1, 1)
    assert storage.csv.check() == []


def test_whoever_opens_a_home_next_finishes_its_commit(storage, monkeypatch):
    """A command that only reads, for one: it would read data files that are half written."""
    session = begun(storage)
    monkeypatch.setattr(fault_injection, "fault_point", fail_at("apply.appended"))
    with pytest.raises(StorageFailed, match="will be finished"):
        committed(storage, session, state="completed", records_added=1)
    monkeypatch.setattr(fault_injection, "fault_point", fail_at("apply.moved"))
    open_storage(storage.settings).close()  # it opens where the disk still refuses
    assert storage.journal.issue() is not None
    monkeypatch.undo()
    open_storage(storage.settings).close()
    assert storage.journal.issue() is None
    assert storage.sessions.get(session.id).state == "completed"


def fail_at(step):
    """Return a fault point that fails at one step."""

    def fault_point(name):
        if name == step:
            raise StorageFailed("no space")

    return fault_point


def test_a_session_swept_as_interrupted_is_completed_when_the_journal_is_finished_after_all(home):
    def die_after_the_commit():
        storage = open_storage(Settings(home=home))
        session = begun(storage)
        fault_injection.install("journal.synced:kill")
        committed(storage, session, state="completed")

    in_child(die_after_the_commit)
    storage = open_storage(Settings(home=home))
    storage.sessions.finish(1, "interrupted")
    storage.journal.finish_pending()
    assert storage.sessions.get(1).state == "completed"
    assert storage.csv.check() == []
    storage.close()


def test_a_commit_for_a_session_that_is_gone_blocks_nobody(storage):
    with storage.journal.hold_store_lock():
        storage.journal.commit(JournalEntry("train", 77, result={"state": "completed"}))
    with storage.journal.hold_store_lock():
        assert storage.sessions.list("default") == []


def test_a_fact_without_a_column_is_kept_among_the_details(storage):
    session = begun(storage)
    committed(storage, session, state="rejected", mood="good", details={"a": 1})
    found = storage.sessions.get(session.id)
    assert (found.state, found.details) == ("rejected", {"a": 1, "mood": "good"})


def test_an_entry_that_touches_no_csv_file_does_not_hide_a_hand_edit(storage):
    storage.csv.note_committed()
    file = storage.csv.files()[0]
    file.write_text(file.read_text() + "e9,s,à la main,2024-02-01 10:00:00,,34MC,4\n")
    with storage.journal.hold_store_lock():
        storage.journal.commit(JournalEntry("promote", None, pointers=[PointerChange(MODEL, 1)]))
    assert len(storage.csv.check()) == 1


def test_strays_of_dead_processes_are_swept_everywhere(storage):
    model = storage.settings.models_dir / MODEL
    data = storage.settings.data_dir
    deeper = [data / "pending", data / "tenants" / "acme", storage.settings.cache_dir / "downloads" / "v0001"]
    deeper += [data / "datasets" / "default", data / "datasets" / "acme", data / "tracking" / "waiting"]
    for folder in (model, *deeper):
        folder.mkdir(parents=True)
    folders = [
        data,
        storage.settings.run_dir,
        storage.settings.models_dir,
        storage.settings.backups_dir,
        model,
        *deeper,
    ]

    def die_in_the_middle():
        for folder in folders:
            temporary_path(folder, "staging", "7").mkdir()

    in_child(die_in_the_middle)
    mine = storage.versions.staging(MODEL, 8)
    with storage.journal.hold_store_lock():
        assert storage.remove_abandoned() == len(folders)
    assert mine.is_dir()


def test_an_upload_that_a_kill_cut_short_is_swept_and_whole_datasets_and_running_uploads_stay(storage):
    store = DatasetStore(storage.settings.data_dir / "datasets")
    whole = store.receive(io.BytesIO(b"time,load\n2024-01-01,1\n2024-01-02,2\n"), "whole.csv", "acme")

    class Endless(io.BytesIO):
        def read(self, size=-1):
            if list(whole.folder.parent.glob(".staging-*/upload")):
                os.kill(os.getpid(), signal.SIGKILL)
            return b"x" * size

    assert in_child(lambda: store.receive(Endless(), "cut.csv", "acme")) == KILLED
    running = temporary_path(whole.folder.parent, "staging")
    running.mkdir()
    with storage.journal.hold_store_lock():
        assert storage.remove_abandoned() == 1
    assert set(whole.folder.parent.iterdir()) == {whole.folder, running}


def test_the_training_lock_is_the_models_own(storage):
    with storage.training_lock(MODEL):
        assert not storage.training_lock(MODEL).acquire()
        assert storage.training_lock("default/rul/default").acquire()
        storage.training_lock("default/rul/default").release()


def make_ids_of_version_0_1(storage, data_dir):
    """Store a record, and take the lenient hashes out of its ids file, as version 0.1 wrote it."""
    write_plant(data_dir)
    store = CsvStore(data_dir, storage.settings.home)
    with storage.journal.hold_store_lock():
        storage.journal.commit(JournalEntry("import", appends=store.plan_append([record(1)], 1)))
    ids = data_dir / "anomaly_ids.csv"
    ids.write_text(re.sub("/[0-9a-f]{64}", "", ids.read_text()))
    store.note_committed()
    assert store.needs_upgrade()
    return store


def test_the_upgrade_of_a_tenants_ids_is_no_change_by_hand(tmp_path):
    storage = open_storage(Settings(home=tmp_path))
    store = make_ids_of_version_0_1(storage, tmp_path / "data" / "tenants" / "acme")
    storage.recover()
    assert not store.needs_upgrade()
    assert CsvStore(store.data_dir, tmp_path).check() == []
    storage.close()
