"""The training manager: what a session did can be taken back, tried again, stopped, and is told as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

import training_manager
from errors import Conflict, DiskFull, NotFound, NotReady
from settings import PROJECT, Settings
from storage.backups.backup import Backup
from storage.db.tables import champion_history
from storage.home_folders import HomeChanged
from tests import toy_family
from tests.training.conftest import KEY, answer, ended_session, footprint, make_manager, stored
from tests.training.test_session import fitting
from tests.waiting import MAX_WAIT_SECONDS, eventually
from training.execution.executor import Executor
from training_manager import TrainingManager

ROWS = toy_family.records


def test_undo_takes_one_sessions_records_out_and_keeps_later_ones(
    trained: TrainingManager, settings: Settings
):
    original = stored(settings)
    wrong = ended_session(trained.train(KEY, ROWS(5, 100, value=9.0)))
    later = ended_session(trained.train(KEY, ROWS(5, 200)))
    undo = ended_session(trained.undo(wrong.id, "default"))
    assert (undo.state, undo.kind, undo.promoted, undo.details["undo_of"]) == (
        "completed",
        "undo",
        True,
        wrong.id,
    )
    assert stored(settings) == original + b"".join(
        b"%b,%b,%d\n" % (r["id"].encode(), str(r["value"]).encode(), later.id) for r in ROWS(5, 200)
    )
    assert answer(trained) == pytest.approx(3.0, abs=0.05)


def test_records_that_were_taken_out_may_be_sent_again(trained: TrainingManager):
    session = ended_session(trained.train(KEY, ROWS(5, 100)))
    trained.undo(session.id, "default")
    assert ended_session(trained.train(KEY, ROWS(5, 100))).records_added == 5


def test_a_session_is_undone_once(trained: TrainingManager):
    session = ended_session(trained.train(KEY, ROWS(5, 100)))
    trained.undo(session.id, "default")
    with pytest.raises(Conflict):
        trained.undo(session.id, "default")


def test_a_session_that_stored_nothing_cannot_be_undone(trained: TrainingManager):
    failed = ended_session(trained.train(KEY, ROWS(5, 100), {"leak": True}))
    with pytest.raises(Conflict):
        trained.undo(failed.id, "default")


def test_an_undo_that_leaves_too_little_data_fails_and_changes_nothing(
    trained: TrainingManager, settings: Settings
):
    before = footprint(settings)
    undo = ended_session(trained.undo(1, "default"))
    assert (undo.state, undo.error and undo.error["code"]) == ("failed", "not_enough_data")
    assert footprint(settings) == before


def test_a_retry_that_fails_as_well_keeps_the_records(trained: TrainingManager, settings: Settings):
    first = ended_session(trained.train(KEY, ROWS(5, 100), {"fail": True}))
    second = ended_session(trained.retry(first.id, "default"))
    assert (second.kind, second.state) == ("retry", "failed")
    waiting = {file.name for file in (settings.data_dir / "pending").iterdir()}
    assert waiting == {f"session-{first.id}.json", f"session-{second.id}.json"}


def test_retry_trains_with_the_records_of_an_interrupted_session_and_leaves_none_waiting(
    process_trained: TrainingManager, settings: Settings, hold: Path
):
    outcome = process_trained.train(KEY, ROWS(5, 100), {"hold": str(hold)}, wait=False)
    assert outcome.session is not None
    fitting(process_trained, outcome.session.id).kill()
    eventually(lambda: process_trained.sessions.get(outcome.session.id).state == "interrupted")
    hold.unlink()
    session = ended_session(process_trained.retry(outcome.session.id, "default"))
    assert (session.state, session.records_added, session.kind) == ("completed", 5, "retry")
    assert list((settings.data_dir / "pending").iterdir()) == []


def test_a_retry_of_a_retry_that_is_stored_leaves_none_waiting(trained: TrainingManager, settings: Settings):
    first = ended_session(trained.train(KEY, ROWS(5, 100), {"fail": True}))
    second = ended_session(trained.retry(first.id, "default"))
    trained.train(KEY, ROWS(5, 100))
    assert trained.retry(second.id, "default").session is None, "they came in otherwise"
    assert list((settings.data_dir / "pending").iterdir()) == []


def test_a_cancelled_retry_leaves_the_records_for_another(
    process_trained: TrainingManager, settings: Settings, hold: Path
):
    outcome = process_trained.train(KEY, ROWS(5, 100), {"hold": str(hold)}, wait=False)
    assert outcome.session is not None
    fitting(process_trained, outcome.session.id).kill()
    eventually(lambda: process_trained.sessions.get(outcome.session.id).state == "interrupted")
    again = process_trained.retry(outcome.session.id, "default", wait=False).session
    assert again is not None and process_trained.cancel(again.id, "default").state == "cancelled"
    hold.unlink()
    assert ended_session(process_trained.retry(outcome.session.id, "default")).records_added == 5


def test_a_session_without_room_for_its_files_has_failed(
    trained: TrainingManager, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    def full(path: str, session_id: int) -> None:
        raise DiskFull("No space is left on the disk")

    with monkeypatch.context() as patched:
        patched.setattr(trained.storage.versions, "staging", full)
        trained.train(KEY, ROWS(5, 100))
        trained.undo(1, "default")
    newest = trained.sessions.list("default")[:2]
    assert [(session.state, session.error and session.error["code"]) for session in newest] == [
        ("failed", "disk_full"),
        ("failed", "disk_full"),
    ]
    assert not list(settings.data_dir.rglob("*undo*")), "what was staged for the undo is gone"
    assert ended_session(trained.train(KEY, ROWS(5, 100))).state == "completed"


def test_a_session_that_cannot_be_broken_off_at_once_is_cancelled_before_it_commits(
    trained: TrainingManager, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    backs_up, goes_on = threading.Event(), threading.Event()
    create = trained.storage.backups.create

    def slowly(*given: Any, **named: Any) -> Backup:
        backs_up.set()
        goes_on.wait(MAX_WAIT_SECONDS)
        return create(*given, **named)

    monkeypatch.setattr(training_manager, "_MAX_CANCEL_SECONDS", 0.1)
    monkeypatch.setattr(trained.storage.backups, "create", slowly)
    before = stored(settings)
    session = trained.train(KEY, ROWS(5, 100), wait=False).session
    assert session is not None and backs_up.wait(MAX_WAIT_SECONDS)
    assert not trained.cancel(session.id, "default").has_ended
    goes_on.set()
    eventually(lambda: trained.sessions.get(session.id).state == "cancelled")
    assert stored(settings) == before
    eventually(lambda: not list(settings.run_dir.glob("cancel-*")))


def test_a_completed_session_cannot_be_tried_again(trained: TrainingManager):
    with pytest.raises(Conflict):
        trained.retry(1, "default")


def test_records_that_came_in_otherwise_meanwhile_are_not_stored_twice(
    trained: TrainingManager, settings: Settings
):
    failed = ended_session(trained.train(KEY, ROWS(5, 100), {"leak": True}))
    trained.train(KEY, ROWS(5, 100))
    assert trained.retry(failed.id, "default").session is None
    assert stored(settings).count(b"\n") == 56


def test_an_interrupted_undo_can_be_tried_again(
    process_trained: TrainingManager, settings: Settings, hold: Path
):
    hold.unlink()
    session = ended_session(process_trained.train(KEY, ROWS(5, 100), {"hold": str(hold)}))
    hold.touch()  # an undo trains with the options of before
    undo = process_trained.undo(session.id, "default", wait=False)
    assert undo.session is not None
    fitting(process_trained, undo.session.id).kill()
    eventually(lambda: process_trained.sessions.get(undo.session.id).state == "interrupted")
    hold.unlink()
    assert stored(settings).count(b"\n") == 56
    assert ended_session(process_trained.retry(undo.session.id, "default")).state == "completed"
    assert stored(settings).count(b"\n") == 51


def test_cancel_kills_the_child_and_changes_nothing(process_trained: TrainingManager, settings: Settings):
    before = footprint(settings)
    outcome = process_trained.train(KEY, ROWS(5, 100), {"sleep_s": 3600}, wait=False)
    assert outcome.session is not None
    child = fitting(process_trained, outcome.session.id)
    session = process_trained.cancel(outcome.session.id, "default")
    assert session.state == "cancelled"
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert footprint(settings) == before
    assert ended_session(process_trained.train(KEY, ROWS(5, 100))).state == "completed"


def test_any_worker_can_cancel(trained: TrainingManager, settings: Settings, executor: Executor):
    outcome = trained.train(KEY, ROWS(5, 100), {"sleep_s": 3600}, wait=False)
    assert outcome.session is not None
    other = make_manager(settings, executor)
    assert other.cancel(outcome.session.id, "default").state == "cancelled"


def test_what_has_ended_cannot_be_cancelled(trained: TrainingManager):
    with pytest.raises(Conflict, match="already ended"):
        trained.cancel(1, "default")


def test_without_a_thread_there_is_no_session_and_nothing_to_wait_for(
    trained: TrainingManager, monkeypatch: pytest.MonkeyPatch
):
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refused)
        with pytest.raises(NotReady):
            trained.train(KEY, ROWS(5, 100))
    assert not trained._runner._running
    assert ended_session(trained.train(KEY, ROWS(5, 100))).state == "completed"


def test_a_client_that_goes_away_cancels_nothing(trained: TrainingManager, hold: Path):
    order = (KEY, ROWS(5, 100), {"hold": str(hold)})
    threading.Thread(target=trained.train, args=order, daemon=True).start()
    eventually(lambda: trained.sessions.list("default")[0].stage == "fit")
    hold.unlink()
    eventually(lambda: trained.sessions.list("default")[0].state == "completed")


def test_another_tenants_sessions_do_not_exist(trained: TrainingManager):
    for ask in (trained.undo, trained.retry, trained.cancel):
        with pytest.raises(NotFound):
            ask(1, "other")


def test_a_preview_says_what_would_happen_and_does_nothing(trained: TrainingManager, settings: Settings):
    before = footprint(settings)
    told = trained.preview(KEY, [*ROWS(3), *ROWS(2, 100), {"id": "r9", "value": 4.5, "colour": "red"}])
    assert (told["records_new"], told["records_skipped"], told["corrections"]) == (3, 3, 1)
    assert (told["would_train"], told["next_version"], told["ignored_fields"]) == (True, 2, ["colour"])
    assert footprint(settings) == before
    assert len(trained.sessions.list("default")) == 1


def test_promote_and_back_again(trained: TrainingManager):
    trained.train(KEY, ROWS(5, 100), {"bias": 1.0})
    told = trained.models.promote(KEY, 2)
    assert (told.version, told.previous_version) == (2, 1)
    assert answer(trained) > 3.9
    trained.models.promote(KEY, 1)
    assert answer(trained) < 3.1
    with pytest.raises(NotFound):
        trained.models.promote(KEY, 9)


def test_reload_asks_every_worker(trained: TrainingManager):
    assert trained.worker_reload.reload_all(timeout_seconds=MAX_WAIT_SECONDS) == {os.getpid(): None}


def test_reload_names_what_cannot_be_loaded(trained: TrainingManager):
    answer(trained)
    trained.storage.versions.file(KEY.path, 1, "model.json").write_text("{}")
    told = trained.worker_reload.reload_all(timeout_seconds=MAX_WAIT_SECONDS)
    assert "damaged" in (told[os.getpid()] or "")
    assert trained.model_cache.current(KEY).number == 1


def test_a_reload_that_memory_does_not_suffice_for_is_no_success(
    trained: TrainingManager, monkeypatch: pytest.MonkeyPatch
):
    def run_out_of_memory() -> None:
        raise MemoryError

    monkeypatch.setattr(trained.model_cache, "refresh", run_out_of_memory)
    with capture_logs() as logs:
        assert trained.worker_reload.refresh() == {os.getpid(): "MemoryError"}
    assert [(entry["event"], entry.get("reason")) for entry in logs] == [
        ("models_not_reloaded", "MemoryError"),
        ("champion_not_served_everywhere", None),
    ]


def test_a_models_folder_that_is_gone_is_told_and_the_model_in_memory_goes_on(
    trained: TrainingManager, settings: Settings
):
    before = trained.model_cache.current(KEY).predictor.predict([{"x": 0}], {})
    moved = settings.models_dir.rename(settings.home / "moved-away")
    with pytest.raises(HomeChanged, match="models/ was deleted"):
        trained.worker_reload.reload_all()
    assert trained.model_cache.current(KEY).predictor.predict([{"x": 0}], {}) == before
    assert not settings.models_dir.exists()
    moved.rename(settings.models_dir)
    assert not any(trained.worker_reload.reload_all().values())


def test_a_worker_that_does_not_reload_is_named_in_time(trained: TrainingManager):
    code = (
        "import sys; from pathlib import Path; from settings import Settings\n"
        "from storage.container import open_storage\n"
        "storage = open_storage(Settings(home=Path(sys.argv[1]))); storage.workers.heartbeat(0)\n"
        "print('beaten', flush=True); sys.stdin.read()"
    )
    home = str(trained.settings.home)
    alive = subprocess.Popen(
        [sys.executable, "-c", code, home], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    alive.stdout.readline()
    told = trained.worker_reload.reload_all(timeout_seconds=0.5)  # otherwise it waits until the process ends
    assert "has not loaded" in (told[alive.pid] or "")
    alive.communicate()


def test_the_status_tells_what_runs_and_what_ran(manager: TrainingManager, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("training.services.status.GUIDE_FAMILY", "toy")
    empty = manager.status.read("default")
    assert (empty["is_training"], empty["last_training"], empty["available_backups"]) == (False, None, 0)
    manager.train(KEY, ROWS(50))
    outcome = manager.train(KEY, ROWS(5, 100), {"sleep_s": 3600}, wait=False)
    assert outcome.session is not None
    eventually(lambda: manager.sessions.get(outcome.session.id).stage == "fit")
    eventually(lambda: len(manager.backups.list("default")) == 2)
    told = manager.status.read("default")
    assert told["is_training"] is True
    assert told["current_training"]["training_session_id"] == outcome.session.id
    assert told["current_training"]["stage"] == "fit"
    assert told["last_training"]["success"] is True
    assert (told["last_training"]["records_added"], told["last_training"]["models_retrained"]) == (50, 1)
    assert (told["training_sessions_completed"], told["available_backups"]) == (1, 2)
    manager.cancel(outcome.session.id, "default")
    told = manager.status.read("default")
    assert told["is_training"] is False and "current_training" not in told
    assert told["last_training"]["success"] is False


def test_first_training_happens_once_where_there_is_data_and_no_champion(
    manager: TrainingManager, settings: Settings, executor: Executor
):
    assert manager.train_first_models() == []
    rows = [f"{record['id']},{record['value']},0\n" for record in ROWS(50)]
    (settings.data_dir / "toy-default.csv").write_text(toy_family.HEADER + "".join(rows))
    other = make_manager(settings, executor)
    told: list[int] = []
    workers = [
        threading.Thread(target=lambda desk=desk: told.append(len(desk.train_first_models())))
        for desk in (manager, other)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(told) == [0, 1]
    assert [session.kind for session in manager.sessions.list("default")] == ["first"]
    assert manager.train_first_models() == []


def test_a_download_is_a_file_of_the_version_or_made_once_on_demand(trained: TrainingManager):
    assert trained.downloads.file(KEY, 1, "model.json").name == "model.json"
    made = trained.downloads.file(KEY, None, "model.txt")
    assert made.read_text() == "the mean, in words"
    assert trained.downloads.file(KEY, 1, "model.txt") == made
    for unknown in ("other.txt", "../model.json", "/etc/passwd", "a\0b"):
        with pytest.raises(NotFound):
            trained.downloads.file(KEY, 1, unknown)


def test_a_file_made_for_a_version_is_not_given_for_another_of_its_number(trained: TrainingManager):
    made = trained.downloads.file(KEY, 1, "model.txt")
    shutil.rmtree(trained.storage.settings.models_dir / KEY.path)
    with trained.storage.database.write() as connection:  # or the number would not be given again
        connection.execute(sa.delete(champion_history))
    trained.train(KEY, ROWS(5, 200))
    assert trained.downloads.file(KEY, 1, "model.txt") != made


def test_closing_lets_a_short_session_end(trained: TrainingManager, settings: Settings, executor: Executor):
    patient = make_manager(replace(settings, shutdown_grace_seconds=60), executor)
    outcome = patient.train(KEY, ROWS(5, 100), {"sleep_s": 0.3}, wait=False)
    patient.close()
    assert outcome.session is not None
    assert trained.sessions.get(outcome.session.id).state == "completed"


def test_closing_interrupts_a_long_session_promptly_after_its_grace(
    process_trained: TrainingManager, settings: Settings
):
    outcome = process_trained.train(KEY, ROWS(5, 100), {"sleep_s": 3600}, wait=False)
    assert outcome.session is not None
    child = fitting(process_trained, outcome.session.id)
    began = time.monotonic()
    process_trained.close()
    assert time.monotonic() - began >= settings.shutdown_grace_seconds
    assert process_trained.sessions.get(outcome.session.id).state == "interrupted"
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    with pytest.raises(NotReady):
        process_trained.train(KEY, ROWS(5, 100))


def test_a_queued_session_without_an_owner_does_not_run_and_is_interrupted_by_the_next_start(
    trained: TrainingManager, monkeypatch: pytest.MonkeyPatch
):
    abandoned = trained.storage.sessions.create(
        tenant=KEY.tenant, family=KEY.family, name=KEY.name, kind="train"
    )

    def refuse(timeout_s: float | None = None) -> None:
        raise NotReady("The store is busy")

    with monkeypatch.context() as busy:
        busy.setattr(trained.storage.journal, "hold_store_lock", refuse)
        assert trained.sessions.running("default") == []
        assert trained.storage.sessions.get(abandoned.id).state == "queued", "it could not be marked"
    trained.recover()
    assert trained.storage.sessions.get(abandoned.id).state == "interrupted"


def test_recovering_twice_is_recovering_once(trained: TrainingManager, settings: Settings):
    before = footprint(settings)
    trained.recover()
    trained.recover()
    assert footprint(settings) == before
