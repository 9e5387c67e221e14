"""Making every live worker load its champions again, and waiting until each has said so."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from errors import MillwrightError
from prediction.serving import ModelCache
from storage.container import Storage

_PAUSE_S = 0.02


class WorkerReload:
    """Reloads over all workers of the server.

    Parameters
    ----------
    live : LiveModels
        The champions of this process.
    """

    def __init__(self, storage: Storage, live: ModelCache) -> None:
        self._storage = storage
        self._live = live

    def everywhere(self, timeout_s: float) -> dict[int, str | None]:
        """Raise the epoch and wait for the workers: what went wrong in each, by process id.

        Raises
        ------
        StorageFailed, DiskFull
            The epoch could not be raised.
        """
        with self._storage.journal.hold_store_lock():
            epoch = self._storage.versions.raise_epoch()
            self._storage.champions.rebuild()
        return self.wait(epoch, timeout_s)

    def moved(self, timeout_s: float) -> dict[int, str | None]:
        """Load here what has moved, and wait until every other live worker has done so or failed to."""
        return self._waited(self._storage.versions.epoch(), timeout_s, self._here(self._live.refresh))

    def wait(self, epoch: int, timeout_s: float) -> dict[int, str | None]:
        """Reload here and wait until every other live worker has loaded this epoch or failed to."""
        return self._waited(epoch, timeout_s, self._here(self._live.reload_all))

    def _waited(self, epoch: int, timeout_s: float, here: str | None) -> dict[int, str | None]:
        deadline = time.monotonic() + timeout_s
        told = {os.getpid(): here}
        while late := self._listen(epoch, told):
            if time.monotonic() > deadline:
                return told | dict.fromkeys(late, f"has not loaded its models within {timeout_s:g} s")
            time.sleep(_PAUSE_S)
        return told

    def _here(self, load: Callable[[], None]) -> str | None:
        try:
            load()
        except MillwrightError as error:
            return error.message
        return None

    def _listen(self, epoch: int, told: dict[int, str | None]) -> list[int]:
        """Note what the workers have said by now; the workers that have not."""
        late = []
        for worker in self._storage.workers.list_live():
            if worker.pid == os.getpid():
                continue
            if worker.epoch >= epoch:
                told[worker.pid] = worker.error
            else:
                late.append(worker.pid)
        return late
