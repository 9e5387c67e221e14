"""Where a session's work is done: child processes of this machine, one warm spare of each role in wait."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import structlog

import errors
from errors import Interrupted, MillwrightError, NotReady, TrainingFailed
from prediction import registry
from prediction.contract import JSON, Progress
from settings import PROJECT, Settings
from training.execution import warm_process
from training.execution.ipc import ConnectionClosed, MessageConnection

log = structlog.get_logger()

ROLES = ("trainer", "verifier")
_TICK_S = 0.05
_LONGEST_PAUSE_S = 5.0
_DEATH_S = 5.0


class Job:
    """One task in one child process. Leaving its ``with`` block early kills the child.

    Parameters
    ----------
    wire : Wire
        The connection to the child.
    check : callable
        Asked twenty times a second whether to go on; it raises where not.
    """

    def __init__(self, wire: MessageConnection, check: Callable[[], None]) -> None:
        self._wire = wire
        self._check = check
        self.pid = wire.peer()[0]
        self._process = _process_descriptor(self.pid)
        self._done = False

    def __enter__(self) -> Job:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._done:
            self.cancel()
        self._wire.close()
        if self._process is not None:
            os.close(self._process)

    def result(self, announce: Progress) -> JSON:
        """Wait for the child's answer, handing on what it announces.

        Raises
        ------
        Interrupted
            The child has died without an answer.
        MillwrightError
            What the child raised.
        """
        while True:
            message = self._next()
            if "result" in message:
                self._done = True
                result: JSON = message["result"]
                return result
            if "error" in message:
                self._done = True
                raise deserialize_error(message["error"])
            announce(message.pop("stage"), **message)

    def cancel(self) -> None:
        """Kill the child and wait until its processor time is free again."""
        if self._process is None:
            return
        try:
            signal.pidfd_send_signal(self._process, signal.SIGKILL)
        except ProcessLookupError:
            return
        select.select([self._process], [], [], _DEATH_S)

    def _next(self) -> JSON:
        while True:
            self._check()
            try:
                message = self._wire.receive(_TICK_S)
            except ConnectionClosed as error:
                raise Interrupted(
                    "The training process ended without an answer: it was killed, or memory ran out. "
                    "Nothing has changed."
                ) from error
            if message is not None:
                return message


class ChildProcessExecutor:
    """Child processes on this machine.

    Parameters
    ----------
    run_dir : Path
        Folder of the spares' sockets and locks, shared by all workers of one server.
    settings : Settings
        What the children need to know of the server.
    """

    def __init__(self, run_dir: Path, settings: Settings) -> None:
        self.run_dir = run_dir
        self.settings = settings
        self._children: list[subprocess.Popen[bytes]] = []
        self._guard = threading.Lock()
        self._closed = False
        self._mark = run_dir / "last-task"

    def start(self, role: str, task: JSON, check: Callable[[], None] = lambda: None) -> Job:
        """Hand a task to the warm spare of a role, or to a new process where there is none.

        Raises
        ------
        TrainingFailed
            No child process could be started.
        NotReady
            The server is stopping.
        """
        pause_s = 0.005
        while pause_s < _LONGEST_PAUSE_S:
            if self._closed:
                raise NotReady("The server is stopping. Please try again in a minute.", retry_after=30)
            self._ensure(role)
            wire = warm_process.connect(self.run_dir, role)
            if wire is not None and self._taken(wire, task, check):
                with suppress(OSError):
                    self._mark.touch()
                return Job(wire, check)
            check()
            time.sleep(pause_s)
            pause_s *= 1.5
        raise TrainingFailed("No training process could be started; the server's log says why.")

    def ensure_warm_processes(self, quiet_s: float = 0.0) -> None:
        """See to it that a warm spare of each role waits, without waiting for it.

        Parameters
        ----------
        quiet_s : float
            Leave it to a later call where a task was begun less than so many seconds ago, in whatever worker:
            a spare that warms up would slow that task down.
        """
        if quiet_s and self._mark.exists() and abs(time.time() - self._mark.stat().st_mtime) < quiet_s:
            return
        threading.Thread(target=self._ensure_all, name="spares", daemon=True).start()

    def close(self) -> None:
        """Let go of the spares this process started; a child that serves a session goes on."""
        with self._guard:
            self._closed = True
            for child in self._children:
                if child.stdin is not None:
                    child.stdin.close()
            self._children = [child for child in self._children if child.poll() is None]

    def _taken(self, wire: MessageConnection, task: JSON, check: Callable[[], None]) -> bool:
        """Whether this spare takes our task: it may have been another worker's a moment ago."""
        try:
            wire.send(task)
            while wire.receive(_TICK_S) is None:
                check()
        except ConnectionClosed:
            wire.close()
            return False
        except BaseException:
            wire.close()
            raise
        return True

    def _ensure_all(self) -> None:
        for role in ROLES:
            self._ensure(role)

    def _ensure(self, role: str) -> None:
        """Start a spare unless one waits; returns when it listens, though it may still be warming up."""
        with self._guard:
            self._children = [child for child in self._children if child.poll() is None]
            if self._closed or warm_process.warm_process_lock(self.run_dir, role).is_held():
                return
            child = self._spawn(role)
            self._children.append(child)
        if child.stdout is not None:
            child.stdout.readline()
            child.stdout.close()

    def _spawn(self, role: str) -> subprocess.Popen[bytes]:
        warm = [entry for entry in registry.FAMILIES.values() if entry.is_preloaded and role in ROLES]
        about = {
            "role": role,
            "run_dir": str(self.run_dir),
            "cache_dir": str(self.settings.cache_dir),
            "sentence_model": self.settings.sentence_model,
            "warm": [entry.family if role == "trainer" else entry.predictor for entry in warm],
        }
        log.info("spare_started", role=role)
        return subprocess.Popen(
            [sys.executable, "-m", "training.execution.worker", json.dumps(about)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            start_new_session=True,
        )


def deserialize_error(body: JSON) -> MillwrightError:
    """The error a child reported, as an exception of its own class again."""
    kind = getattr(errors, body["class"], TrainingFailed)
    error: MillwrightError = kind.__new__(kind)
    MillwrightError.__init__(error, body["message"], **body["facts"])
    return error


def _process_descriptor(pid: int) -> int | None:
    """A handle that means this process and never a later one of the same id; None where it has gone."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
