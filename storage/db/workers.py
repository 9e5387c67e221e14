"""The heartbeat of the web workers: which epoch each has loaded, and what went wrong there."""

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
    """A web worker as it last reported itself; ``started`` tells it from a later process of that number."""

    host: str
    pid: int
    started: int
    epoch: int
    error: str | None
    beat_at: datetime


class WebWorkers:
    """The table ``workers``, of which a server sees the rows of its own machine."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._host = socket.gethostname()

    def heartbeat(self, pid: int, started: int, epoch: int, error: str | None = None) -> None:
        """Report a worker: the epoch it has loaded, or why it could not."""
        me = (workers.c.host == self._host, workers.c.pid == pid, workers.c.started == started)
        news = {"epoch": epoch, "error": error, "beat_at": utc_now()}
        with self._database.write() as connection:
            if connection.execute(sa.update(workers).where(*me).values(news)).rowcount == 0:
                row = {"host": self._host, "pid": pid, "started": started, **news}
                connection.execute(sa.insert(workers).values(row))

    def list_live(self) -> list[WebWorker]:
        """The workers whose processes are alive."""
        return [worker for worker in self._all() if process_identity.is_alive(worker.pid, worker.started)]

    def delete_dead(self) -> int:
        """Delete the rows of dead processes; how many there were."""
        dead = [worker for worker in self._all() if not process_identity.is_alive(worker.pid, worker.started)]
        if dead:
            key = sa.tuple_(workers.c.host, workers.c.pid, workers.c.started)
            gone = [(worker.host, worker.pid, worker.started) for worker in dead]
            with self._database.write() as connection:
                connection.execute(sa.delete(workers).where(key.in_(gone)))
        return len(dead)

    def _all(self) -> list[WebWorker]:
        query = sa.select(workers).where(workers.c.host == self._host).order_by(workers.c.pid)
        with self._database.read() as connection:
            return [WebWorker(**row._mapping) for row in connection.execute(query)]
