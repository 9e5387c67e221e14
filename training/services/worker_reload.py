"""Reload the champions of all web workers, and wait until each has reported that it did."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

import structlog

from errors import describe_error
from prediction.contract import ModelKey
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
            self._storage.versions.raise_epoch()
        return self.wait(timeout_seconds, tenant)

    def refresh(self, timeout_seconds: float = 2.0) -> dict[int, str | None]:
        """Load here the champions that have changed, and wait until every other worker did."""
        errors = self._load(timeout_seconds, self._model_cache.refresh, None)
        if failed := {pid: error for pid, error in errors.items() if error}:
            log.warning("champion_not_served_everywhere", workers=failed)
        return errors

    def wait(self, timeout_seconds: float, tenant: str | None = None) -> dict[int, str | None]:
        """Load all champions here, and wait until every other worker has loaded the present epoch.

        Champions of the tenant that are known as damaged are loaded here, too: only that proves that they are whole.
        """

        def load_here() -> None:
            damaged = self._storage.champions.damaged(tenant) if tenant else []
            self._model_cache.reload_all(ModelKey.from_path(record.path) for record in damaged)

        return self._load(timeout_seconds, load_here, tenant)

    def _load(
        self, timeout_seconds: float, load_here: Callable[[], None], tenant: str | None
    ) -> dict[int, str | None]:
        """Load here and wait for the others; never raise, because what was committed stays so."""
        deadline = time.monotonic() + timeout_seconds
        own_error: str | None = None
        try:
            load_here()
            failures = self._model_cache.failures().items()
            own_error = next((reason for key, reason in failures if tenant in (None, key.tenant)), None)
            epoch = self._storage.versions.epoch()
            while True:
                errors, late = self._ask_others(epoch, tenant)
                if late and time.monotonic() > deadline:
                    errors |= dict.fromkeys(late, f"has not loaded its models within {timeout_seconds:g} s")
                    late = []
                if not late:
                    # Two containers may have processes of one number: an error of either stays.
                    return {**errors, os.getpid(): own_error or errors.get(os.getpid())}
                time.sleep(_POLL_SECONDS)
        except Exception as error:  # of whatever kind: the workers see the change by themselves
            log.warning("models_not_reloaded", reason=describe_error(error))
            return {os.getpid(): own_error or describe_error(error, with_detail=False)}

    def _ask_others(self, epoch: int, tenant: str | None) -> tuple[dict[int, str | None], list[int]]:
        """Return the errors of the workers that have loaded an epoch, and the process ids of those that have not."""
        errors: dict[int, str | None] = {}
        late = []
        for worker in self._storage.workers.list_live():
            if worker.process == own_token():
                continue
            if worker.epoch >= epoch:
                errors[worker.pid] = worker.failure(tenant) or errors.get(worker.pid)
            else:
                late.append(worker.pid)
        return errors, late
