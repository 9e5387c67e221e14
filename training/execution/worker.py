"""The process that does one task of one session: it reads stored data and writes its staging folder only.

The executor starts it as ``python -m training.execution.worker {"role": …}``. What is heavy is imported while it waits
for its task; what it announces and answers goes back over the socket, standard output is not used.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path

from errors import MillwrightError, TrainingFailed
from prediction.contract import JSON, Resources
from training.execution.ipc import ConnectionClosed, MessageConnection, serialize_error
from training.execution.warm_process import wait_for_task

_NICENESS = 5
_AUTOGROUP = Path("/proc/self/autogroup")
"""Where Linux groups processes by session, priorities count within a group only; this is the group's."""


def main(about: JSON) -> None:
    """Wait as the spare of a role, serve one task, and leave."""
    _be_modest()
    resources = Resources(Path(about["cache_dir"]), about["sentence_model"])
    wire = wait_for_task(Path(about["run_dir"]), about["role"], lambda: _warm_up(about, resources))
    if wire is not None:
        try:
            serve(wire, resources)
        except ConnectionClosed:
            os._exit(1)  # the owner has gone: nobody is interested any more


def serve(wire: MessageConnection, resources: Resources) -> None:
    """Do the one task that comes over the wire; its end, good or bad, is the last message."""
    wire.send({"stage": "started", "pid": os.getpid()})
    task = wire.receive()
    if task is None:
        return
    threading.Thread(target=_leave_with_owner, args=(wire,), daemon=True).start()
    try:
        answer = {"result": _work(task, resources, wire)}
    except MillwrightError as error:
        answer = {"error": serialize_error(error)}
    except ConnectionClosed:
        raise
    except Exception as error:
        traceback.print_exc()
        answer = {
            "error": serialize_error(TrainingFailed(f"Training failed: {type(error).__name__}: {error}"))
        }
    wire.send(answer)


def _work(task: JSON, resources: Resources, wire: MessageConnection) -> JSON:
    from storage import fault_injection
    from training.execution import tasks

    if task.get("fault_point"):
        fault_injection.install(task["fault_point"])
    fault_injection.fault_point("child.started")

    def announce(stage: str, **facts: object) -> None:
        wire.send({"stage": stage, **facts})

    return tasks.TASKS[task["task"]](task, resources, announce)


def _warm_up(about: JSON, resources: Resources) -> None:
    """Import what sessions of this role need. Whatever goes wrong here will be said by the session itself."""
    import structlog

    from training.execution import tasks

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for address in about["warm"]:
        try:
            half = tasks.import_object(address)
            (half() if about["role"] == "trainer" else half).warm_up(resources)
        except Exception as error:
            structlog.get_logger().warning("warm_up_failed", half=address, reason=repr(error))


def _leave_with_owner(wire: MessageConnection) -> None:
    """Die as soon as the owner of the session has died or hung up."""
    try:
        while wire.connection.recv(1):
            pass
    finally:
        os._exit(1)


def _be_modest() -> None:
    """One compute thread and a lower priority, so that predictions stay fast while a training runs."""
    os.nice(_NICENESS)
    with suppress(OSError):  # not Linux, or without such groups
        _AUTOGROUP.write_text(str(_NICENESS))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM"):
        os.environ[name] = "1" if name.endswith("THREADS") else "false"


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
