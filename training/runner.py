"""Threads in which the sessions of a web worker run, so that a client that goes away cancels nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Final

from errors import NotReady
from storage.filesystem.tidying import tidy_up
from training.context import TrainingDeps, TrainingOutcome, TrainingRequest
from training.session import run_session

_RESPONSE_SECONDS: Final = 0.2
_MAX_DEATH_SECONDS: Final = 10.0


@dataclass(frozen=True)
class SessionHandle:
    """A session that was started: its outcome once its records are safe, and once it has ended."""

    admitted: Future[TrainingOutcome] = field(default_factory=Future)
    ended: Future[TrainingOutcome] = field(default_factory=Future)


class SessionRunner:
    """Runs each session in a thread of its own, until the server stops."""

    def __init__(self, deps: TrainingDeps) -> None:
        self._deps = deps
        self._running: set[Future[TrainingOutcome]] = set()
        self._guard = threading.Lock()
        self._closed = False

    def start(self, request: TrainingRequest) -> SessionHandle:
        """Start a session.

        Raises
        ------
        NotReady
            The server is stopping, or has no thread left.
        """
        handle = SessionHandle()
        with self._guard:
            if self._closed:
                raise NotReady("The server is stopping. Please try again in a minute.", retry_after=30)
            self._running.add(handle.ended)
        name = f"session-{request.key}"
        try:
            threading.Thread(target=self._run, args=(request, handle), name=name, daemon=True).start()
        except RuntimeError as error:
            self._forget(handle)
            message = "No thread is left for a session. Try again in a minute."
            raise NotReady(message, retry_after=30) from error
        return handle

    def close(self, grace_seconds: float) -> None:
        """Let running sessions end within the grace, then interrupt those that have not."""
        with self._guard:
            self._closed = True
            running = set(self._running)
        wait(running, grace_seconds)
        self._deps.stopping.set()
        wait(running, _MAX_DEATH_SECONDS)
        self._deps.tracking.upload()

    def _run(self, request: TrainingRequest, handle: SessionHandle) -> None:
        futures = (handle.admitted, handle.ended)
        try:
            outcome = run_session(request, self._deps, handle.admitted.set_result)
        except BaseException as error:
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        else:
            try:
                if outcome.session is not None:
                    with tidy_up("note the session for tracking", session_id=outcome.session.id):
                        self._deps.tracking.record_session(outcome.session)
            finally:  # whoever waits gets the outcome, even where the failure cannot be logged
                for future in futures:
                    if not future.done():
                        future.set_result(outcome)
        self._forget(handle)
        # The next warm process imports for a second; it starts when the response of this session is out.
        time.sleep(_RESPONSE_SECONDS)
        with tidy_up("start warm processes"):
            self._deps.executor.ensure_warm_processes()
        with tidy_up("start the uploader"):
            self._deps.tracking.upload()

    def _forget(self, handle: SessionHandle) -> None:
        with self._guard:
            self._running.discard(handle.ended)
