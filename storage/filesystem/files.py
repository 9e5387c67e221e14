"""Files that are whole or absent: atomic writes, hashes, copies, and folders taken for what they are.

Whatever is being made has a name that begins with ``.tmp-``, ``.staging-`` or ``.trash-`` and holds the
number and start time of the process that makes it: what a dead process left behind can be told and swept.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from errors import ArtefactCorrupt, DiskFull, StorageFailed
from storage.filesystem import process_identity

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINK: Final = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
_CHUNK: Final = 1 << 20
_STRAY: Final = re.compile(r"\.(?:tmp|trash|staging)-(\d+)-(\d+)-.*", re.ASCII | re.DOTALL)


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
        if error.errno in _FULL:
            raise DiskFull(f"No space left for {path} ({reason}). Free some space and try again.") from error
        raise StorageFailed(f"{path}: {reason}") from error


def temporary_path(parent: Path, kind: str = "tmp", label: str = "") -> Path:
    """A free name in ``parent`` for something in the making: ``.<kind>-<pid>-<start>-<label or random>``."""
    owner = f"{os.getpid()}-{process_identity.own_start_time()}"
    return parent / f".{kind}-{owner}-{label or secrets.token_hex(6)}"


def remove_abandoned(folder: Path) -> int:
    """Delete what dead processes were making directly in ``folder``; the number of things deleted."""
    strays = [entry for entry in folder.iterdir() if _is_stray(entry.name)] if folder.is_dir() else []
    for stray in strays:
        remove_tree(stray)
    return len(strays)


def _is_stray(name: str) -> bool:
    owner = _STRAY.fullmatch(name)
    return owner is not None and not process_identity.is_alive(int(owner[1]), int(owner[2]))


def write_atomic(path: Path, data: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Give ``path`` new content: a reader sees the old bytes or the new ones, also after a power cut.

    Parameters
    ----------
    durable : bool
        Whether to wait for the disk. Without, a power cut may lose or empty the file: only for what can be
        derived again.

    Raises
    ------
    DiskFull, StorageFailed
        The old content is still there.
    """
    made = temporary_path(path.parent)
    with storage_errors(path):
        try:
            _write_new(made, data, mode, durable)
            made.replace(path)
        except OSError:
            with suppress(OSError):
                made.unlink()
            raise
        if durable:
            sync_dir(path.parent)


def _write_new(path: Path, data: bytes, mode: int, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        if durable:
            os.fsync(file.fileno())


def make_folders(folder: Path) -> None:
    """Make a folder and those above it, each with a durable name; quick where it is there.

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
    """Make everything durable that was written so far to the file systems these existing paths lie on.

    Raises
    ------
    DiskFull, StorageFailed
        The disk has refused something since it was last asked: nothing written lately may be relied on.
    """
    seen: set[int] = set()
    for path in paths:
        with storage_errors(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                device = os.fstat(descriptor).st_dev
                if device not in seen:
                    _sync_file_system(descriptor)
                    seen.add(device)
            finally:
                os.close(descriptor)


def _sync_file_system(descriptor: int) -> None:
    """syncfs(2), which says what the disk refused; ``os.sync`` could not."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.syncfs(ctypes.c_int(descriptor)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _open_regular(path: Path) -> int:
    """A descriptor of a regular file; never follows a link, never waits for the writer of a FIFO."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArtefactCorrupt(f"{path} is not a regular file")
    return descriptor


def read_regular_file(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file, the first ``limit`` of them where one is given.

    Raises
    ------
    ArtefactCorrupt
        It is a link, a FIFO, a device or a folder.
    StorageFailed
        It cannot be read.
    """
    with storage_errors(path), os.fdopen(_open_checked(path), "rb") as file:
        return file.read(-1 if limit is None else limit)


def _open_checked(path: Path) -> int:
    try:
        return _open_regular(path)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise ArtefactCorrupt(f"{path} is not a regular file") from error
        raise


def hash_file(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 (hex) of a regular file.

    Raises
    ------
    ArtefactCorrupt, StorageFailed
        As :func:`read_regular`.
    """
    with storage_errors(path), os.fdopen(_open_checked(path), "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def copy_and_hash(source: Path, target: Path, *, durable: bool = True) -> tuple[int, str]:
    """Copy a regular file to a new name; size and sha256 of the bytes that were copied.

    Raises
    ------
    DiskFull, StorageFailed, ArtefactCorrupt
        The target may be there in part.
    """
    digest, size = hashlib.sha256(), 0
    with storage_errors(target), target.open("xb") as new:
        for chunk in _chunks(source):
            digest.update(chunk)
            size += new.write(chunk)
        new.flush()
        if durable:
            os.fsync(new.fileno())
    return size, digest.hexdigest()


def _chunks(path: Path) -> Iterator[bytes]:
    with storage_errors(path), os.fdopen(_open_checked(path), "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def link_or_copy(source: Path, target: Path) -> None:
    """Give an immutable file a second name, or copy it where the file system cannot link.

    Raises
    ------
    DiskFull, StorageFailed, ArtefactCorrupt
        As :func:`copy_hashed`.
    """
    with storage_errors(target):
        try:
            os.link(source, target, follow_symlinks=False)
            return
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
    copy_and_hash(source, target)


def remove_tree(path: Path) -> None:
    """Delete a folder or a file, wherever a kill strikes: it is renamed first, then taken apart.

    Nothing happens where there is nothing of that name.
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
    """Relative names ("a/b.json") of all files below a folder, sorted; nothing is followed or opened.

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


def _walk(folder: Path, prefix: str) -> Iterable[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                yield prefix + entry.name
            else:
                raise ArtefactCorrupt(f"{entry.path} is neither a file nor a folder")
