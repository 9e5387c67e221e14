"""Which processes of a home folder are alive: each holds a lock that is named by its token.

Process numbers mean nothing across containers that share a volume; the kernel's locks do.
"""

from __future__ import annotations

import os
import re
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Final

import structlog

from errors import MillwrightError
from storage.filesystem.files import remove_tree
from storage.filesystem.locks import ProcessLock
from storage.filesystem.process_token import own_token

log = structlog.get_logger()

# Version 0.1 wrote number and start time of the process; none of its processes runs beside this version.
_TEMPORARY_NAME: Final = re.compile(
    r"\.(?:tmp|trash|staging)-(?:([0-9a-f]{16})|\d+-\d+)-.*", re.ASCII | re.DOTALL
)


class _Presence:
    """How often this process has joined each home. A forked child inherits no lock and takes its own."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._joined: Counter[Path] = Counter()
        # Homes that were left since somebody last joined or left one.
        self._left: deque[Path] = deque()
        self._locked: set[Path] = set()
        os.register_at_fork(after_in_child=self._join_again)

    def join(self, run_dir: Path) -> None:
        with self._guard:
            self._release_left()
            if not self._joined[run_dir]:
                self._take(run_dir)
            self._joined[run_dir] += 1

    def leave(self, run_dir: Path) -> None:
        self.leave_later(run_dir)
        with self._guard:
            self._release_left()

    def leave_later(self, run_dir: Path) -> None:
        """Leave without a lock: the garbage collector may ask for it in a thread that holds one."""
        self._left.append(run_dir)

    def _take(self, run_dir: Path) -> None:
        _lock(run_dir, own_token()).acquire()
        self._locked.add(run_dir)

    def _release_left(self) -> None:
        while self._left:
            run_dir = self._left.popleft()
            self._joined[run_dir] -= 1
            if not self._joined[run_dir] and run_dir in self._locked:
                self._locked.remove(run_dir)
                _lock(run_dir, own_token()).release()

    def _join_again(self) -> None:
        self._guard = threading.Lock()
        self._locked.clear()
        self._release_left()
        for run_dir, count in self._joined.items():
            if count:
                try:
                    self._take(run_dir)
                except MillwrightError as error:
                    log.warning("process_not_announced", reason=error.message)


_presence = _Presence()


def join(run_dir: Path) -> None:
    """Show the other processes of a home that this one is alive, until it ends or leaves as often as it joined.

    Raises
    ------
    LocksLost, StorageFailed, DiskFull
        The lock cannot be taken.
    """
    _presence.join(run_dir)


def leave(run_dir: Path) -> None:
    """Undo one :func:`join`."""
    _presence.leave(run_dir)


def leave_later(run_dir: Path) -> None:
    """Undo one :func:`join` when somebody next joins or leaves: for the garbage collector, which must not wait."""
    _presence.leave_later(run_dir)


def is_alive(run_dir: Path, token: str) -> bool:
    """Return whether the process with this token is alive."""
    return token == own_token() or _lock(run_dir, token).is_held()


def remove_abandoned(folder: Path, run_dir: Path) -> int:
    """Delete temporary files and folders of dead processes directly in ``folder``; return how many."""
    abandoned = (
        [entry for entry in folder.iterdir() if _is_abandoned(entry.name, run_dir)] if folder.is_dir() else []
    )
    for entry in abandoned:
        remove_tree(entry)
    return len(abandoned)


def _is_abandoned(name: str, run_dir: Path) -> bool:
    owner = _TEMPORARY_NAME.fullmatch(name)
    return owner is not None and not (owner[1] and is_alive(run_dir, owner[1]))


def _lock(run_dir: Path, token: str) -> ProcessLock:
    return ProcessLock(run_dir / "locks" / f"process {token}")
