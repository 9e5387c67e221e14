"""A fleet is one session: whatever ends it early leaves nothing of its models behind."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from errors import DiskFull, StorageFailed
from settings import Settings
from tests import toy_family
from tests.training.conftest import ended_session
from tests.waiting import eventually
from training_manager import TrainingManager

NAMES = [f"m{n}" for n in range(6)]


@pytest.fixture
def plant(manager: TrainingManager, settings: Settings) -> TrainingManager:
    """Return a training manager with data for six models, none of which has been trained."""
    rows = "".join(f"{row['id']},{row['value']},1\n" for row in toy_family.records(50))
    for name in NAMES:
        (settings.data_dir / f"toy-{name}.csv").write_text(toy_family.HEADER + rows)
    return manager


def lying_about(settings: Settings) -> list[str]:
    """Return what is below the models' folder besides sealed versions and pointers."""
    folders = [settings.models_dir / "default" / "toy" / name for name in ("fleet", *NAMES)]
    left = [path for path in settings.models_dir.rglob(".*") if path.name.startswith((".staging", ".trash"))]
    empty = [folder for folder in folders if folder.is_dir() and not any(folder.iterdir())]
    probes = settings.run_dir.glob(".tmp-*")
    return sorted(str(path.relative_to(settings.home)) for path in [*left, *empty, *probes])


def sealed(settings: Settings) -> list[Path]:
    return list(settings.models_dir.glob("default/toy/*/.staging-*/manifest.json"))


def test_every_model_of_a_fleet_gets_its_version_and_nothing_lies_about(
    plant: TrainingManager, settings: Settings
):
    session = ended_session(plant.train_batch("toy", "default", NAMES))
    assert (session.state, session.metrics["trained"]) == ("completed", 6)
    assert all(plant.storage.versions.pointer(f"default/toy/{name}") == 1 for name in NAMES)
    assert lying_about(settings) == []


@pytest.mark.parametrize(("bias", "weak"), [(0.0, 0), (50.0, 6)])
def test_models_that_are_no_better_than_simple_rules_are_counted_and_told(
    plant: TrainingManager, bias: float, weak: int
):
    session = ended_session(plant.train_batch("toy", "default", NAMES, {"bias": bias}))
    assert (session.metrics["promoted"], session.metrics["no_better_than_baselines"]) == (6, weak)
    assert ("simple rules" in session.message) is bool(weak)


def test_a_cancelled_fleet_leaves_nothing_of_the_models_that_were_ready(
    plant: TrainingManager, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    fit, fits = toy_family.ToyFamily.fit, count()

    def fit_two(family: toy_family.ToyFamily, prepared: Any, options: Any, progress: Any) -> Any:
        sleep_s = 0 if next(fits) < 2 else 3600
        return fit(family, prepared, {**options, "sleep_s": sleep_s}, progress)

    with monkeypatch.context() as patched:
        patched.setattr(toy_family.ToyFamily, "fit", fit_two)
        outcome = plant.train_batch("toy", "default", NAMES, wait=False, jobs=1)
        eventually(lambda: len(sealed(settings)) == 2)
        assert plant.cancel(outcome.session.id, "default").state == "cancelled"
    assert lying_about(settings) == []
    assert ended_session(plant.train_batch("toy", "default", NAMES)).state == "completed"


def test_a_fleet_that_fails_before_its_commit_leaves_nothing(
    plant: TrainingManager, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    def refuse(entry: object) -> None:
        raise DiskFull("No space left to commit")

    monkeypatch.setattr(plant.storage.journal, "commit", refuse)
    session = ended_session(plant.train_batch("toy", "default", NAMES[:2]))
    assert (session.state, session.error and session.error["code"]) == ("failed", "disk_full")
    assert lying_about(settings) == []


def test_a_fleet_whose_folders_cannot_all_be_made_leaves_none(
    plant: TrainingManager, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    versions = plant.storage.versions
    made = versions.staging

    def refuse(path: str, session_id: int) -> Path:
        if path.endswith("m3"):
            raise DiskFull("No space left")
        return made(path, session_id)

    monkeypatch.setattr(versions, "staging", refuse)
    assert ended_session(plant.train_batch("toy", "default", NAMES)).state == "failed"
    assert lying_about(settings) == []


def test_a_fleet_whose_commit_cannot_be_finished_now_keeps_what_is_to_be_moved(
    plant: TrainingManager, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patched:

        def refuse(moves: object, *, durable: bool) -> None:
            raise StorageFailed("the disk refuses")

        patched.setattr(plant.storage.journal, "_move", refuse)
        with pytest.raises(StorageFailed):
            plant.train_batch("toy", "default", NAMES[:2])
        assert len(sealed(settings)) == 2
    plant.storage.journal.finish_pending()
    assert all(plant.storage.versions.pointer(f"default/toy/{name}") == 1 for name in NAMES[:2])
    assert lying_about(settings) == []
