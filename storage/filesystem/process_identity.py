"""Who a process is: its number and the instant it started, so that a reused number is not taken for it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


def start_time(pid: int) -> int | None:
    """When a living process started, in clock ticks since boot; None where no such process lives.

    Zombies count as dead: they hold nothing any more. Where there is no ``/proc`` the answer for a living
    process is 0, and only its number identifies it.
    """
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None if Path("/proc/self/stat").exists() else _signalled(pid)
    fields = facts[facts.rindex(")") + 2 :].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def is_alive(pid: int, start: int) -> bool:
    """Whether the process that had this number and started then still lives."""
    return start_time(pid) == start


def own_start_time() -> int:
    """When this process started."""
    return _own_start(os.getpid())


@cache
def _own_start(pid: int) -> int:
    return start_time(pid) or 0


def _signalled(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0
