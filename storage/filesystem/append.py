"""Appending to a file so that it can be done twice: the old size and the new bytes say where it stands."""

from __future__ import annotations

import os
from pathlib import Path

from errors import Conflict, StorageFailed
from storage.filesystem.files import FileSignature, stat_signature, storage_errors, sync_dir


def check_append(path: Path, old_size: int) -> None:
    """Make sure that a file can be written to and still has the size an append was made for (0 if absent).

    Raises
    ------
    Conflict
        It has another size: somebody else wrote to it.
    StorageFailed
        It is a link, or may not be written to.
    """
    size = 0
    if os.path.lexists(path):
        with storage_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            size = os.fstat(descriptor).st_size
            os.close(descriptor)
    if size != old_size:
        raise _changed(path)


def check_unchanged(path: Path, signature: FileSignature) -> None:
    """Check that a file that will be replaced still has this signature.

    Raises
    ------
    Conflict
        Somebody else wrote to it.
    """
    if stat_signature(path) != signature:
        raise _changed(path)


def _changed(path: Path) -> Conflict:
    return Conflict(f"{path.name} was changed by hand meanwhile. Nothing was stored; please try again.")


def append_bytes(path: Path, old_size: int, data: bytes) -> None:
    """Make ``data`` follow the first ``old_size`` bytes of a file, durably, whether or not it already does.

    The data is written even where it seems to be there: after a failed ``fsync`` only the memory may hold it.
    Bytes before ``old_size`` are never touched.

    Raises
    ------
    StorageFailed
        The file is shorter than it was, or something else stands where the data belongs.
    DiskFull
        The file may end in a part of the data; doing it again repairs that.
    """
    with storage_errors(path):
        created = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            _check_place(descriptor, path, old_size, data)
            _write(descriptor, data, old_size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if created:
            sync_dir(path.parent)


def _check_place(descriptor: int, path: Path, old_size: int, data: bytes) -> None:
    """Refuse where something else stands than the data, a part of it, or the zeros a power cut left."""
    size = os.fstat(descriptor).st_size
    if size < old_size:
        raise StorageFailed(f"{path} has {size} bytes where {old_size} were: it was changed by hand")
    found = _read(descriptor, min(len(data), size - old_size), old_size)
    torn = size <= old_size + len(data) and data.startswith(found.rstrip(b"\0"))
    if found != data and not torn:
        raise StorageFailed(f"{path} was changed by hand while a commit was unfinished")


def _read(descriptor: int, length: int, offset: int) -> bytes:
    data = b""
    while len(data) < length and (chunk := os.pread(descriptor, length - len(data), offset + len(data))):
        data += chunk
    return data


def _write(descriptor: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written
