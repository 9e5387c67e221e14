"""An executor that runs tasks in the calling thread: for tests, and for debugging with EXECUTOR=in-process."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import structlog

from errors import MillwrightError
from prediction.contract import Progress, no_progress
from settings import Settings
from training.execution.executor import Role, no_check
from training.execution.ipc import crash_error, encode
from training.execution.run_task import TaskContext, run_task
from training.execution.tasks import Task, task_from_dict

log = structlog.get_logger()

ResultT = TypeVar("ResultT")

_TICK_SECONDS = 0.05


class InProcessWorker:
    """A worker without a process of its own."""

    def __init__(self, context: TaskContext, turn: threading.Lock, check: Callable[[], None]) -> None:
        self._context = context
        self._turn = turn
        self._check = check

    def __enter__(self) -> InProcessWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def run(self, task: Task[ResultT], progress: Progress = no_progress) -> ResultT:
        """Do one task and return its result; see `Worker.run`. The check is called at every progress."""

        def announce(stage: str, **facts: object) -> None:
            self._check()
            progress(stage, **facts)

        while not self._turn.acquire(timeout=_TICK_SECONDS):
            self._check()
        try:
            self._check()
            # Tasks and results go through JSON, so that nothing works here which fails in a child process.
            sent = task_from_dict(json.loads(encode(task.to_dict())))
            return task.parse_result(json.loads(encode(run_task(sent, self._context, announce))))
        except MillwrightError:
            raise
        except Exception as error:
            log.exception("task_crashed", kind=task.kind)
            raise crash_error(error) from error
        finally:
            self._turn.release()


class InProcessExecutor:
    """An executor that runs one task at a time in the process that asks for it."""

    def __init__(self, settings: Settings) -> None:
        self._context = TaskContext.from_settings(settings)
        # One at a time: a training redirects stdout and stderr of the whole process into its log.
        self._turn = threading.Lock()

    def open_worker(self, role: Role, check: Callable[[], None] = no_check) -> InProcessWorker:
        """Return a worker; see `Executor.open_worker`."""
        return InProcessWorker(self._context, self._turn, check)

    def ensure_warm_processes(self, min_idle_seconds: float = 0.0) -> None:
        """Do nothing: there are no processes."""

    def close(self) -> None:
        """Do nothing: there are no processes."""
