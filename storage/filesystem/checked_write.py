"""Writing files so that a refused write can never go unnoticed. Every file of a home folder is written here.

Libraries write through streams of their own, and some of them ignore an error of the last flush: with a full
disk ``np.save`` loses the end of an array without an exception. Everything here writes through ``os.write``,
reads the file back and compares size and hash. What a library can only write by itself goes into a buffer
first. Only ``append`` writes elsewhere, and reads back as well.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from errors import StorageFailed
from storage.filesystem.files import hash_file, read_chunks, storage_errors, sync_dir, temporary_path

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from numpy.typing import ArrayLike

_CANNOT_LINK: Final = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}


class CheckedFile(io.RawIOBase):
    """A file that is written from beginning to end; see :func:`checked_writer`.

    It has no ``fileno``, so that NumPy writes through :meth:`write` and not through the C library.
    """

    def __init__(self, path: Path, mode: int = 0o644, *, exclusive: bool = False) -> None:
        super().__init__()
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if exclusive else os.O_TRUNC)
        self._descriptor = os.open(path, flags, mode)
        self._digest = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write all of ``data``, which ``os.write`` alone does not promise."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        self._digest.update(rest)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._size += size
        return size

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def finish(self, *, durable: bool = False) -> tuple[int, str]:
        """Close the file, synced where asked, read it back and compare; return its size and sha256.

        Raises
        ------
        OSError
            The disk refused something that was written before.
        StorageFailed
            The disk returns other bytes than were written.
        """
        if durable:
            os.fsync(self._descriptor)
        self.close()
        written = self._size, self._digest.hexdigest()
        if hash_file(self.path) != written:
            raise StorageFailed(f"{self.path}: the disk returned other bytes than were written")
        return written


@contextmanager
def checked_writer(path: Path, mode: int = 0o644) -> Iterator[CheckedFile]:
    """Open a file for writing; when the block ends, it was read back.

    It is not synced: whoever publishes the folder syncs it as a whole, which takes a tenth of the time of one
    sync per file.

    Raises
    ------
    DiskFull, StorageFailed
        A part of the file may exist.
    """
    with storage_errors(path), closing(CheckedFile(path, mode)) as file:
        yield file
        file.finish()


def write_checked(path: Path, data: ReadableBuffer) -> None:
    """Write bytes; as :func:`checked_writer`."""
    with checked_writer(path) as file:
        file.write(data)


def save_array(path: Path, array: ArrayLike) -> None:
    """Write a ``.npy`` file; as :func:`checked_writer`."""
    import numpy as np

    with checked_writer(path) as file:
        np.save(file, array, allow_pickle=False)


def save_arrays(path: Path, **arrays: ArrayLike) -> None:
    """Write a ``.npz`` file; as :func:`checked_writer`."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_checked(path, buffer.getbuffer())


def save_json(path: Path, value: object) -> None:
    """Write JSON for programs and people; as :func:`checked_writer`.

    Raises
    ------
    ValueError, TypeError
        The value is not JSON, or holds NaN or an infinite number.
    """
    write_checked(path, json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1).encode())


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
            with closing(CheckedFile(part, mode, exclusive=True)) as file:
                file.write(data)
                file.finish(durable=durable)
            part.replace(path)
        except (OSError, StorageFailed):
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


def copy_and_hash(source: Path, target: Path, *, durable: bool = True) -> tuple[int, str]:
    """Copy a regular file to a new name; return the size and sha256 of the bytes that were copied.

    Raises
    ------
    DiskFull, StorageFailed, ArtefactCorrupt
        A part of the target may exist.
    """
    with storage_errors(target), closing(CheckedFile(target, exclusive=True)) as copy:
        for chunk in read_chunks(source):
            copy.write(chunk)
        return copy.finish(durable=durable)


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
