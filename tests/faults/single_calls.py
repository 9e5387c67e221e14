"""One system call of an operation made to fail, by strace: the disk is full, refuses, or the process dies in it.

The operation runs in a forked process over a copy of a small home, which stops itself before it begins, so that strace
counts nothing but the operation.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prediction import registry
from settings import Settings
from tests import toy_family
from tests.toy_family import records
from tests.training.conftest import KEY, make_manager
from tests.waiting import MAX_WAIT_SECONDS, eventually
from training.execution.in_process import InProcessExecutor
from training_manager import TrainingManager

CALLS: Final = (
    *("write", "writev", "pwrite64", "ftruncate", "fallocate", "copy_file_range", "sendfile"),
    *("fsync", "fdatasync", "syncfs", "rename", "renameat", "renameat2", "link", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir"),
)
"""Everything by which the operations change the disk, but for opening a new file."""
FAULTS: Final = ("error=ENOSPC", "error=EIO", "signal=KILL")
TABLE: Final = b"timestamp,flow\n" + b"".join(
    f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00:00Z,{hour % 11}\n".encode() for hour in range(240)
)
_LINE: Final = re.compile(r"^(\d+) +(?:\d[\d.]* )?(\w+)\(")

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Point:
    """The n-th call of its kind in an operation, counted from 1."""

    call: str
    number: int


def train(manager: TrainingManager) -> None:
    outcome = manager.train(KEY, records(7, 500))
    assert outcome.session is None or outcome.session.state == "completed"


def undo(manager: TrainingManager) -> None:
    outcome = manager.undo(2, "default")
    assert outcome.session is not None and outcome.session.state == "completed"


def restore(manager: TrainingManager) -> None:
    manager.backups.restore(_backup_before(manager, session_id=2), "default")


def promote(manager: TrainingManager) -> None:
    manager.models.promote(KEY, 1)


def back_up(manager: TrainingManager) -> None:
    manager.backups.create(None, "default", "by hand")


def delete(manager: TrainingManager) -> None:
    manager.backups.delete(_backup_before(manager, session_id=1), "default")


def upload(manager: TrainingManager) -> None:
    manager.datasets.receive(io.BytesIO(TABLE), "flow.csv")


OPERATIONS: Final[dict[str, Callable[[TrainingManager], None]]] = {
    operation.__name__: operation for operation in (train, undo, restore, promote, back_up, delete, upload)
}


def can_trace() -> bool:
    """Return whether strace is installed and may trace other processes here."""
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=none", "true"]
    return (
        bool(shutil.which("strace"))
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def open_home(home: Path) -> TrainingManager:
    """Return the training side of a server over a home whose only family is the toy."""
    settings = Settings(home=home, shutdown_grace_seconds=1)
    return make_manager(settings, InProcessExecutor(settings))


def count_calls(home: Path, operation: str) -> list[Point]:
    """Return the points at which an operation changes the disk, in their order."""
    log = home.with_suffix(".calls")
    assert _run(home, operation, ["-e", f"trace={','.join(CALLS)}", "-o", str(log)]) == 0
    lines = [line for line in map(_LINE.match, log.read_text().splitlines()) if line]
    main = lines[0][1]
    points: list[Point] = []
    for line in lines:
        if line[1] == main:
            points.append(Point(line[2], 1 + sum(point.call == line[2] for point in points)))
    return points


def run_with_fault(home: Path, operation: str, point: Point, fault: str) -> bool:
    """Run an operation in which one call fails; return whether it ended well nevertheless."""
    inject = f"inject={point.call}:{fault}:when={point.number}"
    return _run(home, operation, ["-e", f"trace={point.call}", "-e", inject, "-o", os.devnull]) == 0


def _run(home: Path, operation: str, options: list[str]) -> int | None:
    """Return the exit status of an operation under strace; negative where a signal has killed it."""
    owner = _FORKS.Process(target=_main, args=(home, operation))
    owner.start()
    pid = owner.pid
    eventually(lambda: owner.exitcode is not None or _status(pid, "State").startswith("T"))
    assert owner.exitcode is None, "the home could not be opened"
    with subprocess.Popen(
        ["strace", "-f", "-qq", *options, "-p", str(pid)], stderr=subprocess.PIPE
    ) as tracer:
        eventually(lambda: tracer.poll() is not None or _status(pid, "TracerPid") != "0")
        assert tracer.poll() is None, tracer.stderr and tracer.stderr.read()
        os.kill(int(pid or 0), signal.SIGCONT)
        owner.join(MAX_WAIT_SECONDS)
        tracer.wait(MAX_WAIT_SECONDS)
    return owner.exitcode


def _status(pid: int | None, field: str) -> str:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:"))


def _main(home: Path, operation: str) -> None:
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    registry.FAMILIES = {"toy": toy_family.ENTRY}
    manager = open_home(home)
    os.kill(os.getpid(), signal.SIGSTOP)
    OPERATIONS[operation](manager)
    # Neither threads nor the closing of what is open belong to the operation.
    os._exit(0)


def _backup_before(manager: TrainingManager, session_id: int) -> str:
    backups = manager.storage.backups.list()
    return next(backup.name for backup in backups if f"before session {session_id} " in backup.reason)
