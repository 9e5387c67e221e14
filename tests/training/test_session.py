"""A session ends in exactly one state, and what is stored is the old state or the new one."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from errors import ArtefactCorrupt, InvalidRecords, TrainingBusy
from reports.facts.collect import collect_facts
from settings import Settings
from tests import toy_family
from tests.training.conftest import KEY, answer, ended_session, footprint, make_manager, stored
from tests.waiting import eventually
from training.execution.executor import Executor
from training_manager import TrainingManager

ROWS = toy_family.records


def test_a_completed_session_stores_the_records_and_moves_the_pointer(
    manager: TrainingManager, settings: Settings
):
    session = ended_session(manager.train(KEY, ROWS(50)))
    assert (session.state, session.promoted, session.version) == ("completed", True, 1)
    assert (session.records_added, session.backup) == (
        50,
        f"model_backups/{manager.storage.backups.list()[0].name}",
    )
    assert stored(settings).count(b"\n") == 51
    assert answer(manager) == pytest.approx(3.0, abs=0.05)


def test_whatever_a_training_prints_is_kept_beside_its_version(process_trained: TrainingManager):
    session = ended_session(process_trained.train(KEY, ROWS(50, 50), {"say": "a bearing sings"}))
    version = process_trained.storage.versions.get(KEY.path, session.version)
    kept = process_trained.storage.versions.file(KEY.path, version.number, "training.log").read_text()
    assert kept.startswith("a bearing sings\n") and "warned of a bearing sings" in kept
    assert "a bearing sings" in collect_facts(process_trained.storage, session)["log"]
    silent = ended_session(process_trained.train(KEY, ROWS(50, 100)))
    assert (
        "training.log" not in process_trained.storage.versions.get(KEY.path, silent.version).manifest["files"]
    )


def test_the_manifest_tells_where_a_version_comes_from(trained: TrainingManager):
    session = ended_session(trained.train(KEY, ROWS(5, 100)))
    manifest = trained.storage.versions.get(KEY.path, 2).manifest
    assert (manifest["version"], manifest["parent"], manifest["session_id"]) == (2, 1, session.id)
    assert manifest["metrics"]["headline"] == session.metrics["headline"]
    assert manifest["certificate"]["test"] == [[44, 54]]
    assert manifest["libraries"]["python"].startswith("3.11")
    assert manifest["verdict"]["promoted"] is True
    assert set(manifest["seconds"]) == {"prepare", "fit", "evaluate", "refit", "save"}
    assert len(manifest["fingerprint"]) == 64
    assert "losses" not in manifest["metrics"]


def test_a_worse_candidate_is_rejected_with_reasons_and_its_records_are_kept(
    trained: TrainingManager, settings: Settings
):
    before = answer(trained)
    session = ended_session(trained.train(KEY, ROWS(5, 100), {"bias": 1.0}))
    assert (session.state, session.promoted, session.version) == ("rejected", False, 2)
    assert "worse" in session.reasons[0]
    assert stored(settings).count(b"\n") == 56
    assert answer(trained) == before
    assert trained.storage.versions.get(KEY.path, 2).manifest["verdict"]["promoted"] is False


def test_contradictory_records_are_rejected_with_the_way_to_take_them_out(trained: TrainingManager):
    session = ended_session(trained.train(KEY, ROWS(20, 100, value=9.0)))
    assert session.state == "rejected"
    assert f"POST /train/undo/{session.id}" in " ".join(session.reasons)
    assert "r100 says 9.0" in " ".join(session.reasons)


def test_the_advice_reaches_back_however_many_sessions_failed_since(
    trained: TrainingManager, settings: Settings
):
    ended_session(trained.train(KEY, ROWS(5, 100), {"bias": 1.0}))
    for _ in range(60):
        failed = trained.storage.sessions.create(tenant="default", family="toy", name="default", kind="train")
        trained.storage.sessions.finish(failed.id, "failed")
    release_all(settings)
    session = ended_session(trained.train(KEY, ROWS(5, 200), {"bias": 1.0}))
    assert "POST /train/undo/2" in " ".join(session.reasons)


def release_all(settings: Settings) -> None:
    """Leave the records as earlier versions did, which had no quarantine: later trainings read them."""
    (settings.data_dir / "toy-default-quarantine.csv").unlink()


def test_the_advice_names_no_session_whose_records_have_been_taken_out(
    trained: TrainingManager, settings: Settings
):
    ended_session(trained.train(KEY, ROWS(5, 100), {"bias": 1.0}))
    assert ended_session(trained.undo(2, "default")).state == "rejected"
    ended_session(trained.train(KEY, ROWS(5, 200), {"bias": 1.0}))
    release_all(settings)
    session = ended_session(trained.train(KEY, ROWS(5, 300), {"bias": 1.0}))
    told = " ".join(session.reasons)
    assert "POST /train/undo/4" in told
    assert "POST /train/undo/2" not in told


def test_nothing_new_is_no_session_and_no_backup(trained: TrainingManager):
    outcome = trained.train(KEY, ROWS(3))
    assert (outcome.session, outcome.skipped) == (None, 3)
    assert len(trained.storage.backups.list()) == 1
    assert len(trained.sessions.list("default")) == 1


def test_the_same_id_with_another_value_is_a_correction(trained: TrainingManager):
    session = ended_session(
        trained.train(KEY, [{"id": "r1", "value": 3.3}, {"id": "r2", "value": ROWS(3)[2]["value"]}])
    )
    assert (session.records_added, session.corrections, session.records_skipped) == (1, 1, 1)


def test_invalid_records_change_nothing_and_every_one_is_named(manager: TrainingManager):
    with pytest.raises(InvalidRecords) as caught:
        manager.train(KEY, [{"id": "a"}, {"id": "b", "value": 1}, {"id": "c"}])
    assert caught.value.facts["validation_errors"] == ["Record 1: no value", "Record 3: no value"]
    assert manager.sessions.list("default") == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"leak": True}, "leaky_split"),
        ({"off": 0.5}, "parity_failed"),
        ({"fail": True}, "training_failed"),
        ({"strict": True}, "training_failed"),
    ],
    ids=str,
)
def test_a_failed_session_says_why_and_changes_nothing(
    trained: TrainingManager, settings: Settings, options: dict[str, Any], code: str
):
    before = footprint(settings)
    session = ended_session(trained.train(KEY, ROWS(5, 100), options))
    assert (session.state, session.promoted, session.records_added) == ("failed", None, 0)
    assert session.error is not None
    assert (session.error["code"], session.error["status"]) == (code, 500)
    assert footprint(settings) == before


def test_a_child_that_dies_interrupts_its_session_and_frees_the_lock(
    process_trained: TrainingManager, settings: Settings
):
    before = footprint(settings)
    session = ended_session(process_trained.train(KEY, ROWS(5, 100), {"crash": True}))
    assert session.state == "interrupted"
    assert session.error is not None and session.error["status"] == 503
    assert footprint(settings) == before
    assert ended_session(process_trained.train(KEY, ROWS(5, 100))).state == "completed"


def test_a_killed_child_interrupts_its_session_at_once(process_trained: TrainingManager):
    outcome = process_trained.train(KEY, ROWS(5, 100), {"sleep_s": 3600}, wait=False)
    assert outcome.session is not None
    fitting(process_trained, outcome.session.id).kill()
    eventually(lambda: process_trained.sessions.get(outcome.session.id).state == "interrupted")
    assert ended_session(process_trained.train(KEY, ROWS(5, 100))).state == "completed"


def test_two_trainings_of_one_model_at_once_are_one_training_and_one_busy(
    trained: TrainingManager, settings: Settings, executor: Executor
):
    other = make_manager(settings, executor)
    running = trained.train(KEY, ROWS(5, 100), {"sleep_s": 3600}, wait=False)
    for desk in (trained, other):
        with pytest.raises(TrainingBusy) as caught:
            desk.train(KEY, ROWS(5, 200))
        assert caught.value.body()["is_training"] is True
    assert running.session is not None
    trained.cancel(running.session.id, "default")
    other.close()


def test_of_many_threads_that_train_at_once_each_batch_is_stored_once_or_told_busy(
    trained: TrainingManager, settings: Settings
):
    told: list[str] = []

    def post(number: int) -> None:
        try:
            told.append(ended_session(trained.train(KEY, ROWS(1, 1000 + number))).state)
        except TrainingBusy:
            told.append("busy")

    threads = [threading.Thread(target=post, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stored_now = told.count("completed") + told.count("rejected")
    assert stored_now >= 1 and stored_now + told.count("busy") == 8
    assert stored(settings).count(b"\n") == 51 + stored_now


def test_different_models_train_at_the_same_time(process_trained: TrainingManager, hold: Path):
    other = type(KEY)("toy", "other")
    running = process_trained.train(KEY, ROWS(5, 100), {"hold": str(hold)}, wait=False)
    assert ended_session(process_trained.train(other, ROWS(20))).state == "completed"
    assert running.session is not None
    assert not process_trained.sessions.get(running.session.id).has_ended
    hold.unlink()
    eventually(lambda: process_trained.sessions.get(running.session.id).state == "completed")


def test_progress_is_told_while_it_happens(trained: TrainingManager):
    session = ended_session(trained.train(KEY, ROWS(5, 100), {"sleep_s": 1.0}))
    events = trained.sessions.events(session.id)
    names = [event.event for event in events]
    assert [name for name in names if name != "epoch"] == [
        "prepare", "fit", "evaluate", "refit", "save", "verify", "end",
    ]  # fmt: skip
    assert session.started_at is not None and session.ended_at is not None
    seconds = (session.ended_at - session.started_at).total_seconds()
    assert 3 <= names.count("epoch") <= 5 * seconds + 1, "at most five are told in a second"
    told = [event.data["progress_pct"] for event in events[:-1]]
    assert told == sorted(told)
    assert session.created_at <= session.started_at <= session.ended_at


def test_records_wait_on_disk_from_the_moment_a_202_is_answered(trained: TrainingManager, settings: Settings):
    outcome = trained.train(KEY, ROWS(5, 100), {"sleep_s": 3600}, wait=False)
    assert outcome.session is not None and outcome.session.state == "queued"
    waiting = list((settings.data_dir / "pending").iterdir())
    assert [file.name for file in waiting] == [f"session-{outcome.session.id}.json"]
    trained.cancel(outcome.session.id, "default")
    assert list((settings.data_dir / "pending").iterdir()) == []


def test_a_damaged_champion_does_not_stop_training(trained: TrainingManager, settings: Settings):
    trained.storage.versions.file(KEY.path, 1, "model.json").write_text("{}")
    session = ended_session(trained.train(KEY, ROWS(5, 100)))
    assert session.state == "completed"
    assert "could not be compared" in session.warnings[0]


def test_a_champion_that_only_trainings_cannot_read_is_replaced(
    trained: TrainingManager, monkeypatch: pytest.MonkeyPatch
):
    """Its hash fits: an earlier version lost the end of the file on a full disk, and sealed what was left."""
    with monkeypatch.context() as older:
        older.setattr(toy_family.ToyFamily, "save", save_cut_short)
        assert ended_session(trained.train(KEY, ROWS(5, 100))).state == "completed"
    session = ended_session(trained.train(KEY, ROWS(5, 200), {"bias": 0.3}))
    assert (session.state, session.version) == ("completed", 3), "a worse one, but it can be read"
    assert "version 2 cannot be read" in session.warnings[0]
    assert "takes its place" in session.reasons[0]
    assert trained.models.version(KEY, 3).manifest["anchor"] is None, "nothing was compared"
    assert ended_session(trained.train(KEY, ROWS(5, 300))).warnings == []


def test_an_unreadable_champion_that_cannot_be_replaced_is_told(trained: TrainingManager):
    trained.storage.versions.file(KEY.path, 1, "losses.json").write_text("")
    session = ended_session(trained.train(KEY, ROWS(5, 100), {"fail": True}))
    assert session.state == "failed"
    (record,) = trained.champions.page("default")
    assert "losses.json has 0 bytes" in (record.error or "")


@pytest.mark.parametrize(
    ("owner", "step"),
    [(toy_family.ToyFamily, "evaluate_champion"), (toy_family.ToyReviewer, "assess_new_data")],
)
def test_a_fault_of_the_comparison_is_no_damage_of_the_champion(
    trained: TrainingManager, monkeypatch: pytest.MonkeyPatch, owner: type, step: str
):
    def fail(*arguments: object) -> None:
        raise ValueError("this comparison has a fault")

    monkeypatch.setattr(owner, step, fail)
    session = ended_session(trained.train(KEY, ROWS(5, 100)))
    assert (session.state, trained.models.champion_number(KEY)) == ("failed", 1), "no gate passed it"
    (record,) = trained.champions.page("default")
    assert record.error is None


def test_an_unreadable_anchor_is_replaced_by_the_champion(
    trained: TrainingManager, monkeypatch: pytest.MonkeyPatch
):
    assert ended_session(trained.train(KEY, ROWS(5, 100))).state == "completed"
    assess, seen = toy_family.ToyReviewer.assess_new_data, []

    def assess_readable(self, model, anchor, prepared, options):
        seen.append(anchor.number)
        if anchor.number == 1:
            raise ArtefactCorrupt("losses.json is damaged")
        return assess(self, model, anchor, prepared, options)

    monkeypatch.setattr(toy_family.ToyReviewer, "assess_new_data", assess_readable)
    session = ended_session(trained.train(KEY, ROWS(5, 200)))
    assert (session.state, seen) == ("completed", [1, 2])
    assert trained.models.version(KEY, 3).manifest["anchor"] == 2
    (warning,) = session.warnings
    assert "version 1" in warning and "losses.json is damaged" in warning and "version 2" in warning
    (record,) = trained.champions.page("default")
    assert record.error is None, "the champion itself can be read"


def save_cut_short(self, model, prepared, folder):
    """Save a model whose second file lost its end."""
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "losses.json").write_text("")


def test_nothing_of_a_session_lies_about_afterwards(trained: TrainingManager, settings: Settings):
    trained.train(KEY, ROWS(5, 100))
    trained.train(KEY, ROWS(5, 200), {"leak": True})
    left = [file.name for file in settings.home.rglob(".*")]
    assert left == []
    assert [file.name for file in (settings.data_dir / "pending").iterdir()] == ["session-3.json"]
    assert [file for file in settings.run_dir.iterdir() if file.suffix not in {".lock", ".sock", ""}] == []


def fitting(manager: TrainingManager, session_id: int) -> psutil.Process:
    """Return the child of a session, once it fits."""
    eventually(lambda: manager.sessions.get(session_id).stage == "fit")
    here = str(manager.storage.settings.run_dir)
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "training.execution.worker" in words and here in words[-1] and '"trainer"' in words[-1]:
            return process
    raise AssertionError("no child is fitting")
