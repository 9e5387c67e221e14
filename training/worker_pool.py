"""Workers that do one task for each candidate of a session, while the session does something else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Final

from errors import Interrupted, MillwrightError
from prediction.contract import Progress
from training.context import Candidate, SessionContext
from training.execution.executor import Role, Worker

_CHUNK_SIZE: Final = 12


class WorkerPool:
    """A pool that starts with its ``with`` block; leaving the block with an error stops its workers.

    Parameters
    ----------
    run : callable
        Does one candidate's task with a worker. An error that ends no session is kept in the candidate.
    """

    def __init__(
        self,
        role: Role,
        run: Callable[[Worker, Candidate], None],
        session: SessionContext,
        progress: Progress,
    ) -> None:
        self._role: Role = role
        self._run = run
        self._session = session
        self._progress = progress
        self._chunks = deque(split_into_chunks(session.ready, session.request.jobs))
        self._total = len(session.ready)
        self._done = 0
        self._guard = threading.Lock()
        self._stopping = threading.Event()
        self._size = min(session.request.jobs, len(self._chunks))
        name = f"session-{session.row.id}-{role}"
        self._threads = ThreadPoolExecutor(max(1, self._size), thread_name_prefix=name)
        self._futures: list[Future[None]] = []

    def __enter__(self) -> WorkerPool:
        self._futures = [self._threads.submit(self._work) for _ in range(self._size)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stopping.set()
        self._threads.shutdown()

    def join(self) -> None:
        """Wait until all tasks are done; raise the error that ends the session as soon as there is one."""
        done, _ = wait(self._futures, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()

    def _work(self) -> None:
        with self._session.deps.executor.open_worker(self._role, self._check) as worker:
            while self._chunks:
                try:
                    chunk = self._chunks.popleft()
                except IndexError:  # another worker took the last one
                    return
                for candidate in chunk:
                    self._run_one(worker, candidate)

    def _run_one(self, worker: Worker, candidate: Candidate) -> None:
        try:
            self._run(worker, candidate)
        except MillwrightError as error:
            if error.session_state != "failed":  # cancelled or interrupted: that is no fault of this model
                raise
            candidate.error = error
        with self._guard:
            self._done += 1
            if self._session.request.is_batch:
                stage = "train" if self._role == "trainer" else "verify"
                self._progress(stage, done=self._done, of=self._total)

    def _check(self) -> None:
        if self._stopping.is_set():
            raise Interrupted("The session has ended.")
        self._session.check()


def split_into_chunks(candidates: Sequence[Candidate], jobs: int) -> list[Sequence[Candidate]]:
    """Return chunks of neighbours, enough of them to keep all workers busy.

    Neighbours in name often read the same data, which a worker then keeps in memory, and they differ in cost.
    So chunks are of twelve, or smaller where there would be fewer than four per worker.
    """
    size = max(1, min(_CHUNK_SIZE, len(candidates) // (4 * jobs)))
    return [candidates[start : start + size] for start in range(0, len(candidates), size)]
