"""One warm child process per role and server: it has imported what a session needs and waits for an owner.

A cold process imports for one to two seconds. So a warm one waits on a unix socket in the run folder, where
any worker of the server may connect to it: it serves one owner, then it exits. The lock file beside the socket
ensures that there is at most one, whoever started it.
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
    """Return the lock that the warm process of a role holds while it waits."""
    return ProcessLock(run_dir / "locks" / f"spare {role}")


def connect(run_dir: Path, role: str) -> MessageConnection | None:
    """Connect to the warm process of a role; return None if none is waiting."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_path(run_dir) as folder:
            client.connect(f"{folder}/spare-{role}.sock")
    except OSError:
        client.close()
        return None
    connection = MessageConnection(client)
    # Another user of this machine may have put a socket there.
    if connection.peer()[1] != os.getuid():
        connection.close()
        return None
    return connection


def wait_for_owner(run_dir: Path, role: str, warm_up: Callable[[], None]) -> MessageConnection | None:
    """Wait as the warm process of a role until an owner connects.

    Returns
    -------
    MessageConnection or None
        The one connection that this process serves; None if another warm process waits already, or if the
        process that started this one is gone.
    """
    lock = warm_process_lock(run_dir, role)
    if not lock.acquire():
        return None
    try:
        with _short_path(run_dir) as folder, _listen(f"{folder}/spare-{role}.sock") as listener:
            # Tell the process that started this one; from now on whatever is printed goes to the log.
            os.write(1, b"listening\n")
            os.dup2(2, 1)
            warm_up()
            return _accept(listener)
    finally:
        lock.release()


@contextmanager
def _listen(path: str) -> Iterator[socket.socket]:
    """Open a listening socket whose name is removed when the block ends."""
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
    """Return the first connection of our own user; None when stdin ends, because our parent died."""
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if listener not in ready:
            return None
        connection = MessageConnection(listener.accept()[0])
        if connection.peer()[1] == os.getuid():
            return connection
        connection.close()


@contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """Give a folder a name that fits into the 108 bytes of a socket address, however deep the folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
