"""Trainings that are killed or cancelled in the middle of their epochs, through the whole house."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from prediction.contract import ModelKey
from tests.waiting import eventually
from training_manager import TrainingManager


def epochs_of(manager: TrainingManager, session_id: int) -> list[dict]:
    return [event.data for event in manager.sessions.events(session_id) if event.event == "epoch"]


def wait_for_epochs(manager: TrainingManager, session_id: int, count: int = 1) -> None:
    def has_reached() -> bool:
        assert not manager.sessions.get(session_id).has_ended, manager.sessions.get(session_id)
        return len(epochs_of(manager, session_id)) >= count

    eventually(has_reached, lambda: manager.sessions.get(session_id))


def child_at_work(home: Path) -> int:
    """Return the process of this home that has used the processor most: the one that trains."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(home) in (folder / "cmdline").read_text() and folder.name != str(os.getpid()):
                found.append(
                    (int((folder / "stat").read_text().rpartition(")")[2].split()[11]), int(folder.name))
                )
    return max(found)[1]


def has_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def killed_in_its_epochs(manager: TrainingManager, key: ModelKey, options: dict[str, Any], home: Path) -> int:
    """Return the number of a session whose child was killed once it had kept a checkpoint and told three epochs."""
    started = manager.train(key, None, options, wait=False).session
    assert started is not None
    number = started.id
    kept = home / "data" / "cache" / "checkpoints"
    wait_for_epochs(manager, number, 3)
    eventually(lambda: list(kept.glob("*.safetensors")) or manager.sessions.get(number).has_ended)
    os.kill(child_at_work(home), signal.SIGKILL)
    eventually(lambda: manager.sessions.get(number).has_ended)
    assert manager.sessions.get(number).state == "interrupted"
    return number


def goes_on_and_is_cancelled(manager: TrainingManager, killed: int, home: Path) -> None:
    """Try a killed session again: it does not begin at its first epoch, and cancelling it frees its child."""
    again = manager.retry(killed, "default", wait=False).session
    assert again is not None
    wait_for_epochs(manager, again.id)
    assert epochs_of(manager, again.id)[0]["epoch"] > 1
    child = child_at_work(home)
    assert manager.cancel(again.id, "default").state == "cancelled"
    assert has_gone(child)
