"""The threads of a worker in which its sessions run, so that a client that goes away cancels nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

import structlog

from errors import NotReady
from training.batch import BatchRequest, run_batch
from training.context import TrainingDeps, TrainingOutcome, TrainingRequest
from training.session import run_session

log = structlog.get_logger()

_ANSWERED_S = 0.2
_DEATH_S = 10.0


@dataclass(frozen=True)
class SessionHandle:
    """A session on its way: told when its records are safe, and when it has ended."""

    admitted: Future[TrainingOutcome] = field(default_factory=Future)
    ended: Future[TrainingOutcome] = field(default_factory=Future)


class SessionRunner:
    """One thread a session, until the server stops.

    Parameters
    ----------
    shop : Workshop
        Where the sessions happen.
    """

    def __init__(self, shop: TrainingDeps) -> None:
        self._shop = shop
        self._running: set[Future[TrainingOutcome]] = set()
        self._guard = threading.Lock()
        self._closed = False

    def start(self, order: TrainingRequest | BatchRequest) -> SessionHandle:
        """Run an order in a thread of its own.

        Raises
        ------
        NotReady
            The server is stopping, or has no thread left.
        """
        running = SessionHandle()
        with self._guard:
            if self._closed:
                raise NotReady("The server is stopping. Please try again in a minute.", retry_after=30)
            self._running.add(running.ended)
        name = f"session-{order.key}"
        try:
            threading.Thread(target=self._run, args=(order, running), name=name, daemon=True).start()
        except RuntimeError as error:
            self._forget(running)
            raise NotReady(
                "No thread is left for a session. Try again in a minute.", retry_after=30
            ) from error
        return running

    def close(self, grace_s: float) -> None:
        """Let running sessions end for a while, then interrupt those that have not; promptly."""
        with self._guard:
            self._closed = True
            running = set(self._running)
        wait(running, grace_s)
        self._shop.stopping.set()
        wait(running, _DEATH_S)
        self._shop.tracking.carry()

    def _run(self, order: TrainingRequest | BatchRequest, running: SessionHandle) -> None:
        try:
            if isinstance(order, BatchRequest):
                outcome = run_batch(order, self._shop, running.admitted.set_result)
            else:
                outcome = run_session(order, self._shop, running.admitted.set_result)
        except BaseException as error:
            _settle(running, error)
        else:
            if outcome.session is not None:
                self._shop.tracking.ended(outcome.session)
            _settle(running, outcome)
        self._forget(running)
        time.sleep(_ANSWERED_S)  # the next spare warms up when the answer of this session is out
        self._shop.executor.ensure_warm_processes()
        self._shop.tracking.carry()

    def _forget(self, running: SessionHandle) -> None:
        with self._guard:
            self._running.discard(running.ended)


def _settle(running: SessionHandle, end: TrainingOutcome | BaseException) -> None:
    for future in (running.admitted, running.ended):
        if future.done():
            continue
        if isinstance(end, BaseException):
            future.set_exception(end)
        else:
            future.set_result(end)
