"""The redo journal: one durable entry is the only instant at which anything changes.

Before ``entry.json`` has its name nothing has changed; from then on everything in it will happen, done by
this process or by whoever next takes the store lock. Every step can be done twice.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from errors import DiskFull, MillwrightError, NotReady, StorageFailed
from storage import fault_injection
from storage.filesystem.append import append_bytes, check_append, check_unchanged
from storage.filesystem.checksummed_json import encode_checksummed, read_checksummed
from storage.filesystem.files import (
    make_folders,
    remove_abandoned,
    remove_tree,
    storage_errors,
    sync_dir,
    sync_file_systems,
    temporary_path,
    write_atomic,
)
from storage.filesystem.locks import ProcessLock
from storage.models.pointers import Pointers

_PATIENCE_S: Final = 60.0
_SPARE_BYTES: Final = 1 << 20
_MANY: Final = 32
"""From so many moves and pointers on, one sync of the file system is cheaper than one of each folder."""


@dataclass(frozen=True)
class JournalEntry:
    """Everything that one session, restore or promotion changes.

    Parameters
    ----------
    kind : str
        ``train``, ``restore``, ``undo``, ``promote`` or ``import``.
    session_id : int or None
        The session whose row gets the result.
    moves : sequence of dict
        ``{"from", "to"}`` puts a staged file or folder in its place, over what was there; with ``as_of``
        (see :func:`storage.filesystem.append.stat_signature`) only if that has not changed since. ``{"remove"}`` deletes.
        All paths are relative to home.
    appends : sequence of dict
        ``{"path", "old_size", "text"}``.
    pointers : sequence of dict
        ``{"path", "version"}``: a model's path and its new champion, or None.
    epoch : bool
        Whether every worker has to load again.
    result : dict
        What the session's row says in the end.
    """

    kind: str
    session_id: int | None = None
    moves: Sequence[dict[str, Any]] = ()
    appends: Sequence[dict[str, Any]] = ()
    pointers: Sequence[dict[str, Any]] = ()
    epoch: bool = False
    result: dict[str, Any] = field(default_factory=dict)

    def changed_paths(self) -> set[str]:
        """The paths of everything that is written, replaced or removed."""
        moved = {move[way] for move in self.moves for way in ("to", "remove") if way in move}
        return moved | {append["path"] for append in self.appends}


class Journal:
    """The journal of one home folder.

    Parameters
    ----------
    home : Path
        What the paths of an entry are relative to; the entry itself is ``data/journal/entry.json``.
    lock : ProcessLock
        The store lock.
    pointers : Pointers
        Where the live pointers are.
    on_result : callable
        Told every entry once its files are in place, and again after a crash: it records the session's end.
    """

    def __init__(
        self, home: Path, lock: ProcessLock, pointers: Pointers, on_result: Callable[[JournalEntry], None]
    ) -> None:
        self.home = home
        self.lock = lock
        self._folder = home / "data" / "journal"
        self._file = self._folder / "entry.json"
        self._pointers = pointers
        self._on_result = on_result

    @contextmanager
    def hold_store_lock(self, timeout_s: float | None = _PATIENCE_S) -> Iterator[None]:
        """Hold the store lock, with whatever a crash left behind finished first. Not reentrant.

        Raises
        ------
        NotReady
            Others held the lock all that time.
        StorageFailed, DiskFull
            The entry left behind cannot be finished now.
        """
        if not self.lock.acquire(timeout_s):
            raise NotReady("The store is busy. Please try again in a few seconds.", retry_after=5)
        try:
            self.recover()
            yield
        finally:
            self.lock.release()

    def finish_pending(self) -> None:
        """Finish an entry that a dead process left behind, if there is one; costs one ``stat`` if not.

        Call it before reading data files outside the store lock.
        """
        if self._file.exists():
            with self.hold_store_lock():
                pass

    def commit(self, entry: JournalEntry) -> None:
        """Make everything in the entry happen. The caller holds the store lock.

        Raises
        ------
        Conflict
            A file is not as the entry expects it (edited by hand meanwhile). Nothing has changed.
        DiskFull, StorageFailed
            Nothing has changed; or, where the error's facts say ``committed``, everything will: whoever next
            takes the store lock finishes it.
        """
        self._check(entry)
        self._stage(entry)
        try:
            fault_injection.fault_point("journal.synced")
            self._finish(entry)
        except Exception as error:
            raise StorageFailed(
                f"The change is committed and will be finished as soon as the disk allows it ({error}).",
                committed=True,
            ) from error

    def recover(self) -> JournalEntry | None:
        """Finish the entry a crash left behind. The caller holds the store lock.

        Returns
        -------
        Entry or None
            The entry that was finished.

        Raises
        ------
        ArtefactCorrupt
            The entry cannot be trusted.
        StorageFailed, DiskFull
            It cannot be finished now; it stays.
        """
        entry = self._left_behind()
        if entry is not None:
            self._finish(entry)
        remove_abandoned(self._folder)
        return entry

    def staging(self, label: str) -> Path:
        """A fresh empty folder below home for files that an entry will move into place."""
        folder = temporary_path(self._folder, "staging", label)
        remove_tree(folder)
        make_folders(folder)
        return folder

    def _left_behind(self) -> JournalEntry | None:
        if not self._file.exists():
            return None
        facts = read_checksummed(self._file)
        return JournalEntry(**{part.name: facts[part.name] for part in fields(JournalEntry)})

    def _check(self, entry: JournalEntry) -> None:
        make_folders(self._folder)
        for append in entry.appends:
            file = self._path(append["path"])
            make_folders(file.parent)
            check_append(file, append["old_size"])
        for move in entry.moves:
            if "from" in move and not os.path.lexists(self._path(move["from"])):
                raise StorageFailed(f"{move['from']} has gone; nothing has changed")
            if "as_of" in move:
                check_unchanged(self._path(move["to"]), move["as_of"])
        free = os.statvfs(self._folder)
        needed = sum(4 * len(append["text"]) for append in entry.appends) + _SPARE_BYTES
        if free.f_bavail * free.f_frsize < needed:
            raise DiskFull("No space left to commit. Nothing has changed; free some space and try again.")

    def _stage(self, entry: JournalEntry) -> None:
        data = encode_checksummed({"format": 1, **asdict(entry)})
        fault_injection.fault_point("journal.staged")
        try:
            write_atomic(self._file, data)
        except MillwrightError:
            with suppress(OSError):
                self._file.unlink()  # it may have got its name before the disk refused
            raise

    def _finish(self, entry: JournalEntry) -> None:
        many = len(entry.moves) + len(entry.pointers) > _MANY
        self._move(entry.moves, durable=not many)
        fault_injection.fault_point("apply.moved")
        for append in entry.appends:
            append_bytes(self._path(append["path"]), append["old_size"], append["text"].encode("utf-8"))
        fault_injection.fault_point("apply.appended")
        for pointer in entry.pointers:
            self._pointers.point(pointer["path"], pointer["version"], durable=not many)
        if many:
            pointed = {self._pointers.pointer_file(pointer["path"]).parent for pointer in entry.pointers}
            sync_file_systems(self._folders(entry.moves) | pointed)
        if entry.epoch or entry.pointers:
            self._pointers.raise_epoch(reload=entry.epoch)
        fault_injection.fault_point("apply.pointed")
        self._on_result(entry)
        fault_injection.fault_point("apply.recorded")
        self._clear(entry)
        fault_injection.fault_point("journal.cleared")

    def _move(self, moves: Sequence[dict[str, Any]], *, durable: bool) -> None:
        for move in moves:
            if "remove" in move:
                remove_tree(self._path(move["remove"]))
            else:
                _moved(self._path(move["from"]), self._path(move["to"]))
        if durable:
            for folder in self._folders(moves):
                sync_dir(folder)

    def _folders(self, moves: Sequence[dict[str, Any]]) -> set[Path]:
        """The folders in which moves have changed names, as far as they are there."""
        names = {move[way] for move in moves for way in ("from", "to", "remove") if way in move}
        return {folder for folder in {self._path(name).parent for name in names} if folder.is_dir()}

    def _clear(self, entry: JournalEntry) -> None:
        with storage_errors(self._file):
            self._file.unlink()
        sync_dir(self._folder)
        for name in {move["from"] for move in entry.moves if "from" in move}:
            self._remove_staging(self._path(name))

    def _remove_staging(self, path: Path) -> None:
        if path.is_relative_to(self._folder):
            remove_tree(self._folder / path.relative_to(self._folder).parts[0])

    def _path(self, name: str) -> Path:
        """A path of an entry below home; an entry that leaves home was not written by Millwright."""
        path = self.home / name
        if ".." in path.parts or not path.is_relative_to(self.home) or path == self.home:
            raise StorageFailed(f"The journal names {name!r}, which is not below {self.home}")
        return path


def _moved(source: Path, target: Path) -> None:
    """Rename, unless it has been done already; a folder that is in the way steps aside."""
    with storage_errors(target):
        if not os.path.lexists(source):
            if not os.path.lexists(target):
                raise StorageFailed(f"Neither {source} nor {target} is there: the commit cannot be finished")
            return
        make_folders(target.parent)
        if os.path.lexists(target) and stat.S_ISDIR(target.lstat().st_mode):
            remove_tree(target)
        source.rename(target)
