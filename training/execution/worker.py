"""The child process that does the tasks of one session: it reads stored data and writes staging folders only.

`ChildProcessExecutor` starts it as ``python -m training.execution.worker {"role": …}`` and writes the server's
settings to its standard input: they hold passwords, which a command line would show. Heavy libraries are
imported while it waits for an owner.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Final

from errors import MillwrightError
from prediction.contract import no_progress
from settings import Settings
from storage import fault_injection
from storage.filesystem import presence
from training.execution.ipc import (
    ConnectionClosed,
    MessageConnection,
    WorkerMessage,
    crash_error,
    serialize_error,
)
from training.execution.warm_process import wait_for_owner

if TYPE_CHECKING:
    from training.execution.run_task import TaskContext

_NICENESS: Final = 5
# Where Linux groups processes by session. Priorities count within a group only; this file sets the
# group's.
_AUTOGROUP: Final = Path("/proc/self/autogroup")


def main(role: str, warm: list[str], settings: Settings) -> None:
    """Wait for an owner as the warm process of a role, and do its tasks until it is gone.

    Parameters
    ----------
    warm : list of str
        Addresses of the classes to warm up.
    """
    _yield_to_predictions()
    # Imported behind the limit of threads: NumPy and torch read it when they are imported.
    from training.execution.run_task import TaskContext

    fault_injection.install(settings.fault_point)
    presence.join(settings.run_dir)
    context = TaskContext.from_settings(settings)
    connection = wait_for_owner(settings.run_dir, role, lambda: _warm_up(role, warm, context))
    if connection is None:
        return
    tasks: queue.SimpleQueue[WorkerMessage] = queue.SimpleQueue()
    with suppress(ConnectionClosed):
        connection.send({"stage": "started"})
        threading.Thread(target=_receive, args=(connection, tasks), daemon=True).start()
        while True:
            connection.send(_do(tasks.get(), context, connection))
    os._exit(1)  # at once: no library may delay the exit of a process that nobody waits for


def _do(message: WorkerMessage, context: TaskContext, connection: MessageConnection) -> WorkerMessage:
    """Do one task and return the message with its result or its error."""
    from training.execution.run_task import run_task
    from training.execution.tasks import task_from_dict

    def announce(stage: str, **facts: object) -> None:
        connection.send({"stage": stage, "facts": facts})

    try:
        progress = announce if message["announce"] else no_progress
        return {"result": run_task(task_from_dict(message["task"]), context, progress)}
    except MillwrightError as error:
        return {"error": serialize_error(error)}
    except ConnectionClosed:
        raise
    except Exception as error:  # the data of one model must not end the tasks of the others
        traceback.print_exc()
        return {"error": serialize_error(crash_error(error))}


def _receive(connection: MessageConnection, tasks: queue.SimpleQueue[WorkerMessage]) -> None:
    """Queue the owner's tasks; exit as soon as the owner has closed the connection or died."""
    try:
        while (message := connection.receive()) is not None:
            tasks.put(message)
    finally:
        os._exit(1)


def _warm_up(role: str, warm: list[str], context: TaskContext) -> None:
    """Import what tasks of this role need. Whatever fails here is reported by the task that needs it."""
    import structlog

    processors = structlog.processors
    # The default would print the local variables of a traceback, which takes minutes with a plant's data in them.
    structlog.configure(
        processors=[
            processors.add_log_level,
            processors.TimeStamper(fmt="iso"),
            processors.format_exc_info,
            processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    for address in warm:
        try:
            half = resolve_name(address)
            (half() if role == "trainer" else half).warm_up(context.resources)
        except Exception as error:
            structlog.get_logger().warning("warm_up_failed", half=address, reason=repr(error))


def _yield_to_predictions() -> None:
    """Use one compute thread and a low priority, so that predictions stay fast during a training."""
    os.nice(_NICENESS)
    with suppress(OSError):  # not Linux, or without such groups
        _AUTOGROUP.write_text(str(_NICENESS))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM"):
        os.environ[name] = "1" if name.endswith("THREADS") else "false"


if __name__ == "__main__":
    about = json.loads(sys.argv[1])
    values = json.loads(sys.stdin.readline())
    main(about["role"], about["warm"], Settings(**{**values, "home": Path(values["home"])}))
