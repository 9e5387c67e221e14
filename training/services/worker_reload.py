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
from storage.filesystem.process_token import own_token

log = structlog.get_logger()

_POLL_SECONDS: Final = 0.02


class WorkerReload:
    """Reloads over all web workers of the server.

    Every method returns the error of each web worker by process id, None where it has loaded its models. Where a
    tenant is given, models of others do not count.

    Parameters
    ----------
    model_cache : ModelCache
        The champions of this process.
    """

    def __init__(self, storage: Storage, model_cache: ModelCache) -> None:
        self._storage = storage
        self._model_cache = model_cache

    def reload_all(self, timeout_seconds: float = 10.0, tenant: str | None = None) -> dict[int, str | None]:
        """Raise the epoch, and wait until every worker has loaded all its champions again.

        Raises
        ------
        StorageFailed, DiskFull
            The epoch could not be raised.
        """
        with self._storage.journal.hold_store_lock():
            self._storage.champions.rebuild()
            epoch = self._storage.versions.raise_epoch()
        return self.wait(epoch, timeout_seconds, tenant)

    def refresh(self, timeout_seconds: float = 2.0) -> dict[int, str | None]:
        """Load here the champions that have changed, and wait until every other worker did."""
        errors = self._load(self._storage.versions.epoch(), timeout_seconds, self._model_cache.refresh, None)
        if failed := {pid: error for pid, error in errors.items() if error}:
            log.warning("champion_not_served_everywhere", workers=failed)
        return errors

    def wait(self, epoch: int, timeout_seconds: float, tenant: str | None = None) -> dict[int, str | None]:
        """Load all champions here, and wait until every other worker has loaded this epoch."""
        return self._load(epoch, timeout_seconds, self._model_cache.reload_all, tenant)

    def _load(
        self, epoch: int, timeout_seconds: float, load_here: Callable[[], None], tenant: str | None
    ) -> dict[int, str | None]:
        deadline = time.monotonic() + timeout_seconds
        load_here()
        failures = self._model_cache.failures().items()
        of_tenant = (reason for key, reason in failures if tenant in (None, key.tenant))
        errors: dict[int, str | None] = {os.getpid(): next(of_tenant, None)}
        while True:
            late = []
            try:
                workers = self._storage.workers.list_live()
            except MillwrightError as error:  # what was committed stays so; the workers see it by themselves
                log.warning("workers_not_asked", reason=error.message)
                return {os.getpid(): errors[os.getpid()] or error.message}
            for worker in workers:
                if worker.process == own_token():
                    continue
                if worker.epoch >= epoch:
                    # Two containers may have processes of one number: an error of either stays.
                    errors[worker.pid] = worker.failure(tenant) or errors.get(worker.pid)
                else:
                    late.append(worker.pid)
            if not late:
                return errors
            if time.monotonic() > deadline:
                reason = f"has not loaded its models within {timeout_seconds:g} s"
                return errors | dict.fromkeys(late, reason)
            time.sleep(_POLL_SECONDS)
