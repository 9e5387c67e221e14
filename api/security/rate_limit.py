"""A rate limit that all workers share: one small mapped file of counters, one a caller and minute."""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import TooManyRequests

WINDOW_SECONDS = 60
SLOTS = 65_536
_SLOT = struct.Struct("<II")


class RateLimit:
    """At most ``limit`` requests a minute and caller. Callers that share a slot (rare) share a limit.

    Parameters
    ----------
    path : Path
        The file of counters, made where it is missing.
    limit : int
        Requests a minute.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.limit = limit
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._file.truncate(SLOTS * _SLOT.size)
        self._counters = mmap.mmap(self._file.fileno(), SLOTS * _SLOT.size)
        self._guard = threading.Lock()

    def count(self, caller: str) -> None:
        """Count one request.

        Raises
        ------
        TooManyRequests
            The caller's minute is used up; ``retry_after`` tells when the next one begins.
        """
        now = int(time.time())
        window = now // WINDOW_SECONDS
        offset = _slot_of(caller) * _SLOT.size
        with self._guard, self._locked(offset):
            seen_window, seen = _SLOT.unpack_from(self._counters, offset)
            seen = seen + 1 if seen_window == window else 1
            _SLOT.pack_into(self._counters, offset, window, min(seen, 2**32 - 1))
        if seen > self.limit:
            wait = WINDOW_SECONDS - now % WINDOW_SECONDS
            sentence = f"More than {self.limit} requests in a minute; try again in {wait} seconds"
            raise TooManyRequests(sentence, retry_after=wait)

    @contextmanager
    def _locked(self, offset: int) -> Iterator[None]:
        """Keep the other workers from this slot."""
        fcntl.lockf(self._file, fcntl.LOCK_EX, _SLOT.size, offset)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, _SLOT.size, offset)


def _slot_of(caller: str) -> int:
    return int.from_bytes(hashlib.sha256(caller.encode()).digest()[:4], "little") % SLOTS
