"""Named points at which a test may kill, fail or delay this process. In production each is an empty call."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable

from errors import ConfigurationError

# Every point, in the order in which a session and then a restore reach them.
STEPS = (
    "train.admitted",
    "train.pending_synced",
    "backup.staged",
    "backup.synced",
    "backup.renamed",
    "child.started",
    "child.prepared",
    "child.fitted",
    "child.saved",
    "verify.loaded",
    "journal.staged",
    "journal.synced",
    "apply.moved",
    "apply.appended",
    "apply.pointed",
    "apply.recorded",
    "journal.cleared",
    "restore.staged",
    "restore.synced",
)


def fault_point(step: str) -> None:
    """Do nothing, until :func:`install` replaces this function."""


def install(spec: str) -> None:
    """Make one step fail; an empty ``spec`` changes nothing.

    Parameters
    ----------
    spec : str
        ``step:kill``, ``step:raise`` or ``step:sleep``, optionally with ``:n``: kill or raise at the n-th
        time (default 1), or sleep n seconds (default 1).

    Raises
    ------
    ConfigurationError
        There is no such step or action.
    """
    if not spec:
        return
    step, _, rest = spec.partition(":")
    action, _, number = rest.partition(":")
    if step not in STEPS or action not in {"kill", "raise", "sleep"}:
        raise ConfigurationError(f"Fault point {spec!r} is not step:kill|raise|sleep[:n]; steps: {STEPS}")
    try:
        globals()["fault_point"] = _make_fault_point(step, action, float(number or 1))
    except ValueError as error:
        raise ConfigurationError(f"Fault point {spec!r} does not end in a number") from error


def _make_fault_point(step: str, action: str, number: float) -> Callable[[str], None]:
    arrivals = 0

    def live_fault_point(name: str) -> None:
        nonlocal arrivals
        if name != step:
            return
        arrivals += 1
        if action == "sleep":
            time.sleep(number)
        elif arrivals == int(number):
            if action == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.EIO, f"fault injected at {step}")

    return live_fault_point
