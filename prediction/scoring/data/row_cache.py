"""A file of computed rows, keyed by content and only appended to: nothing is computed twice.

Any number of processes read while one appends. A row carries a checksum, so that a tail torn by a crash, a
hole left by the file system or a flipped bit is a row that is not there, never a wrong one. The file may be
deleted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.filesystem.files import write_atomic
from storage.filesystem.locks import ProcessLock

Keys = NDArray[np.uint64]
_SEED = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)


class RowCache:
    """Rows of one dtype by 64-bit keys.

    Parameters
    ----------
    path : Path
        The file; its name should carry whatever the rows depend on besides their keys.
    kind : dtype
        Of one row; its size must be a multiple of 8 bytes.
    most_rows : int, optional
        A file that would grow beyond so many rows begins anew with those asked for; without it, none is lost.
    """

    def __init__(self, path: Path, kind: np.dtype[Any], most_rows: int | None = None) -> None:
        if kind.itemsize % 8:
            raise ValueError(f"rows of {kind.itemsize} bytes: their size must be a multiple of 8")
        self._path = path
        self._kind = kind
        self._most_rows = most_rows
        self._stored = np.dtype([("key", np.uint64), ("check", np.uint64), ("row", kind)])

    def complete(self, keys: Keys, make: Callable[[NDArray[np.intp]], NDArray[Any]]) -> NDArray[Any]:
        """The rows of all keys; those that are not there are made, given their positions, and kept."""
        rows, known = self.read(keys)
        missing = np.flatnonzero(~known)
        if len(missing):
            made = make(missing)
            rows[missing] = made
            if self._most_rows is not None and len(self._mapped()) + len(missing) > self._most_rows:
                self._begin_anew(keys, rows)
            else:
                self.append(keys[missing], made)
        return rows

    def read(self, keys: Keys) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Rows by key, and which of them are there; the others are zero."""
        rows = np.zeros(len(keys), self._kind)
        stored = self._mapped()
        if not len(stored) or not len(keys):
            return rows, np.zeros(len(keys), bool)
        known_keys = np.array(stored["key"])
        order = np.argsort(known_keys, kind="stable")
        place = np.searchsorted(known_keys, keys, sorter=order)
        place = order[np.minimum(place, len(order) - 1)]
        known = known_keys[place] == keys
        found = stored[place[known]]
        sound = found["check"] == _checks(found["key"], found["row"])
        known[np.flatnonzero(known)[~sound]] = False
        rows[known] = found["row"][sound]
        return rows, known

    def append(self, keys: Keys, rows: NDArray[Any]) -> None:
        """Add rows at the end; a torn tail is cut off first."""
        added = self._packed(keys, rows)
        with self._locked(), self._path.open("ab") as file:
            whole = file.tell() - file.tell() % self._stored.itemsize
            file.truncate(whole)
            file.seek(whole)
            file.write(added)

    def _begin_anew(self, keys: Keys, rows: NDArray[Any]) -> None:
        """Put another file in the place of this one; who reads the old one goes on doing so."""
        with self._locked():
            write_atomic(self._path, self._packed(keys, rows), durable=False)

    def _locked(self) -> ProcessLock:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return ProcessLock(self._path.with_suffix(".lock"))

    def _packed(self, keys: Keys, rows: NDArray[Any]) -> bytes:
        """Rows as they are stored, each with its key and its checksum."""
        packed = np.zeros(len(keys), self._stored)
        packed["key"], packed["row"] = keys, rows
        packed["check"] = _checks(keys, packed["row"])
        return packed.tobytes()

    def _mapped(self) -> NDArray[np.void]:
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size // self._stored.itemsize
                if size:
                    return np.memmap(file, self._stored, "r", shape=(size,))
        except FileNotFoundError:
            pass
        return np.zeros(0, self._stored)


def _checks(keys: Keys, rows: NDArray[Any]) -> Keys:
    """A checksum of each row that depends on its key, on every word and on the words' places."""
    width = rows.dtype.itemsize * int(np.prod(rows.shape[1:])) // 8
    words = np.ascontiguousarray(rows).view(np.uint64).reshape(len(rows), width)
    places = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint64) * _SEED
    mixed = (words ^ (words >> np.uint64(29))) * (places | np.uint64(1))
    summed: Keys = (mixed.sum(axis=1, dtype=np.uint64) ^ keys) * _MIX + _SEED
    return summed
