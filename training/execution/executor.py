"""The protocol between a session and whatever does its work."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Literal, Protocol, TypeVar

from prediction.contract import Progress, no_progress
from training.execution.tasks import Task

# What a worker is warmed up for. Any worker does any task.
Role = Literal["trainer", "verifier", "reporter"]

ResultT = TypeVar("ResultT")


def no_check() -> None:
    """Let the task go on, whatever happens."""


class Worker(Protocol):
    """A worker that is reserved for the ``with`` block; leaving the block frees it."""

    def __enter__(self) -> Worker: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, task: Task[ResultT], progress: Progress = no_progress) -> ResultT:
        """Do one task and return its result.

        Raises
        ------
        Interrupted
            The worker died.
        MillwrightError
            Whatever the task, or the check of `Executor.open_worker`, raised.
        """


class Executor(Protocol):
    """A source of workers."""

    def open_worker(self, role: Role, check: Callable[[], None] = no_check) -> Worker:
        """Reserve a worker.

        Parameters
        ----------
        check : callable
            Called several times a second while a task runs; the task ends when it raises.

        Raises
        ------
        TrainingFailed
            No worker could be started.
        NotReady
            The executor is closed.
        """

    def ensure_warm_processes(self, min_idle_seconds: float = 0.0) -> None:
        """Prepare workers for the next session, without waiting for them.

        Parameters
        ----------
        min_idle_seconds : float
            Do nothing if a task began less than this many seconds ago, in any process of this server: warming
            up would slow that task down.
        """

    def close(self) -> None:
        """Release idle workers. A worker that runs a task finishes it."""
