"""Locks between processes. The death of their owner frees them at once, even while a child of it lives.

They are POSIX record locks: the kernel ties them to the process, so a child inherits none. Such a lock is
lost when the process closes *any* descriptor of the file, and it does not exclude two threads of one process;
a registry in memory, with one entry per file, handles both.
"""

from __future__ import annotations

import fcntl
import os
import resource
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from errors import StorageFailed
from storage.filesystem.files import storage_errors

_FLOCK: Final = "hhqqi"  # l_type, l_whence, l_start, l_len, l_pid: struct flock of 64-bit Linux
_MIN_PAUSE_S: Final = 0.001
_MAX_PAUSE_S: Final = 0.05
_SPARE_DESCRIPTORS: Final = 512


class _LockState:
    """The state of one lock file in this process."""

    def __init__(self) -> None:
        self.owned = threading.Lock()  # held by the thread that owns the lock
        self.descriptors = threading.Lock()  # held while a descriptor of the file is opened or closed
        self.descriptor: int | None = None


class _Registry:
    """The lock files of this process; a forked child starts with none."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        self._states: dict[str, _LockState] = {}
        self._guard = threading.Lock()

    def get(self, file: str) -> _LockState:
        with self._guard:
            return self._states.setdefault(file, _LockState())


_registry = _Registry()


class ProcessLock:
    """A lock held by one thread of one process, named by a file.

    The file is created by its first user and never deleted: another process may be waiting on it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.path.realpath(path)

    @property
    def _state(self) -> _LockState:
        return _registry.get(self._file)

    def acquire(self, timeout_s: float | None = 0.0) -> bool:
        """Try to take the lock for ``timeout_s`` seconds (None: without limit); return whether it was taken.

        Raises
        ------
        StorageFailed
            The lock file cannot be opened.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if not self._state.owned.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        try:
            is_taken = self._poll(deadline)
        except BaseException:
            self._state.owned.release()
            raise
        if not is_taken:
            self._state.owned.release()
        return is_taken

    def release(self) -> None:
        """Release the lock; only its owner may."""
        with self._state.descriptors:
            if self._state.descriptor is None:
                raise RuntimeError(f"{self.path} is not locked by this process")
            os.close(self._state.descriptor)
            self._state.descriptor = None
        self._state.owned.release()

    def is_held(self) -> bool:
        """Return whether a living process holds the lock, without taking it."""
        with self._state.descriptors:
            if self._state.descriptor is not None:
                return True
            if not self.path.exists():
                return False
            with storage_errors(self.path):
                descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, request)
                finally:
                    os.close(descriptor)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)

    def __enter__(self) -> ProcessLock:
        self.acquire(None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _poll(self, deadline: float | None) -> bool:
        pause = _MIN_PAUSE_S
        while not self._try():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE_S)
        return True

    def _try(self) -> bool:
        with self._state.descriptors, storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                is_taken = _lock(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            if is_taken:
                self._state.descriptor = descriptor
            else:
                os.close(descriptor)
            return is_taken


def _lock(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def store_lock(run_dir: Path) -> ProcessLock:
    """Return the lock of backups and commits; take it with ``Journal.hold_store_lock``."""
    return ProcessLock(run_dir / "locks" / "store.lock")


def training_lock(run_dir: Path, path: str) -> ProcessLock:
    """Return the lock of one model's training.

    Parameters
    ----------
    path : str
        The model's path, ``tenant/family/name``.
    """
    return ProcessLock(run_dir / "locks" / f"train-{path.replace('/', '--')}.lock")


def max_locks() -> float:
    """Return how many locks a process can hold at once: each of them is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if hard == resource.RLIM_INFINITY else max(1, hard - _SPARE_DESCRIPTORS)


def raise_lock_limit(count: int) -> None:
    """Raise the limit of open files for this many locks. Call it before taking many.

    Raises
    ------
    StorageFailed
        The operating system's hard limit is lower.
    """
    if count > max_locks():
        raise StorageFailed(f"{count:,} locks need as many open files: raise the hard limit (ulimit -Hn)")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sum(1 for _ in Path("/proc/self/fd").iterdir()) + count + _SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
