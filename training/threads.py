"""The threads of a worker in which its sessions run, so that a client that goes away cancels nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

import structlog

from errors import NotReady
from training.fleet import Fleet, run_fleet
from training.run import run_session
from training.work import Order, Outcome, Workshop

log = structlog.get_logger()

_ANSWERED_S = 0.2
_DEATH_S = 10.0


@dataclass(frozen=True)
class Running:
    """A session on its way: told when its records are safe, and when it has ended."""

    admitted: Future[Outcome] = field(default_factory=Future)
    ended: Future[Outcome] = field(default_factory=Future)


class SessionThreads:
    """One thread a session, until the server stops.

    Parameters
    ----------
    shop : Workshop
        Where the sessions happen.
    """

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._running: set[Future[Outcome]] = set()
        self._guard = threading.Lock()
        self._closed = False

    def start(self, order: Order | Fleet) -> Running:
        """Run an order in a thread of its own.

        Raises
        ------
        NotReady
            The server is stopping, or has no thread left.
        """
        running = Running()
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

    def _run(self, order: Order | Fleet, running: Running) -> None:
        try:
            if isinstance(order, Fleet):
                outcome = run_fleet(order, self._shop, running.admitted.set_result)
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
        self._shop.executor.ensure_spares()
        self._shop.tracking.carry()

    def _forget(self, running: Running) -> None:
        with self._guard:
            self._running.discard(running.ended)


def _settle(running: Running, end: Outcome | BaseException) -> None:
    for future in (running.admitted, running.ended):
        if future.done():
            continue
        if isinstance(end, BaseException):
            future.set_exception(end)
        else:
            future.set_result(end)
