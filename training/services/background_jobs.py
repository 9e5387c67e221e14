"""Work for which a request would wait too long: each job in a thread of its own, equal jobs together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from errors import NotReady

T = TypeVar("T")

# Each reads a whole backup, or all records: more at once would only take turns on the disk.
_MAX_JOBS: Final = 4


class BackgroundJobs:
    """The jobs of one process, by name. A job goes on if whoever asked for it goes away."""

    def __init__(self) -> None:
        self._running: dict[str, Future[Any]] = {}
        self._guard = threading.Lock()

    def start(self, name: str, work: Callable[[], T]) -> Future[T]:
        """Start a job, or return the running one of that name.

        Raises
        ------
        NotReady
            As many jobs run as may.
        """
        busy = NotReady("Other long work is going on. Please try again in a minute.", retry_after=30)
        with self._guard:
            if name in self._running:
                return self._running[name]
            if len(self._running) >= _MAX_JOBS:
                raise busy
            job: Future[T] = Future()
            self._running[name] = job
        try:
            threading.Thread(target=self._run, args=(name, work, job), name=name, daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            self._forget(name)
            job.set_exception(busy)
            raise busy from error
        return job

    def _run(self, name: str, work: Callable[[], T], job: Future[T]) -> None:
        try:
            result = work()
        except BaseException as error:
            self._forget(name)
            job.set_exception(error)
        else:
            self._forget(name)
            job.set_result(result)

    def _forget(self, name: str) -> None:
        with self._guard:
            del self._running[name]
