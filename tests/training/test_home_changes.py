"""Folders of the home that go away while Millwright runs: nothing is stored, everybody is told, all comes back."""

from __future__ import annotations

import shutil

import pytest

from errors import DiskFull, MillwrightError, TrainingBusy
from settings import Settings
from storage import fault_injection
from tests import toy_family
from tests.training.conftest import KEY, answer, ended_session
from tests.waiting import MAX_WAIT_SECONDS, eventually
from training_manager import TrainingManager

PATHS = ("models", "model_backups", "data/run/locks", "data/millwright.db", "data", ".")


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_committed_while_a_part_of_the_home_is_away(
    trained: TrainingManager, settings: Settings, path: str
):
    hold = settings.home.with_name(f"{settings.home.name}-hold")  # beside the home, which moves
    hold.touch()
    running = trained.train(KEY, toy_family.records(5, 100), {"hold": str(hold)}, wait=False)
    assert running.session is not None and running.end is not None
    session_id = running.session.id
    eventually(lambda: trained.sessions.get(session_id).stage == "fit")
    place = settings.home / path
    assert answer(trained)
    away = place.rename(settings.home.with_name(f"{settings.home.name}-away"))
    assert all("restart" in issue for issue in trained.system.home_issues())
    assert trained.system.home_issues()
    hold.unlink()
    assert running.end.exception(timeout=MAX_WAIT_SECONDS) is not None or not answered_well(running)
    with pytest.raises(MillwrightError) as refusal:
        trained.train(KEY, toy_family.records(5, 200))
    assert not isinstance(refusal.value, TrainingBusy)
    assert trained.model_cache.current(KEY).number == 1, "what is in memory answers"

    if place.is_dir():  # folders may come again, but nothing that somebody would miss
        assert not [file for file in place.rglob("*") if file.is_file() and file.suffix != ".lock"]
        shutil.rmtree(place)
    away.rename(place)
    assert trained.system.home_issues() == []
    assert trained.sessions.get(session_id).state in ("failed", "interrupted")
    assert ended_session(trained.train(KEY, toy_family.records(5, 300))).version == 2
    assert answer(trained)


def test_a_number_that_served_is_not_given_again(trained: TrainingManager, settings: Settings):
    shutil.rmtree(settings.models_dir / "default" / "toy")
    assert ended_session(trained.train(KEY, toy_family.records(5, 100))).version == 2


def test_data_files_of_an_unfinished_commit_are_not_read(
    trained: TrainingManager, monkeypatch: pytest.MonkeyPatch
):
    def refuse(step: str) -> None:
        if step == "apply.moved":
            raise DiskFull("no space")

    with monkeypatch.context() as full:
        full.setattr(fault_injection, "fault_point", refuse)
        with pytest.raises(MillwrightError, match="will be finished"):
            trained.train(KEY, toy_family.records(5, 100))
        assert trained.system.journal_issue()
        for read in (
            lambda: trained.preview(KEY, toy_family.records(5, 200)),
            lambda: trained.backups.restore(trained.backups.list("default")[0].name, "default", dry_run=True),
            lambda: trained.downloads.file(KEY, 1, "model.txt"),
        ):
            with pytest.raises(DiskFull):
                read()
        assert trained.model_cache.current(KEY).number == 1
    assert trained.preview(KEY, toy_family.records(5, 100))["records_new"] == 0
    assert trained.system.journal_issue() is None


def answered_well(running) -> bool:
    return bool(running.end.result().session.promoted)
