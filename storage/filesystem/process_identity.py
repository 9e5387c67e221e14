"""The identity of a process: its number and its start time, because the system reuses numbers."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def start_time(pid: int) -> int | None:
    """Return when a living process started, in clock ticks since boot; None where no such process lives.

    Zombies count as dead: they hold nothing any more. Without ``/proc`` the result for a living process is 0,
    and only its number identifies it.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None if Path("/proc/self/stat").exists() else _start_without_proc(pid)
    # The name in parentheses may itself hold spaces and parentheses.
    fields = status[status.rindex(")") + 2 :].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def is_alive(pid: int, start: int) -> bool:
    """Return whether the process with this number and start time still lives."""
    return start_time(pid) == start


def own_start_time() -> int:
    """Return when this process started."""
    return _own_start(os.getpid())


@cache
def _own_start(pid: int) -> int:
    return start_time(pid) or 0


def _start_without_proc(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
