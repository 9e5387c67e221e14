"""One warm process a role and server: it has imported what a session needs and waits for a single task.

A cold child imports for one to two seconds. So a spare waits on a unix socket in the run folder, where any
worker of the server may take it: it serves one task, then it is gone. The lock file beside the socket sees to
it that there is one at most, whoever started it.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.filesystem.locks import ProcessLock
from training.execution.ipc import MessageConnection


def warm_process_lock(run_dir: Path, role: str) -> ProcessLock:
    """Held by the spare of that role while it waits."""
    return ProcessLock(run_dir / f"spare-{role}.lock")


def connect(run_dir: Path, role: str) -> MessageConnection | None:
    """A connection to the spare of that role; None where none is waiting."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_path(run_dir) as folder:
            connection.connect(f"{folder}/spare-{role}.sock")
    except OSError:
        connection.close()
        return None
    wire = MessageConnection(connection)
    if wire.peer()[1] != os.getuid():
        wire.close()
        return None
    return wire


def wait_for_task(run_dir: Path, role: str, warm_up: Callable[[], None]) -> MessageConnection | None:
    """Be the spare of a role until somebody connects.

    Returns
    -------
    Wire or None
        The one connection this process serves; None where another spare waits already, or where the process
        that started this one has gone.
    """
    lock = warm_process_lock(run_dir, role)
    if not lock.acquire():
        return None
    try:
        with _short_path(run_dir) as folder, _listening(f"{folder}/spare-{role}.sock") as listener:
            _tell_spawner()
            warm_up()
            return _accept(listener)
    finally:
        lock.release()


def _tell_spawner() -> None:
    """Say on standard output that we listen; from then on whatever is printed goes to the log."""
    os.write(1, b"listening\n")
    os.dup2(2, 1)


@contextmanager
def _listening(path: str) -> Iterator[socket.socket]:
    """A listening socket that nobody can find any more once the block is left."""
    Path(path).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        Path(path).chmod(0o600)
        listener.listen(8)
        try:
            yield listener
        finally:
            Path(path).unlink(missing_ok=True)


def _accept(listener: socket.socket) -> MessageConnection | None:
    """The first connection of our own user; None once standard input ends, as our spawner has died."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if listener not in ready:
            return None
        wire = MessageConnection(listener.accept()[0])
        if wire.peer()[1] == os.getuid():
            return wire
        wire.close()


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """A name for a folder that fits into the 108 bytes of a socket address, however deep it lies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
