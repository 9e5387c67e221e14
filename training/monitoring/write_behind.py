"""Buffers that a thread writes into the database, so that no request waits for a disk or fails with it."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod

from storage.repeated_warning import RepeatedWarning


class WriteBehind(ABC):
    """A buffer with a thread that flushes it at intervals, from the first entry until nothing waits.

    Parameters
    ----------
    name : str
        Of the thread, and in the log.
    interval_seconds : float
        Time between two flushes: what a killed process loses at most.
    """

    def __init__(self, name: str, interval_seconds: float) -> None:
        self._name = name
        self._interval_seconds = interval_seconds
        # Of the buffer, not of a thread: one that has lost its entries ends, and the next may fail in the same.
        self._postponed = RepeatedWarning("write_postponed", buffer=name)
        # Guards the entries and the thread; ``_flushing`` lets one flush run at a time.
        self._guard = threading.Lock()
        self._flushing = threading.Lock()
        self._writer: threading.Thread | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of entries that wait."""

    @abstractmethod
    def flush(self) -> None:
        """Write what is waiting.

        Raises
        ------
        MillwrightError
            The database refuses; everything goes on waiting.
        """

    def _start_writer(self) -> None:
        """Start the thread where none runs; the caller holds the guard."""
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name=self._name, daemon=True)
            self._writer.start()

    def _write(self) -> None:
        while True:
            time.sleep(self._interval_seconds)
            with self._postponed.catch():
                self.flush()
                self._postponed.end()
            with self._guard:
                if not len(self):
                    self._writer = None
                    return
