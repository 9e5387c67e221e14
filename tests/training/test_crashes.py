"""After a kill -9 at any instant the state is the old one or the new one, and the session says which."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from errors import StorageFailed
from settings import Settings
from storage import fault_injection
from storage.fault_injection import STEPS
from tests import toy_family
from tests.training.conftest import KEY, answer, ended_session, footprint, stored
from tests.training.owner import start_owner
from tests.waiting import MAX_WAIT_SECONDS, eventually
from training_manager import TrainingManager

ROWS = toy_family.records
BESIDE_A_CHILD = tuple(step for step in STEPS if step.startswith("backup."))
"""What the owner does while its child trains."""
CHILDS = tuple(step for step in STEPS if step.startswith(("child.", "verify.")))
OWNERS = tuple(step for step in STEPS if step not in CHILDS and not step.startswith("restore."))
DURABLE = (
    "journal.synced",
    "apply.moved",
    "apply.appended",
    "apply.pointed",
    "apply.recorded",
    "journal.cleared",
)
RESTORES = ("restore.staged", "restore.synced", "backup.renamed", "journal.staged", *DURABLE)

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("step", OWNERS)
def test_the_owner_dies_in_a_training(trained: TrainingManager, settings: Settings, step: str):
    before, value = footprint(settings), answer(trained)
    assert own(settings, step, train(ROWS(20, 100, value=3.1))) == -signal.SIGKILL
    told = trained.status.read("default")["sessions"]
    assert told[0]["state"] == ("completed" if step in DURABLE else "interrupted")
    if step in DURABLE:
        assert stored(settings).count(b"\n") == 71
        assert trained.storage.versions.pointer(KEY.path) == 2
        assert answer(trained) != value
    else:
        assert footprint(settings) == before
        assert answer(trained) == value
    check_all_is_well(trained, settings)


@pytest.mark.parametrize("step", CHILDS)
def test_the_child_dies_in_a_training(trained: TrainingManager, settings: Settings, step: str):
    before = footprint(settings)
    assert own(settings, step, train(ROWS(20, 100))) == 0
    assert trained.sessions.list("default")[0].state == "interrupted"
    assert footprint(settings) == before
    check_all_is_well(trained, settings)


@pytest.mark.parametrize("step", OWNERS)
def test_an_io_error_ends_the_session_and_the_state_is_old_or_new(
    trained: TrainingManager, settings: Settings, step: str, monkeypatch: pytest.MonkeyPatch
):
    before = footprint(settings)
    with monkeypatch.context() as patched:
        patched.setattr(fault_injection, "fault_point", fault_injection.fault_point)
        fault_injection.install(f"{step}:raise")
        with suppress(StorageFailed):  # committed, but not finished: the next reader finishes it
            trained.train(KEY, ROWS(20, 100))
    state = trained.sessions.list("default")[0].state
    assert state == ("completed" if step in DURABLE else "failed")
    if state == "failed":
        assert footprint(settings) == before
    else:
        assert stored(settings).count(b"\n") == 71
    check_all_is_well(trained, settings)


@pytest.mark.parametrize("step", ["journal.staged", *DURABLE])
def test_the_owner_dies_in_an_undo(trained: TrainingManager, settings: Settings, step: str):
    original = stored(settings)
    session = ended_session(trained.train(KEY, ROWS(5, 100)))
    assert own(settings, step, {"do": "undo", "session": session.id}) == -signal.SIGKILL
    assert trained.sessions.list("default")[0].state == ("completed" if step in DURABLE else "interrupted")
    assert (stored(settings) == original) == (step in DURABLE)
    assert trained.storage.versions.pointer(KEY.path) == (3 if step in DURABLE else 2)
    check_all_is_well(trained, settings)


@pytest.mark.parametrize("step", RESTORES)
def test_the_owner_dies_in_a_restore(trained: TrainingManager, settings: Settings, step: str):
    original, value = stored(settings), answer(trained)
    trained.train(KEY, ROWS(20, 100, value=3.1))
    newer, newer_value = stored(settings), answer(trained)
    order = {"do": "restore", "backup": trained.storage.backups.list()[1].name}
    assert own(settings, step, order) == -signal.SIGKILL
    trained.recover()
    expected = (original, value) if step in DURABLE else (newer, newer_value)
    assert (stored(settings), answer(trained)) == expected
    check_all_is_well(trained, settings)


def test_a_killed_session_can_be_tried_again_and_adds_its_records_once(
    trained: TrainingManager, settings: Settings
):
    own_until_it_fits(trained, train(ROWS(5, 100)))
    session = trained.sessions.list("default")[0]
    assert session.state == "interrupted"
    assert ended_session(trained.retry(session.id, "default")).state == "completed"
    assert stored(settings).count(b"\n") == 56


def test_no_reader_is_told_that_a_session_runs_whose_owner_has_died(trained: TrainingManager):
    own_until_it_fits(trained, train(ROWS(5, 100)))
    assert trained.storage.sessions.get(2).state == "running", "nobody has looked yet"
    assert trained.sessions.get(2).state == "interrupted"
    own_until_it_fits(trained, train(ROWS(5, 100)))
    assert trained.status.read("default")["sessions"][0]["state"] == "interrupted"


def test_the_next_training_tells_the_truth_about_the_one_that_died(trained: TrainingManager):
    own_until_it_fits(trained, train(ROWS(5, 100)))
    running = trained.train(KEY, ROWS(5, 100), {"sleep_s": 60}, wait=False)
    assert running.session is not None
    assert trained.storage.sessions.get(2).state == "interrupted"
    trained.cancel(running.session.id, "default")


def train(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {"do": "train", "records": records}


def own(settings: Settings, step: str, order: dict[str, Any]) -> int | None:
    """Run an order in a process that dies at a step, or whose child does; its exit status."""
    in_children = step in (*CHILDS, *BESIDE_A_CHILD)
    executor = "local" if in_children else "in-process"
    owner = start_owner(replace(settings, executor=executor), f"{step}:kill", order)
    owner.join(MAX_WAIT_SECONDS)
    return owner.exitcode


def own_until_it_fits(manager: TrainingManager, order: dict[str, Any]) -> None:
    """Kill the owner of a training while its child fits."""
    owner = start_owner(manager.storage.settings, "child.fitted:sleep:60", order)
    eventually(lambda: manager.sessions.list("default")[0].stage == "fit")
    owner.kill()
    owner.join()


def check_all_is_well(manager: TrainingManager, settings: Settings) -> None:
    """Nothing runs, nothing lies about, and a new training works and counts up."""
    manager.recover()
    assert not manager.storage.training_lock(KEY.path).is_held()
    assert all(session.has_ended for session in manager.sessions.list("default"))
    eventually(lambda: [file.name for file in settings.home.rglob(".*")] == [])
    rows = stored(settings).count(b"\n")
    session = ended_session(manager.train(KEY, ROWS(3, 9000)))
    assert session.state == "completed"
    assert stored(settings).count(b"\n") == rows + 3
