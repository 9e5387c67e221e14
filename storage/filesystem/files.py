"""Names, hashes and syncs of files, and checks that a file is what it should be.

Files and folders under construction have a name that begins with ``.tmp-``, ``.staging-`` or ``.trash-`` and
holds the token of their process, so that ``presence.remove_abandoned`` can delete those of dead processes.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from errors import ArtefactCorrupt, DiskFull, StorageFailed
from storage.filesystem.process_token import own_token

_DISK_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CHUNK_BYTES: Final = 1 << 20


class FileSignature(NamedTuple):
    """Size and modification time of a file; they change when somebody writes to it."""

    size: int
    mtime_ns: int


# The signature of a file that does not exist.
NO_FILE: Final = FileSignature(-1, 0)


@contextmanager
def storage_errors(path: Path | str) -> Iterator[None]:
    """Turn an ``OSError`` into an error that names the file.

    Raises
    ------
    DiskFull
        No space, no quota, or over the largest file size.
    StorageFailed
        Any other refusal of the operating system.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _DISK_FULL:
            raise DiskFull(f"No space left for {path} ({reason}). Free some space and try again.") from error
        raise StorageFailed(f"{path}: {reason}") from error


def stat_signature(path: Path) -> FileSignature:
    """Return the signature of a file, ``NO_FILE`` where there is none."""
    with storage_errors(path):
        try:
            status = path.lstat()
        except FileNotFoundError:
            return NO_FILE
    return FileSignature(status.st_size, status.st_mtime_ns)


def temporary_path(parent: Path, kind: str = "tmp", label: str = "") -> Path:
    """Return a free name in ``parent``: ``.<kind>-<token of the process>-<label or random>``."""
    return parent / f".{kind}-{own_token()}-{label or secrets.token_hex(6)}"


def make_folders(folder: Path) -> None:
    """Make a folder and its parents, each with a durable name. Costs one ``stat`` where it exists.

    Raises
    ------
    DiskFull, StorageFailed
        Some of them may have been made.
    """
    if folder.is_dir():
        return
    make_folders(folder.parent)
    with storage_errors(folder):
        folder.mkdir(exist_ok=True)
    sync_dir(folder.parent)


def sync_dir(path: Path) -> None:
    """Make the names in a folder durable."""
    _sync(path, os.O_DIRECTORY)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    _sync(path, os.O_NOFOLLOW)


def _sync(path: Path, flags: int) -> None:
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make a folder durable: every file in it, then every folder, the innermost first.

    Raises
    ------
    ArtefactCorrupt
        It holds something other than files and folders.
    """
    for name in list_regular_files(folder):
        sync_file(folder / name)
    sync_folders(folder)


def sync_folders(folder: Path) -> None:
    """Make every name below ``folder`` durable, for files that are durable already."""
    for root, _, _ in os.walk(folder, topdown=False):
        sync_dir(Path(root))


def sync_file_systems(paths: Iterable[Path]) -> None:
    """Make everything durable that was written to the file systems of these existing paths.

    Raises
    ------
    DiskFull, StorageFailed
        The disk has refused something since the last sync: nothing written since may be relied on.
    """
    synced: set[int] = set()
    for path in paths:
        with storage_errors(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                device = os.fstat(descriptor).st_dev
                if device not in synced:
                    _sync_file_system(descriptor)
                    synced.add(device)
            finally:
                os.close(descriptor)


def _sync_file_system(descriptor: int) -> None:
    """Call syncfs(2): unlike ``os.sync`` it reports what the disk refused."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.syncfs(ctypes.c_int(descriptor)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _open_regular(path: Path) -> int:
    """Open a regular file; follow no link, and do not wait for the writer of a FIFO."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise ArtefactCorrupt(f"{path} is not a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArtefactCorrupt(f"{path} is not a regular file")
    return descriptor


def read_regular_file(path: Path, limit: int | None = None) -> bytes:
    """Read a regular file, or its first ``limit`` bytes.

    Raises
    ------
    ArtefactCorrupt
        It is a link, a FIFO, a device or a folder.
    StorageFailed
        It cannot be read.
    """
    with storage_errors(path), os.fdopen(_open_regular(path), "rb") as file:
        return file.read(-1 if limit is None else limit)


def hash_file(path: Path) -> tuple[int, str]:
    """Return the size in bytes and the sha256 (hex) of a regular file.

    Raises
    ------
    ArtefactCorrupt, StorageFailed
        As :func:`read_regular_file`.
    """
    with storage_errors(path), os.fdopen(_open_regular(path), "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a regular file in parts."""
    with storage_errors(path), os.fdopen(_open_regular(path), "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def remove_tree(path: Path) -> None:
    """Delete a folder or a file if it exists.

    It is renamed first: after a kill it is whole, or gone under its name.
    """
    with storage_errors(path):
        trash = path if path.name.startswith(".trash-") else temporary_path(path.parent, "trash")
        try:
            path.rename(trash)
            mode = trash.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            shutil.rmtree(trash, ignore_errors=True)
        else:
            trash.unlink(missing_ok=True)


def list_regular_files(folder: Path) -> list[str]:
    """Return the relative names ("a/b.json") of all files below a folder, sorted. Follow and open nothing.

    Raises
    ------
    ArtefactCorrupt
        The folder itself or something in it is a link, a FIFO, a socket or a device.
    StorageFailed
        The folder cannot be listed.
    """
    with storage_errors(folder):
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise ArtefactCorrupt(f"{folder} is not a folder")
        return sorted(_walk(folder, ""))


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name
            else:
                raise ArtefactCorrupt(f"{entry.path} is neither a file nor a folder")
