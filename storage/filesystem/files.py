"""Atomic writes, hashes and copies of files, and checks that a file is what it should be.

Files and folders under construction have a name that begins with ``.tmp-``, ``.staging-`` or ``.trash-`` and
holds the number and start time of their process, so that :func:`remove_abandoned` can delete those of dead
processes.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from errors import ArtefactCorrupt, DiskFull, StorageFailed
from storage.filesystem import process_identity

_DISK_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CANNOT_LINK: Final = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
_CHUNK_BYTES: Final = 1 << 20
_TEMPORARY_NAME: Final = re.compile(r"\.(?:tmp|trash|staging)-(\d+)-(\d+)-.*", re.ASCII | re.DOTALL)


class FileSignature(NamedTuple):
    """Size and modification time of a file; they change when somebody writes to it."""

    size: int
    mtime_ns: int


NO_FILE: Final = FileSignature(-1, 0)
"""The signature of a file that does not exist."""


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
    """Return a free name in ``parent``: ``.<kind>-<pid>-<start>-<label or random>``."""
    owner = f"{os.getpid()}-{process_identity.own_start_time()}"
    return parent / f".{kind}-{owner}-{label or secrets.token_hex(6)}"


def remove_abandoned(folder: Path) -> int:
    """Delete temporary files and folders of dead processes directly in ``folder``; return how many."""
    abandoned = [entry for entry in folder.iterdir() if _is_abandoned(entry.name)] if folder.is_dir() else []
    for entry in abandoned:
        remove_tree(entry)
    return len(abandoned)


def _is_abandoned(name: str) -> bool:
    owner = _TEMPORARY_NAME.fullmatch(name)
    return owner is not None and not process_identity.is_alive(int(owner[1]), int(owner[2]))


def write_atomic(path: Path, data: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Replace a file's content: a reader sees the old bytes or the new ones, also after a power cut.

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
    part = temporary_path(path.parent)
    with storage_errors(path):
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            with suppress(OSError):
                part.unlink()
            raise
        if durable:
            sync_dir(path.parent)


def write_json(path: Path, value: object, *, durable: bool = True) -> None:
    """Write JSON atomically, as :func:`write_atomic` does.

    Raises
    ------
    ValueError, TypeError
        The value is not JSON, or holds NaN or an infinite number.
    DiskFull, StorageFailed
        The old content is still there.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text.encode("utf-8") + b"\n", durable=durable)


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


def copy_and_hash(source: Path, target: Path, *, durable: bool = True) -> tuple[int, str]:
    """Copy a regular file to a new name; return the size and sha256 of the bytes that were copied.

    Raises
    ------
    DiskFull, StorageFailed, ArtefactCorrupt
        A part of the target may exist.
    """
    digest, size = hashlib.sha256(), 0
    with storage_errors(target), target.open("xb") as copy:
        for chunk in _read_chunks(source):
            digest.update(chunk)
            size += copy.write(chunk)
        copy.flush()
        if durable:
            os.fsync(copy.fileno())
    return size, digest.hexdigest()


def _read_chunks(path: Path) -> Iterator[bytes]:
    """Yield a file in parts. Its own function, so that an error names the source, not the target."""
    with storage_errors(path), os.fdopen(_open_regular(path), "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def link_or_copy(source: Path, target: Path) -> None:
    """Give an immutable file a second name, or copy it where the file system cannot link.

    Raises
    ------
    DiskFull, StorageFailed, ArtefactCorrupt
        As :func:`copy_and_hash`.
    """
    with storage_errors(target):
        try:
            os.link(source, target, follow_symlinks=False)
            return
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
    copy_and_hash(source, target)


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
