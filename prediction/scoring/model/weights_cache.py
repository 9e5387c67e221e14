"""Cache of fitted arrays by a name that says what they were fitted on; a fit on equal rows is not repeated."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from prediction.scoring.features.point_in_time import Floats
from storage.filesystem.checked_write import write_atomic

MAX_ENTRIES = 24
_DIGEST_BYTES = 32


class WeightsCache:
    """Arrays of float32 by name, in a folder that may be deleted at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, name: str, shape: tuple[int, ...], compute: Callable[[], Floats]) -> Floats:
        """Return the array of that name; compute and store it where it is missing or damaged."""
        path = self._folder / f"{name}.fit"
        array = self._read(path, shape)
        if array is None:
            array = np.ascontiguousarray(compute(), np.float32)
            content = array.tobytes()
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, hashlib.sha256(content).digest() + content)
            fits = sorted(self._folder.glob("*.fit"), key=lambda file: file.stat().st_mtime_ns)
            for oldest in fits[:-MAX_ENTRIES]:
                with suppress(FileNotFoundError):
                    oldest.unlink()
        return array

    def _read(self, path: Path, shape: tuple[int, ...]) -> Floats | None:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if digest != hashlib.sha256(body).digest() or len(body) != 4 * int(np.prod(shape)):
            return None
        # What is used must not become the oldest; a folder may be read-only.
        with suppress(OSError):
            os.utime(path)
        return np.frombuffer(body, np.float32).reshape(shape)
