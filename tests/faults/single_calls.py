"""One system call of an operation made to fail, by strace: the disk is full, refuses, or the process dies in it.

The operation runs in a forked process over a copy of a small home, which stops itself before it begins, so that strace
counts nothing but the operation, with its threads and children. Most operations are of the toy family, which trains in
no time; ``train_<example>`` trains the example of a real family in the contract suite.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from prediction import registry
from prediction.contract import ModelKey
from settings import Settings
from storage.devices.telemetry import TelemetryRows
from storage.sensors.reading_block import ReadingBlock
from tests import toy_family
from tests.contract.examples import ContractExample, load_examples
from tests.prediction.damage.conftest import archive
from tests.toy_family import records
from tests.training.conftest import KEY, make_manager
from tests.waiting import MAX_WAIT_SECONDS, eventually
from training.execution.in_process import InProcessExecutor
from training_manager import TrainingManager

CALLS: Final = (
    *("write", "writev", "pwrite64", "ftruncate", "fallocate", "copy_file_range", "sendfile"),
    *("fsync", "fdatasync", "syncfs", "rename", "renameat", "renameat2", "link", "linkat", "unlink"),
    *("unlinkat", "mkdir", "mkdirat", "rmdir", "openat", "close"),
)
"""Everything by which the operations change the disk; of the last two, what makes a file or closes a written one."""
FAULTS: Final = ("error=ENOSPC", "error=EIO", "signal=KILL")
LOST_WRITE: Final = "retval=1"
"""The call reports that it has written a byte and has written none: only who reads back what he wrote finds out."""
EXAMPLE_FILE: Final = "example.json"
EXAMPLES: Final = load_examples()
TABLE: Final = b"timestamp,flow\n" + b"".join(
    f"2026-01-{1 + hour // 24:02}T{hour % 24:02}:00:00Z,{hour % 11}\n".encode() for hour in range(240)
)
_LINE: Final = re.compile(r"^(\d+) +(\w+)\((.*)")
_DESCRIPTOR: Final = re.compile(r"\d+<(.*?)>")

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Point:
    """The n-th call of its kind in any thread or process of an operation, counted from 1."""

    call: str
    number: int

    def faults(self) -> list[str]:
        """Return the ways in which the call can fail."""
        # SQLite, which writes by pwrite64, trusts the number of bytes that the system reports.
        return [*FAULTS, *([LOST_WRITE] if self.call == "write" else [])]


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


def upload_recordings(manager: TrainingManager) -> None:
    manager.datasets.receive(io.BytesIO(archive(2)), "fan.zip")


def delete_dataset(manager: TrainingManager) -> None:
    if stored := manager.datasets.list():
        manager.datasets.delete(stored[0].id)


def send_readings(manager: TrainingManager) -> None:
    times = np.arange(500) * 1_000_000
    manager.sensors.readings.ingest("default", ReadingBlock(np.full(500, 1), times, times / 1e6))


def send_telemetry(manager: TrainingManager) -> None:
    times = range(0, 500_000_000, 1_000_000)
    rows = TelemetryRows(["P-1"] * 500, times, [{"current_mean": time / 1e6} for time in times])
    manager.devices.telemetry.ingest("default", rows)


def train_example(manager: TrainingManager) -> None:
    key, example = read_example(manager.settings.home)
    outcome = manager.train(key, None if example.records is None else example.records[1:], example.options)
    assert outcome.session is None or outcome.session.state in {"completed", "rejected"}


Operation = Callable[[TrainingManager], None]
TOY_OPERATIONS: Final[dict[str, Operation]] = {
    operation.__name__: operation
    for operation in (
        *(train, undo, restore, promote, back_up, delete),
        *(upload, upload_recordings, delete_dataset, send_readings, send_telemetry),
    )
}
FAMILY_OPERATIONS: Final[dict[str, Operation]] = {
    f"train_{name}": train_example for name in sorted(EXAMPLES) if name != "toy"
}
OPERATIONS: Final = {**TOY_OPERATIONS, **FAMILY_OPERATIONS}
_REAL_FAMILIES: Final = {
    name: replace(entry, is_preloaded=False) for name, entry in registry.FAMILIES.items()
}


def register_families(operation: str) -> None:
    """Register the toy family only, or the real ones for an operation that trains one of them."""
    is_toy = operation in TOY_OPERATIONS
    registry.FAMILIES = {"toy": toy_family.ENTRY} if is_toy else _REAL_FAMILIES


def make_example(manager: TrainingManager, name: str) -> None:
    """Fill a home with the example of a family, describe it in a file there, and train it once."""
    example = EXAMPLES[name](manager.storage)
    (manager.settings.home / EXAMPLE_FILE).write_text(json.dumps(asdict(example)))
    records = None if example.records is None else example.records[:1]
    outcome = manager.train(example.key, records, example.options)
    assert outcome.session is not None and outcome.session.state == "completed"


def read_example(home: Path) -> tuple[ModelKey, ContractExample]:
    """Return the model of a home and its example; the toy's where there is no other."""
    file = home / EXAMPLE_FILE
    if not file.exists():
        return KEY, ContractExample(KEY, [{"x": 0}], "x")
    facts = json.loads(file.read_text())
    key = ModelKey(**facts.pop("key"))
    return key, ContractExample(key, **facts)


def can_trace() -> bool:
    """Return whether strace is installed and may trace other processes here."""
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=none", "true"]
    return (
        bool(shutil.which("strace"))
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def open_home(home: Path) -> TrainingManager:
    """Return the training side of a server over a home."""
    settings = Settings(home=home, shutdown_grace_seconds=1, sentence_model="none")
    return make_manager(settings, InProcessExecutor(settings))


def count_calls(home: Path, operation: str) -> list[Point]:
    """Return the points at which an operation changes the disk below its home, in their order."""
    log = home.with_suffix(".calls")
    assert _run(home, operation, ["-y", "-s", "0", "-e", f"trace={','.join(CALLS)}", "-o", str(log)]) == 0
    numbers: Counter[tuple[str, str]] = Counter()
    written: set[str] = set()
    points: dict[Point, None] = {}
    for line in filter(None, map(_LINE.match, log.read_text().splitlines())):
        thread, call, arguments = line.groups()
        numbers[thread, call] += 1
        files = {path for path in _DESCRIPTOR.findall(arguments) if path.startswith(f"{home}/")}
        if call in ("write", "writev", "pwrite64"):
            written |= files
        is_ours = str(home) in arguments and (call != "openat" or "O_CREAT" in arguments)
        if is_ours and (call != "close" or files & written):
            points[Point(call, numbers[thread, call])] = None
    return list(points)


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
    register_families(operation)
    manager = open_home(home)
    os.kill(os.getpid(), signal.SIGSTOP)
    OPERATIONS[operation](manager)
    # Neither threads nor the closing of what is open belong to the operation.
    os._exit(0)


def _backup_before(manager: TrainingManager, session_id: int) -> str:
    backups = manager.storage.backups.list()
    return next(backup.name for backup in backups if f"before session {session_id} " in backup.reason)
