"""Append-only cache of computed rows by content hash.

Any number of processes read while one appends. Each row carries a checksum, so that a tail torn by a crash,
a hole left by the file system or a flipped bit is a missing row, never a wrong one. The file may be deleted
at any time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from storage.filesystem.checked_write import write_atomic

Keys = NDArray[np.uint64]
RowT = TypeVar("RowT", bound=np.generic)

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
_MURMUR_MIX = np.uint64(0xFF51AFD7ED558CCD)


def hash_texts(texts: Iterable[str]) -> Keys:
    """Return the first eight bytes of BLAKE2 of each text."""
    blake = hashlib.blake2b
    digests = [blake(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


class RowCache(Generic[RowT]):
    """Rows of one dtype by 64-bit keys; ``RowT`` is the type of the numbers, or of the records, in them.

    Parameters
    ----------
    path : Path
        The file; its name should carry whatever the rows depend on besides their keys.
    dtype : dtype
        Of one row; its size must be a multiple of 8 bytes.
    max_rows : int, optional
        A file that would grow beyond it is replaced by one with the rows of the call; by default none is
        lost.
    """

    def __init__(self, path: Path, dtype: np.dtype[np.generic], max_rows: int | None = None) -> None:
        if dtype.itemsize % 8:
            raise ValueError(f"rows of {dtype.itemsize} bytes: their size must be a multiple of 8")
        self._path = path
        self._dtype = dtype
        self._max_rows = max_rows
        self._stored = np.dtype([("key", np.uint64), ("check", np.uint64), ("row", dtype)])

    def complete(self, keys: Keys, compute: Callable[[NDArray[np.intp]], NDArray[RowT]]) -> NDArray[RowT]:
        """Return the rows of all keys; missing ones are computed, given their positions, and stored."""
        rows, present = self.read(keys)
        missing = np.flatnonzero(~present)
        if len(missing):
            computed = compute(missing)
            rows[missing] = computed
            if self._max_rows is not None and len(self._map()) + len(missing) > self._max_rows:
                # Readers of the old file keep it open and are not disturbed.
                with self._lock():
                    write_atomic(self._path, self._pack(keys, rows), durable=False)
            else:
                self.append(keys[missing], computed)
        return rows

    def read(self, keys: Keys) -> tuple[NDArray[RowT], NDArray[np.bool_]]:
        """Return rows by key, and which of them are present; the others are zero."""
        rows: NDArray[RowT] = np.zeros(len(keys), self._dtype)
        stored = self._map()
        if not len(stored) or not len(keys):
            return rows, np.zeros(len(keys), bool)
        stored_keys = np.array(stored["key"])
        order = np.argsort(stored_keys, kind="stable")
        position = np.searchsorted(stored_keys, keys, sorter=order)
        position = order[np.minimum(position, len(order) - 1)]
        present = stored_keys[position] == keys
        matches = stored[position[present]]
        valid = matches["check"] == _checksums(matches["key"], matches["row"])
        present[np.flatnonzero(present)[~valid]] = False
        rows[present] = matches["row"][valid]
        return rows, present

    def append(self, keys: Keys, rows: NDArray[RowT]) -> None:
        """Add rows at the end, cutting off a torn tail first."""
        content = self._pack(keys, rows)
        with self._lock(), self._path.open("ab") as file:
            whole = file.tell() - file.tell() % self._stored.itemsize
            file.truncate(whole)
            file.seek(whole)
            file.write(content)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other threads and processes from writing; the lock's file may be deleted with the cache."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _pack(self, keys: Keys, rows: NDArray[RowT]) -> bytes:
        """Return rows as they are stored, each with its key and its checksum."""
        packed = np.zeros(len(keys), self._stored)
        packed["key"], packed["row"] = keys, rows
        packed["check"] = _checksums(keys, packed["row"])
        return packed.tobytes()

    def _map(self) -> NDArray[np.void]:
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size // self._stored.itemsize
                if size:
                    return np.memmap(file, self._stored, "r", shape=(size,))
        except FileNotFoundError:
            pass
        return np.zeros(0, self._stored)


def _checksums(keys: Keys, rows: NDArray[np.generic]) -> Keys:
    """Return a checksum of each row that depends on its key, on every word and on the words' order."""
    width = rows.dtype.itemsize * int(np.prod(rows.shape[1:])) // 8
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(len(rows), width)
    factors = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint64) * _GOLDEN_RATIO
    products = (words ^ (words >> np.uint64(29))) * (factors | np.uint64(1))
    checksums: Keys = (products.sum(axis=1, dtype=np.uint64) ^ keys) * _MURMUR_MIX + _GOLDEN_RATIO
    return checksums
