"""Named instants at which a test may kill, fail or delay this process; in production an empty call each."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable

from errors import ConfigurationError

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
"""Every step, in the order in which a session and then a restore reach them."""


def fault_point(step: str) -> None:
    """Nothing, until :func:`install` puts a live fault point in its place."""


def install(spec: str) -> None:
    """Make one step fail; an empty ``spec`` changes nothing.

    Parameters
    ----------
    spec : str
        ``step:kill``, ``step:raise`` or ``step:sleep``, optionally with ``:n``: kill or raise at the n-th
        arrival (1 unless told), or sleep n seconds (1 unless told).

    Raises
    ------
    ConfigurationError
        No such step or action.
    """
    if spec:
        globals()["reached"] = _live(*_parsed(spec))


def _parsed(spec: str) -> tuple[str, str, float]:
    step, _, rest = spec.partition(":")
    action, _, number = rest.partition(":")
    if step not in STEPS or action not in {"kill", "raise", "sleep"}:
        raise ConfigurationError(f"Fault point {spec!r} is not step:kill|raise|sleep[:n]; steps: {STEPS}")
    try:
        return step, action, float(number or 1)
    except ValueError as error:
        raise ConfigurationError(f"Fault point {spec!r} does not end in a number") from error


def _live(step: str, action: str, number: float) -> Callable[[str], None]:
    arrivals = 0

    def reached_live(name: str) -> None:
        nonlocal arrivals
        if name != step:
            return
        arrivals += 1
        if action == "sleep":
            time.sleep(number)
        elif arrivals == int(number):
            _fail(action, name)

    return reached_live


def _fail(action: str, step: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise OSError(errno.EIO, f"fault injected at {step}")
