"""Reload the champions of all web workers, and wait until each has reported that it did."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

import structlog

from errors import MillwrightError
from prediction.serving import ModelCache
from storage.container import Storage

log = structlog.get_logger()

_POLL_SECONDS: Final = 0.02


class WorkerReload:
    """Reloads over all web workers of the server.

    Every method returns the error of each web worker by process id, None where it has loaded its models.

    Parameters
    ----------
    model_cache : ModelCache
        The champions of this process.
    """

    def __init__(self, storage: Storage, model_cache: ModelCache) -> None:
        self._storage = storage
        self._model_cache = model_cache

    def reload_all(self, timeout_seconds: float = 10.0) -> dict[int, str | None]:
        """Raise the epoch, and wait until every worker has loaded all its champions again.

        Raises
        ------
        StorageFailed, DiskFull
            The epoch could not be raised.
        """
        with self._storage.journal.hold_store_lock():
            self._storage.champions.rebuild()
            epoch = self._storage.versions.raise_epoch()
        return self.wait(epoch, timeout_seconds)

    def refresh(self, timeout_seconds: float = 2.0) -> dict[int, str | None]:
        """Load here the champions that have changed, and wait until every other worker did."""
        errors = self._load(self._storage.versions.epoch(), timeout_seconds, self._model_cache.refresh)
        if failed := {pid: error for pid, error in errors.items() if error}:
            log.warning("champion_not_served_everywhere", workers=failed)
        return errors

    def wait(self, epoch: int, timeout_seconds: float) -> dict[int, str | None]:
        """Load all champions here, and wait until every other worker has loaded this epoch."""
        return self._load(epoch, timeout_seconds, self._model_cache.reload_all)

    def _load(
        self, epoch: int, timeout_seconds: float, load_here: Callable[[], None]
    ) -> dict[int, str | None]:
        deadline = time.monotonic() + timeout_seconds
        errors: dict[int, str | None] = {os.getpid(): None}
        try:
            load_here()
        except MillwrightError as error:
            errors[os.getpid()] = error.message
        while True:
            late = []
            for worker in self._storage.workers.list_live():
                if worker.pid != os.getpid() and worker.epoch >= epoch:
                    errors[worker.pid] = worker.error
                elif worker.pid != os.getpid():
                    late.append(worker.pid)
            if not late:
                return errors
            if time.monotonic() > deadline:
                reason = f"has not loaded its models within {timeout_seconds:g} s"
                return errors | dict.fromkeys(late, reason)
            time.sleep(_POLL_SECONDS)
