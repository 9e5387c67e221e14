"""The default executor: child processes of this machine, one warm process per role in waiting."""

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
from dataclasses import asdict
from types import TracebackType
from typing import TypeVar

import structlog

from errors import Interrupted, NotReady, TrainingFailed
from prediction import registry
from prediction.contract import Progress, no_progress
from settings import PROJECT, Settings
from training.execution import warm_process
from training.execution.executor import Role, no_check
from training.execution.ipc import ConnectionClosed, MessageConnection, deserialize_error
from training.execution.tasks import Task

log = structlog.get_logger()

ResultT = TypeVar("ResultT")

WARM_ROLES: tuple[Role, ...] = ("trainer", "verifier")
_TICK_SECONDS = 0.05
_MAX_PAUSE_SECONDS = 5.0
_MAX_DEATH_SECONDS = 5.0


class ChildProcessWorker:
    """A child process that does tasks one after the other. It is killed when the ``with`` block ends.

    Parameters
    ----------
    check : callable
        Called twenty times a second while a task runs; it raises if the task must end.
    """

    def __init__(self, connection: MessageConnection, check: Callable[[], None]) -> None:
        self._connection = connection
        self._check = check
        self.pid = connection.peer()[0]
        self._process = _open_process(self.pid)

    def __enter__(self) -> ChildProcessWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if self._process is not None:
            # A child that is idle exits by itself; one in the middle of a task must not write any more.
            if error is not None:
                # Its writes and its processor time end with it, so wait until it is gone.
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._process, signal.SIGKILL)
                    select.select([self._process], [], [], _MAX_DEATH_SECONDS)
            os.close(self._process)

    def run(self, task: Task[ResultT], progress: Progress = no_progress) -> ResultT:
        """Do one task and return its result; see `Worker.run`."""
        try:
            self._connection.send({"task": task.to_dict(), "announce": progress is not no_progress})
            while True:
                self._check()
                message = self._connection.receive(_TICK_SECONDS)
                if message is None:
                    continue
                if "result" in message:
                    return task.parse_result(message["result"])
                if "error" in message:
                    raise deserialize_error(message["error"])
                progress(message["stage"], **message["facts"])
        except ConnectionClosed as error:
            raise Interrupted(
                "The training process ended without an answer: it was killed, or memory ran out. "
                "Nothing has changed."
            ) from error


class ChildProcessExecutor:
    """An executor that runs tasks in child processes of this machine.

    Parameters
    ----------
    settings : Settings
        The server's settings. Sockets and locks of warm processes are in its run folder, shared by all web
        workers of the server.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._run_dir = settings.run_dir
        self._children: list[subprocess.Popen[bytes]] = []
        self._guard = threading.Lock()
        self._closed = False
        self._last_task = self._run_dir / "last-task"

    def open_worker(self, role: Role, check: Callable[[], None] = no_check) -> ChildProcessWorker:
        """Take the warm process of a role, or start one; see `Executor.open_worker`."""
        pause_seconds = 0.005
        while pause_seconds < _MAX_PAUSE_SECONDS:
            if self._closed:
                raise NotReady("The server is stopping. Please try again in a minute.", retry_after=30)
            self._ensure(role)
            connection = warm_process.connect(self._run_dir, role)
            if connection is not None and _is_accepted(connection, check):
                with suppress(OSError):
                    self._last_task.touch()
                return ChildProcessWorker(connection, check)
            check()
            time.sleep(pause_seconds)
            pause_seconds *= 1.5
        raise TrainingFailed("No training process could be started; the server's log says why.")

    def ensure_warm_processes(self, min_idle_seconds: float = 0.0) -> None:
        """Start the warm processes that are missing; see `Executor.ensure_warm_processes`."""
        last_task = self._last_task
        # An absolute difference: the clock may have been set back, and the file's time lie ahead.
        if (
            min_idle_seconds
            and last_task.exists()
            and abs(time.time() - last_task.stat().st_mtime) < min_idle_seconds
        ):
            return
        for role in WARM_ROLES:
            threading.Thread(target=self._ensure, args=(role,), name=f"warm-{role}", daemon=True).start()

    def close(self) -> None:
        """Let the warm processes of this executor exit; a child that runs a task goes on."""
        with self._guard:
            self._closed = True
            for child in self._children:
                if child.stdin is not None:
                    child.stdin.close()
            self._children = [child for child in self._children if child.poll() is None]

    def _ensure(self, role: Role) -> None:
        """Start a warm process unless one waits. It listens on return, but may still be warming up."""
        with self._guard:
            self._children = [child for child in self._children if child.poll() is None]
            if self._closed or warm_process.warm_process_lock(self._run_dir, role).is_held():
                return
            child = self._spawn(role)
            self._children.append(child)
        if child.stdout is not None:
            child.stdout.readline()
            child.stdout.close()

    def _spawn(self, role: Role) -> subprocess.Popen[bytes]:
        warm = [entry for entry in registry.FAMILIES.values() if entry.is_preloaded and role in WARM_ROLES]
        addresses = [entry.family if role == "trainer" else entry.predictor for entry in warm]
        about = {"role": role, "run_dir": str(self._run_dir), "warm": addresses}
        log.info("warm_process_started", role=role)
        child = subprocess.Popen(
            [sys.executable, "-m", "training.execution.worker", json.dumps(about)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=PROJECT,
            start_new_session=True,
        )
        if child.stdin is not None:
            with suppress(BrokenPipeError):
                child.stdin.write(json.dumps(asdict(self.settings), default=str).encode() + b"\n")
                child.stdin.flush()
        return child


def _is_accepted(connection: MessageConnection, check: Callable[[], None]) -> bool:
    """Return whether the process is ours: another web worker may have taken it a moment ago."""
    try:
        while connection.receive(_TICK_SECONDS) is None:
            check()
    except ConnectionClosed:
        connection.close()
        return False
    except BaseException:
        connection.close()
        raise
    return True


def _open_process(pid: int) -> int | None:
    """Return a handle for this process, never for a later one of the same id; None if it is gone."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
