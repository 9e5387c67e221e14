"""Idempotent appends: each records the expected file size, so replaying it after a crash is safe."""

from __future__ import annotations

import os
from pathlib import Path

from errors import Conflict, StorageFailed
from storage.filesystem.files import FileSignature, stat_signature, storage_errors, sync_dir


def check_append(path: Path, old_size: int) -> None:
    """Check that a file is writable and still has the size an append was made for (0 if absent).

    Raises
    ------
    Conflict
        The size differs: somebody else wrote to the file.
    StorageFailed
        The file is a link or not writable.
    """
    size = 0
    if os.path.lexists(path):
        with storage_errors(path):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            size = os.fstat(descriptor).st_size
            os.close(descriptor)
    if size != old_size:
        raise _conflict(path)


def check_unchanged(path: Path, signature: FileSignature) -> None:
    """Check that a file about to be replaced is still the one its replacement was made from.

    Raises
    ------
    Conflict
        Somebody else wrote to the file.
    """
    if stat_signature(path) != signature:
        raise _conflict(path)


def append_bytes(path: Path, old_size: int, data: bytes) -> None:
    """Write ``data`` after the first ``old_size`` bytes of a file, durably, whether or not it is there already.

    Bytes before ``old_size`` are never touched.

    Raises
    ------
    StorageFailed
        The file is shorter than ``old_size``, other bytes stand where the data belongs, or the disk did not
        keep it.
    DiskFull
        The file may end in a part of the data; calling this again repairs that.
    """
    with storage_errors(path):
        created = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            _check_tail(descriptor, path, old_size, data)
            # Written even where the data seems to be there: after a failed fsync only the page cache may
            # hold it.
            _write(descriptor, data, old_size)
            os.fsync(descriptor)
            if _read(descriptor, len(data), old_size) != data:
                raise StorageFailed(f"{path}: the disk returned other bytes than were written")
        finally:
            os.close(descriptor)
        if created:
            sync_dir(path.parent)


def _check_tail(descriptor: int, path: Path, old_size: int, data: bytes) -> None:
    """Raise unless the file ends in the data, in a part of it, or in the zeros that a power cut left."""
    size = os.fstat(descriptor).st_size
    if size < old_size:
        raise StorageFailed(f"{path} has {size} bytes where {old_size} were: it was changed by hand")
    tail = _read(descriptor, min(len(data), size - old_size), old_size)
    torn = size <= old_size + len(data) and data.startswith(tail.rstrip(b"\0"))
    if tail != data and not torn:
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


def _conflict(path: Path) -> Conflict:
    return Conflict(f"{path.name} was changed by hand meanwhile. Nothing was stored; please try again.")
