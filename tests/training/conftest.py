"""A server's training side over real storage, with the tiny family as the only one registered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prediction import registry
from prediction.contract import ModelKey, Resources
from prediction.serving import ModelCache
from settings import Settings
from storage.container import open_storage
from storage.db.sessions import Session
from tests import toy_family
from tests.waiting import eventually
from training.execution.child_process import WARM_ROLES, ChildProcessExecutor
from training.execution.executor import Executor
from training.execution.in_process import InProcessExecutor
from training.execution.warm_process import warm_process_lock
from training_manager import TrainingManager, TrainingOutcome

KEY = ModelKey("toy")


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the tiny family exists."""
    monkeypatch.setattr(registry, "FAMILIES", {"toy": toy_family.ENTRY})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings of a server in a fresh home."""
    made = Settings(home=tmp_path, shutdown_grace_seconds=1)
    made.run_dir.mkdir(parents=True)
    return made


@pytest.fixture
def child_executor(settings: Settings) -> Iterator[ChildProcessExecutor]:
    """Child processes for that server; none is left afterwards."""
    executor = ChildProcessExecutor(settings)
    yield executor
    executor.close()
    eventually(lambda: not any(warm_process_lock(settings.run_dir, role).is_held() for role in WARM_ROLES))


@pytest.fixture
def executor(settings: Settings) -> Executor:
    """Return an executor without processes: those that a test needs it asks for by `child_executor`."""
    return InProcessExecutor(settings)


@pytest.fixture
def manager(settings: Settings, executor: Executor) -> Iterator[TrainingManager]:
    """Return the training manager of a server in a fresh home, recovered as at start."""
    made = make_manager(settings, executor)
    made.recover()
    yield made
    made.close()


@pytest.fixture
def process_trained(settings: Settings, child_executor: ChildProcessExecutor) -> Iterator[TrainingManager]:
    """Return a manager whose sessions run in child processes, and whose model was trained with fifty records."""
    first = make_manager(settings, InProcessExecutor(settings))
    first.recover()
    assert ended_session(first.train(KEY, toy_family.records(50))).state == "completed"
    first.close()
    manager = make_manager(settings, child_executor)
    yield manager
    manager.close()


def make_manager(settings: Settings, executor: Executor) -> TrainingManager:
    """Return a training manager as another worker of the same server would have it."""
    storage = open_storage(settings)
    live = ModelCache(storage.versions, Resources(settings.cache_dir))
    return TrainingManager(storage, executor, live)


@pytest.fixture
def trained(manager: TrainingManager) -> TrainingManager:
    """Return a training manager whose model was trained with fifty records."""
    outcome = manager.train(KEY, toy_family.records(50))
    assert outcome.session is not None and outcome.session.state == "completed", outcome
    return manager


def ended_session(outcome: TrainingOutcome) -> Session:
    """Return the session of an outcome that must have one."""
    assert outcome.session is not None and outcome.session.has_ended
    return outcome.session


def answer(manager: TrainingManager) -> float:
    """Return what the champion on disk says, loaded afresh."""
    manager.model_cache.reload(KEY)
    return manager.model_cache.current(KEY).predictor.predict([{"x": 0}], {})[0]["value"]


def stored(settings: Settings) -> bytes:
    """Return the bytes of the model's data file; none where there is no file."""
    file = settings.data_dir / "toy-default.csv"
    return file.read_bytes() if file.exists() else b""


def footprint(settings: Settings) -> dict[str, bytes]:
    """Return data, versions and pointers: everything a session that fails must leave as it was."""
    roots = [settings.models_dir, *settings.data_dir.glob("toy-*.csv")]
    files = [
        file for root in roots for file in ([root] if root.is_file() else root.rglob("*")) if file.is_file()
    ]
    return {str(file.relative_to(settings.home)): file.read_bytes() for file in files}
