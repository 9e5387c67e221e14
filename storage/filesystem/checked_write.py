"""Writing artefacts and data files so that a refused write can never go unnoticed.

``np.save`` and ``ndarray.tofile`` write to real files through a stream of the C library and ignore the error
of its last flush: with a full disk the end of an array is lost without an exception. Everything here writes
through ``os.write``, syncs, reads the file back and compares hashes.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from errors import StorageFailed
from storage.filesystem.files import hash_file, storage_errors


class CheckedFile(io.RawIOBase):
    """A new file that is written from beginning to end; see :func:`checked_writer`.

    It has no ``fileno``, so that NumPy writes through :meth:`write` and not through the C library.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._digest = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
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

    def finish(self) -> None:
        """Sync and close the file, read it back and compare.

        Raises
        ------
        OSError
            The disk refused something that was written before.
        StorageFailed
            The disk returns other bytes than were written.
        """
        os.fsync(self._descriptor)
        self.close()
        if hash_file(self.path) != (self._size, self._digest.hexdigest()):
            raise StorageFailed(f"{self.path}: the disk returned other bytes than were written")


@contextmanager
def checked_writer(path: Path) -> Iterator[CheckedFile]:
    """Open a file for writing; when the block ends, the file is durable and was read back.

    Raises
    ------
    DiskFull, StorageFailed
        A part of the file may exist.
    """
    with storage_errors(path):
        file = CheckedFile(path)
        try:
            yield file
            file.finish()
        finally:
            file.close()


def save_array(path: Path, array: ArrayLike) -> None:
    """Write a ``.npy`` file; as :func:`checked_writer`."""
    with checked_writer(path) as file:
        np.save(file, array, allow_pickle=False)


def save_arrays(path: Path, **arrays: ArrayLike) -> None:
    """Write a ``.npz`` file; as :func:`checked_writer`."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_checked(path, buffer.getbuffer())


def write_checked(path: Path, data: bytes | memoryview | NDArray[Any]) -> None:
    """Write bytes; as :func:`checked_writer`."""
    with checked_writer(path) as file:
        file.write(data)
