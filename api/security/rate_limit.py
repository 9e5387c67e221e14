"""A rate limit that all workers share: one small memory-mapped file of counters, one per caller and minute."""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import struct
import threading
import time
from pathlib import Path

from errors import TooManyRequests

WINDOW_SECONDS = 60
# 65,536 slots of 8 bytes: with 1,000 callers, one in 65 shares its slot, and so its limit, with another.
SLOTS = 65_536
_SLOT = struct.Struct("<II")


class RateLimit:
    """At most ``limit`` requests per caller and minute.

    Parameters
    ----------
    path : Path
        The file of counters; created where it is missing.
    limit : int
        Requests per minute.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.limit = limit
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a+b")
        self._file.truncate(SLOTS * _SLOT.size)
        self._counters = mmap.mmap(self._file.fileno(), SLOTS * _SLOT.size)
        self._lock = threading.Lock()

    def count(self, caller: str) -> None:
        """Count one request.

        Raises
        ------
        TooManyRequests
            The caller's minute is used up; ``retry_after`` says when the next one begins.
        """
        now = int(time.time())
        window = now // WINDOW_SECONDS
        slot = int.from_bytes(hashlib.sha256(caller.encode()).digest()[:4], "little") % SLOTS
        count = self._increment(slot * _SLOT.size, window)
        if count > self.limit:
            wait = WINDOW_SECONDS - now % WINDOW_SECONDS
            message = f"More than {self.limit} requests in a minute; try again in {wait} seconds"
            raise TooManyRequests(message, retry_after=wait)

    def _increment(self, offset: int, window: int) -> int:
        # lockf holds for the process: it keeps the other workers away, and the lock the other threads.
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX, _SLOT.size, offset)
            try:
                last_window, count = _SLOT.unpack_from(self._counters, offset)
                count = count + 1 if last_window == window else 1
                _SLOT.pack_into(self._counters, offset, window, min(count, 2**32 - 1))
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN, _SLOT.size, offset)
        return int(count)
