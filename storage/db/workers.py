"""Heartbeats of the web workers: the epoch each has loaded, and which champions it could not load."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from storage.db.database import Database
from storage.db.tables import utc_now, workers
from storage.filesystem.presence import is_alive
from storage.filesystem.process_token import own_token

# The row of a worker names so many failures of each tenant: with thousands of models it stays small.
_MAX_FAILURES_OF_A_TENANT: Final = 5


@dataclass(frozen=True)
class WebWorker:
    """A web worker as of its last heartbeat.

    Parameters
    ----------
    process : str
        The token of its process; its number may exist in several containers.
    failures : mapping of str to str
        By the path of a model, why its champion could not be loaded; of each tenant the first few.
    """

    process: str
    pid: int
    epoch: int
    beat_at: datetime
    failures: Mapping[str, str] = field(default_factory=dict)

    def failure(self, tenant: str | None = None) -> str | None:
        """Return why a champion of a tenant, or of any, could not be loaded; None where all were."""
        of_tenant = (reason for path, reason in self.failures.items() if tenant in (None, path.split("/")[0]))
        return next(of_tenant, None)


class WebWorkers:
    """The table ``workers``: those of every machine and container that works on this home folder."""

    def __init__(self, database: Database, run_dir: Path) -> None:
        self._database = database
        self._run_dir = run_dir

    def heartbeat(self, epoch: int, failures: Mapping[str, str] | None = None) -> None:
        """Report this process: the epoch it has loaded, and by the path of a model why it could not load one."""
        is_own = workers.c.process == own_token()
        values = {"epoch": epoch, "error": _encode(failures or {}), "beat_at": utc_now()}
        with self._database.write() as connection:
            if connection.execute(sa.update(workers).where(is_own).values(values)).rowcount == 0:
                key = {"process": own_token(), "pid": os.getpid()}
                connection.execute(sa.insert(workers).values({**key, **values}))

    def list_live(self) -> list[WebWorker]:
        """Return the workers whose processes are alive."""
        return [worker for worker in self._list() if is_alive(self._run_dir, worker.process)]

    def delete_dead(self) -> int:
        """Delete the rows of dead processes; return how many."""
        dead = [worker.process for worker in self._list() if not is_alive(self._run_dir, worker.process)]
        if dead:
            with self._database.write() as connection:
                connection.execute(sa.delete(workers).where(workers.c.process.in_(dead)))
        return len(dead)

    def _list(self) -> list[WebWorker]:
        query = sa.select(workers).order_by(workers.c.pid, workers.c.process)
        with self._database.read() as connection:
            return [
                WebWorker(row.process, row.pid, row.epoch, row.beat_at, _decode(row.error))
                for row in connection.execute(query)
            ]


def _encode(failures: Mapping[str, str]) -> str | None:
    tenants = {path.split("/")[0]: None for path in failures}
    of_tenants = (
        islice(
            (item for item in failures.items() if item[0].startswith(f"{tenant}/")), _MAX_FAILURES_OF_A_TENANT
        )
        for tenant in tenants
    )
    return json.dumps(dict(chain.from_iterable(of_tenants))) if failures else None


def _decode(error: str | None) -> dict[str, str]:
    if error is None:
        return {}
    try:
        failures: dict[str, str] = json.loads(error)
    except ValueError:  # a worker of version 0.1 wrote a sentence, and has not been replaced yet
        return {}
    return failures
