"""Fitted weights kept by what they were fitted on: a judged recipe on unchanged rows is not fitted again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from prediction.scoring.features.point_in_time import Floats
from storage.filesystem.files import write_atomic

MAX_ENTRIES = 24
_DIGEST = 32


class WeightsCache:
    """Arrays of float32 by name, in a folder that may be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, shape: tuple[int, ...], make: Callable[[], Floats]) -> Floats:
        """The array of that name, made and kept where it is not there, or not sound."""
        path = self._folder / f"{name}.fit"
        kept = self._read(path, shape)
        if kept is None:
            kept = np.ascontiguousarray(make(), np.float32)
            content = kept.tobytes()
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, hashlib.sha256(content).digest() + content)
            self._forget_oldest()
        return kept

    def _read(self, path: Path, shape: tuple[int, ...]) -> Floats | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        digest, body = content[:_DIGEST], content[_DIGEST:]
        if digest != hashlib.sha256(body).digest() or len(body) != 4 * int(np.prod(shape)):
            return None
        with suppress(OSError):  # a folder that may only be read
            os.utime(path)  # what is used is not the oldest
        return np.frombuffer(body, np.float32).reshape(shape)

    def _forget_oldest(self) -> None:
        fits = sorted(self._folder.glob("*.fit"), key=lambda path: path.stat().st_mtime_ns)
        for path in fits[:-MAX_ENTRIES]:
            with suppress(FileNotFoundError):
                path.unlink()
