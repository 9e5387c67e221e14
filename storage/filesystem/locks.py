"""Locks between processes. The death of their owner frees them at once, even while a child of it lives.

A lock is a byte of a file, and a few files hold all locks of a folder: no lock has a file that somebody could
take for a stale one and delete, and thousands of them need no more open files than one. The locks are POSIX
record locks: the kernel ties them to the process, whatever container it runs in, and a child inherits none.
Such locks are lost when the process closes *any* descriptor of the file, and they do not exclude two threads of
one process; the registry in memory handles both.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final

from errors import NotReady
from storage.filesystem.files import storage_errors

_FLOCK: Final = "hhqqi"  # l_type, l_whence, l_start, l_len, l_pid: struct flock of 64-bit Linux
_MIN_PAUSE_S: Final = 0.001
_MAX_PAUSE_S: Final = 0.05
# The kernel walks through all locks of a file: 20,000 in one file take 44 s. Sixteen files keep the walks short.
_FILES: Final = 16

# Device, inode and modification time of a file that nobody ever writes to: equal identities, equal file.
_Identity = tuple[int, int, int]


class LocksLost(NotReady):
    """The lock files were deleted or replaced, so nobody can know any more who holds which lock."""

    code = "locks_lost"

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"The lock files in {folder.parent.name}/{folder.name} were deleted or replaced while Millwright ran."
            " Nothing is changed until it is restarted"
        )


@dataclass
class _LockFile:
    """One file; its descriptor is open while this process holds a lock in it."""

    path: Path
    identity: _Identity
    guard: threading.Lock = field(default_factory=threading.Lock)
    descriptor: int | None = None
    held: set[int] = field(default_factory=set)

    def is_intact(self) -> bool:
        """Whether the file is the one that this process began with."""
        try:
            return _identify(self.path.stat()) == self.identity
        except FileNotFoundError:
            return False

    def lock(self, byte: int) -> bool:
        descriptor = self.descriptor
        if descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        is_taken = False
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
            is_taken = True
        except (BlockingIOError, PermissionError):
            pass
        finally:
            if not is_taken and self.descriptor is None:
                os.close(descriptor)
        if is_taken:
            self.descriptor = descriptor
            self.held.add(byte)
        return is_taken

    def unlock(self, byte: int) -> None:
        descriptor = self.descriptor
        assert descriptor is not None
        self.held.remove(byte)
        if self.held:
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
        else:
            self.descriptor = None
            with suppress(OSError):  # it is closed, and its locks are free, whatever the disk says
                os.close(descriptor)

    def is_locked_elsewhere(self, byte: int) -> bool:
        descriptor = self.descriptor
        if descriptor is None:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
            answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, request)
        finally:
            if self.descriptor is None:
                os.close(descriptor)
        return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


class _Registry:
    """The lock files of this process, by folder; a forked child has them, but holds no lock."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._folders: dict[str, list[_LockFile]] = {}
        self._owned: dict[tuple[str, int], threading.Lock] = {}
        os.register_at_fork(after_in_child=self._start_anew)

    def _start_anew(self) -> None:
        self._guard = threading.Lock()
        self._owned = {}
        for files in self._folders.values():
            files[:] = [_LockFile(file.path, file.identity) for file in files]

    def owned(self, folder: str, byte: int) -> threading.Lock:
        """Return what the thread of this process holds that has this lock."""
        with self._guard:
            return self._owned.setdefault((folder, byte), threading.Lock())

    def file(self, folder: str, byte: int) -> _LockFile:
        """Return the file of a lock; the first call makes those of the folder."""
        with self._guard:
            if folder not in self._folders:
                self._folders[folder] = _make_files(Path(folder))
            return self._folders[folder][byte % _FILES]

    def is_known(self, folder: str) -> bool:
        """Return whether this process has used locks of the folder."""
        with self._guard:
            return folder in self._folders

    def is_intact(self, folder: str) -> bool:
        """Return whether every file of a folder is still the one that this process began with."""
        with self._guard:
            return all(file.is_intact() for file in self._folders.get(folder, ()))


def _make_files(folder: Path) -> list[_LockFile]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(_FILES):
        path = folder / f"{number:02}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        files.append(_LockFile(path, _identify(os.fstat(descriptor))))
        os.close(descriptor)  # this process holds no lock in it yet
    return files


def _identify(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_mtime_ns


_registry = _Registry()


class ProcessLock:
    """A lock held by one thread of one process.

    Parameters
    ----------
    path : Path
        The folder of the lock files and, as its last part, the name of the lock; there is no file of that name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = os.path.realpath(path.parent)
        # Two names of 62 bits are never the same in practice.
        digest = hashlib.blake2b(path.name.encode(), digest_size=8).digest()
        self._byte = int.from_bytes(digest) >> 2

    def acquire(self, timeout_s: float | None = 0.0) -> bool:
        """Try to take the lock for ``timeout_s`` seconds (None: without limit); return whether it was taken.

        Raises
        ------
        LocksLost
            The lock files were deleted while this process ran.
        StorageFailed, DiskFull
            The lock files cannot be opened, or made.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        owned = _registry.owned(self._folder, self._byte)
        if not owned.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        try:
            is_taken = self._poll(deadline)
        except BaseException:
            owned.release()
            raise
        if not is_taken:
            owned.release()
        return is_taken

    def release(self) -> None:
        """Release the lock; only its owner may."""
        file = _registry.file(self._folder, self._byte)
        with file.guard:
            if self._byte not in file.held:
                raise RuntimeError(f"{self.path} is not locked by this process")
            file.unlock(self._byte)
        _registry.owned(self._folder, self._byte).release()

    def is_held(self) -> bool:
        """Return whether a living process holds the lock, without taking it.

        Where the lock files were deleted that cannot be known, and the answer is yes.
        """
        if not _registry.is_known(self._folder) and not self.path.parent.exists():
            return False
        with storage_errors(self.path):
            file = _registry.file(self._folder, self._byte)
            with file.guard:
                if self._byte in file.held or not file.is_intact():
                    return True
                return file.is_locked_elsewhere(self._byte)

    def is_intact(self) -> bool:
        """Return whether the files of this lock's folder are those that this process began with."""
        return _registry.is_intact(self._folder)

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
        with storage_errors(self.path):
            file = _registry.file(self._folder, self._byte)
            with file.guard:
                if not file.is_intact():
                    raise LocksLost(self.path.parent)
                is_taken = file.lock(self._byte)
                if is_taken and not file.is_intact():  # deleted between the check and the lock
                    file.unlock(self._byte)
                    raise LocksLost(self.path.parent)
                return is_taken


def store_lock(run_dir: Path) -> ProcessLock:
    """Return the lock of backups and commits; take it with ``Journal.hold_store_lock``."""
    return ProcessLock(run_dir / "locks" / "store")


def training_lock(run_dir: Path, path: str) -> ProcessLock:
    """Return the lock of one model's training.

    Parameters
    ----------
    path : str
        The model's path, ``tenant/family/name``.
    """
    return ProcessLock(run_dir / "locks" / f"train {path}".replace("/", " "))
