"""Locks between processes that their owner's death frees at once, also while a child of the owner lives.

They are POSIX record locks: the kernel ties them to the process, so a forked or spawned child inherits none.
Such a lock vanishes when the process closes *any* descriptor of the file, and it does not keep two threads of
one process apart; a registry in memory, one entry a file, takes care of both.
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
_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.05
_SPARE_DESCRIPTORS: Final = 512


class _Claim:
    """What this process knows of one lock file."""

    def __init__(self) -> None:
        self.owned = threading.Lock()  # held by the thread that owns the lock
        self.descriptors = threading.Lock()  # held while a descriptor of the file is opened or closed
        self.descriptor: int | None = None


class _Registry:
    """The claims of this process, one a file; a forked child starts with none."""

    def __init__(self) -> None:
        self.reset()
        os.register_at_fork(after_in_child=self.reset)

    def reset(self) -> None:
        self._claims: dict[str, _Claim] = {}
        self._guard = threading.Lock()

    def claim(self, file: str) -> _Claim:
        with self._guard:
            return self._claims.setdefault(file, _Claim())


_registry = _Registry()


class ProcessLock:
    """A lock that one thread of one process holds, named by a file.

    The file may be created by whoever comes first and is never deleted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.path.realpath(path)

    @property
    def _claim(self) -> _Claim:
        return _registry.claim(self._file)

    def acquire(self, timeout_s: float | None = 0.0) -> bool:
        """Try to take the lock for ``timeout_s`` seconds; None waits for ever.

        Raises
        ------
        StorageFailed
            The lock file cannot be opened.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if not self._claim.owned.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        try:
            taken = self._take_by(deadline)
        except BaseException:
            self._claim.owned.release()
            raise
        if not taken:
            self._claim.owned.release()
        return taken

    def release(self) -> None:
        """Let go of the lock; only its owner may."""
        with self._claim.descriptors:
            if self._claim.descriptor is None:
                raise RuntimeError(f"{self.path} is not locked by this process")
            os.close(self._claim.descriptor)
            self._claim.descriptor = None
        self._claim.owned.release()

    def is_held(self) -> bool:
        """Whether a living process holds the lock, asked without taking it."""
        with self._claim.descriptors:
            if self._claim.descriptor is not None:
                return True
            if not self.path.exists():
                return False
            with storage_errors(self.path):
                descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
                    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, question)
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

    def _take_by(self, deadline: float | None) -> bool:
        pause = _FIRST_PAUSE_S
        while not self._taken():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        return True

    def _taken(self) -> bool:
        with self._claim.descriptors, storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                taken = _locked(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            if taken:
                self._claim.descriptor = descriptor
            else:
                os.close(descriptor)
            return taken


def _locked(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def store_lock(run_dir: Path) -> ProcessLock:
    """The one lock under which backups and commits happen; take it through ``Journal.locked``."""
    return ProcessLock(run_dir / "locks" / "store.lock")


def training_lock(run_dir: Path, path: str) -> ProcessLock:
    """The lock of one model's training.

    Parameters
    ----------
    path : str
        The model's path, ``tenant/family/name``.
    """
    return ProcessLock(run_dir / "locks" / f"train-{path.replace('/', '--')}.lock")


def max_locks() -> float:
    """How many locks a process can hold at once: each of them is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if hard == resource.RLIM_INFINITY else max(1, hard - _SPARE_DESCRIPTORS)


def raise_lock_limit(count: int) -> None:
    """Make room for so many locks beside everything this process has open; call it before taking many.

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
