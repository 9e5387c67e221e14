"""The folders of a home must stay where they are while Millwright runs; one that does not is noticed and told.

``models/`` and ``model_backups/`` hold a mark, the id of the home; ``data/`` holds ``home.json``. A folder that
was deleted, moved away or replaced by another one lacks the mark. Then nothing is stored until it is back, or
until Millwright was restarted, which makes it anew and says for a while what was lost with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from errors import MillwrightError, NotReady
from settings import Settings
from storage.db.database import Database
from storage.filesystem.checked_write import write_atomic
from storage.filesystem.files import read_regular_file
from storage.filesystem.locks import ProcessLock
from storage.times import utc_now

MARK: Final = "home.id"
_MAX_MARK_BYTES: Final = 100
# How long health tells of what was lost.
_LOSS_SHOWN: Final = timedelta(days=7)
BACKUPS: Final = "model_backups"
# The parts of a home as sentences name them.
_NAMES: Final = {
    "models": "The folder models/",
    BACKUPS: "The folder model_backups/",
    "data": "The folder data/",
    "locks": "The folder data/run/locks",
    "database": "The database file",
}
_LOST: Final = {
    "models": "the versions in it are gone: restore a backup, or train again",
    BACKUPS: "the backups in it are gone",
    "data": "training data, sessions and keys in it are gone: restore a backup",
    "database": "sessions, keys, sensors and readings in it are gone: put a copy back",
}


class HomeChanged(NotReady):
    """A folder of the home, or the database's file, is not where it was when Millwright started."""

    code = "home_changed"


class HomeFolders:
    """The top folders, the lock files and the database of one home.

    Parameters
    ----------
    read_losses : callable
        Returns what was missing at a start of any process, and when.
    lock : ProcessLock
        Any lock of the home.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        home_id: str,
        read_losses: Callable[[], Mapping[str, datetime]],
        lock: ProcessLock,
    ) -> None:
        self._folders = {"models": settings.models_dir, BACKUPS: settings.backups_dir}
        self._record = settings.data_dir / "home.json"
        self._database = database
        self._home_id = home_id
        self._read_losses = read_losses
        self._losses_at_start = dict(read_losses())
        self._lock = lock

    def changes(self, part: str | None = None) -> list[str]:
        """Return a sentence for everything, or for one part, that is not where it was. Costs about 0.1 ms."""
        return [
            f"{_NAMES[name]} was deleted, moved or replaced while Millwright ran: put it back, or restart Millwright "
            "to go on without it. Nothing is stored until then"
            for name in self._find_changes()
            if part in (None, name)
        ]

    def losses(self, part: str | None = None) -> list[str]:
        """Return a sentence for everything, or for one part, that was missing when Millwright started, lately."""
        recent = {name: at for name, at in self._read_losses().items() if utc_now() - at < _LOSS_SHOWN}
        return [
            f"{_NAMES[name]} was missing when Millwright started on {at:%Y-%m-%d %H:%M} UTC, and was made anew:"
            f" {_LOST[name]}"
            for name, at in recent.items()
            if part in (None, name)
        ]

    def check(self) -> None:
        """Check that everything is where it was; whoever stores something calls this first.

        Raises
        ------
        HomeChanged
            Nothing may be stored.
        """
        if changes := self.changes():
            raise HomeChanged(". ".join(changes) + ".")

    def _find_changes(self) -> Iterator[str]:
        if not self._record.exists():
            yield "data"
            return  # locks and database are usually inside
        for name, folder in self._folders.items():
            if read_mark(folder) != self._home_id:
                yield name
        # A process that started since has made anew what this one misses.
        for name, at in self._read_losses().items():
            if self._losses_at_start.get(name) != at:
                yield name
        if not self._lock.is_intact():
            yield "locks"
        if not self._database.is_in_place():
            yield "database"


def read_mark(folder: Path) -> str | None:
    """Return the id of the home that a folder belongs to; None where it has no mark."""
    with suppress(MillwrightError, UnicodeDecodeError):
        return read_regular_file(folder / MARK, _MAX_MARK_BYTES).decode().strip()
    return None


def write_mark(folder: Path, home_id: str) -> None:
    """Mark a folder as belonging to a home."""
    write_atomic(folder / MARK, f"{home_id}\n".encode())
