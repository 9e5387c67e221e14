"""Heartbeats of the web workers: the epoch each has loaded, and what went wrong."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.db.database import Database
from storage.db.tables import utc_now, workers
from storage.filesystem import process_identity


@dataclass(frozen=True)
class WebWorker:
    """A web worker as of its last heartbeat; ``started`` tells it from a later process of the same number."""

    host: str
    pid: int
    started: int
    epoch: int
    error: str | None
    beat_at: datetime


class WebWorkers:
    """The table ``workers``. A server sees only the rows of its own machine."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._host = socket.gethostname()

    def heartbeat(self, pid: int, started: int, epoch: int, error: str | None = None) -> None:
        """Report a worker: the epoch it has loaded, or why it could not."""
        key = {"host": self._host, "pid": pid, "started": started}
        values = {"epoch": epoch, "error": error, "beat_at": utc_now()}
        with self._database.write() as connection:
            update = sa.update(workers).filter_by(**key).values(values)
            if connection.execute(update).rowcount == 0:
                connection.execute(sa.insert(workers).values({**key, **values}))

    def list_live(self) -> list[WebWorker]:
        """Return the workers whose processes are alive."""
        return [worker for worker in self._list() if process_identity.is_alive(worker.pid, worker.started)]

    def delete_dead(self) -> int:
        """Delete the rows of dead processes; return how many."""
        rows = self._list()
        dead = [
            (worker.host, worker.pid, worker.started)
            for worker in rows
            if not process_identity.is_alive(worker.pid, worker.started)
        ]
        if dead:
            key = sa.tuple_(workers.c.host, workers.c.pid, workers.c.started)
            with self._database.write() as connection:
                connection.execute(sa.delete(workers).where(key.in_(dead)))
        return len(dead)

    def _list(self) -> list[WebWorker]:
        query = sa.select(workers).where(workers.c.host == self._host).order_by(workers.c.pid)
        with self._database.read() as connection:
            return [WebWorker(**row._mapping) for row in connection.execute(query)]
