"""The redo journal: one durable entry is the only instant at which anything changes.

Before ``entry.json`` has its name nothing has changed. Afterwards every step of it will be applied, by this
process or by the next one that takes the store lock. Steps can be repeated, so a crash needs no undo.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from errors import (
    ArtefactCorrupt,
    Conflict,
    DiskFull,
    MillwrightError,
    NotReady,
    StorageFailed,
    describe_error,
)
from storage import fault_injection
from storage.filesystem.append import append_bytes, check_append, check_unchanged
from storage.filesystem.checked_write import write_atomic
from storage.filesystem.checksummed_json import encode_checksummed, read_checksummed
from storage.filesystem.files import (
    make_folders,
    remove_tree,
    storage_errors,
    sync_dir,
    sync_file_systems,
    temporary_path,
)
from storage.filesystem.locks import store_lock
from storage.filesystem.presence import remove_abandoned
from storage.filesystem.tidying import tidy_up
from storage.journal_steps import JournalEntry, Move, Remove
from storage.models.pointers import MODEL_PATH, Pointers

_LOCK_TIMEOUT_S: Final = 60.0
_SPARE_BYTES: Final = 1 << 20
_DAMAGED: Final = (
    "The journal entry data/journal/entry.json is damaged, so nothing can be stored. Move it away, then verify the"
    " backups and restore the newest one: the commit it describes may be half done"
)
# With more moves and pointers than this, one sync of the file system is cheaper than one per folder.
_MAX_SINGLE_SYNCS: Final = 32


class Journal:
    """The journal of one home folder.

    Parameters
    ----------
    home : Path
        What the paths of an entry are relative to. The entry itself is ``data/journal/entry.json``.
    run_dir : Path
        Folder of the locks; ``lock`` is the store lock.
    pointers : Pointers
        The live pointers.
    on_applied : callable
        Called with every entry once its files are in place, and again after a crash. It records the results.
    check_home : callable
        Raises where a folder of the home is not where it was: then nothing may be changed.
    """

    def __init__(
        self,
        home: Path,
        run_dir: Path,
        pointers: Pointers,
        on_applied: Callable[[JournalEntry], None],
        check_home: Callable[[], None] = lambda: None,
    ) -> None:
        self.home = home
        self.lock = store_lock(run_dir)
        self._run_dir = run_dir
        self._folder = home / "data" / "journal"
        self._file = self._folder / "entry.json"
        self._pointers = pointers
        self._on_applied = on_applied
        self._check_home = check_home

    @contextmanager
    def hold_store_lock(self, timeout_s: float | None = _LOCK_TIMEOUT_S) -> Iterator[None]:
        """Hold the store lock, after finishing what a crash left behind. Not reentrant.

        Raises
        ------
        NotReady
            The lock was not free within the timeout, or a folder of the home is not where it was.
        StorageFailed, DiskFull
            The entry left behind cannot be finished now.
        """
        if not self.lock.acquire(timeout_s):
            raise NotReady("The store is busy. Please try again in a few seconds.", retry_after=5)
        try:
            self._check_home()
            self.recover()
            yield
        finally:
            self.lock.release()

    def finish_pending(self) -> None:
        """Finish an entry that a dead process left behind. Costs one ``stat`` where there is none.

        Call it before reading data files without the store lock: they may be half written.

        Raises
        ------
        NotReady, StorageFailed, DiskFull, ArtefactCorrupt
            It cannot be finished now; the data files may not be read.
        """
        if os.path.lexists(self._file):
            with self.hold_store_lock():
                pass

    def issue(self) -> str | None:
        """Describe a commit that nobody is finishing; None where there is none."""
        if not os.path.lexists(self._file) or self.lock.is_held():
            return None
        try:
            self._read()
        except ArtefactCorrupt as error:
            return error.message
        return "A commit is not finished yet; it is finished as soon as the disk and the database allow it"

    def commit(self, entry: JournalEntry) -> None:
        """Apply everything in the entry. The caller holds the store lock.

        Raises
        ------
        Conflict
            A file is not as the entry expects it (edited by hand meanwhile). Nothing has changed.
        DiskFull, StorageFailed
            Nothing has changed; or, where the error has the field ``committed``, everything will: the next
            process that takes the store lock finishes it.
        """
        self._check(entry)
        self._write(entry)
        try:
            fault_injection.fault_point("journal.synced")
            self._apply(entry)
        except Exception as error:
            reason = describe_error(error, with_detail=False)
            failure = StorageFailed(
                f"The change is committed and will be finished as soon as this is solved: {reason}",
                committed=True,
            )
            if isinstance(error, MillwrightError):
                failure.detail = error.detail
            raise failure from error
        with tidy_up("clear the journal", kind=entry.kind):
            self._clear(entry)
            fault_injection.fault_point("journal.cleared")

    def recover(self) -> JournalEntry | None:
        """Finish the entry a crash left behind and return it. The caller holds the store lock.

        Raises
        ------
        ArtefactCorrupt
            The entry cannot be trusted; the message says what to do.
        StorageFailed, DiskFull
            It cannot be finished now; it stays.
        """
        entry = self._read()
        if entry is not None:
            self._apply(entry)
            self._clear(entry)
            fault_injection.fault_point("journal.cleared")
        remove_abandoned(self._folder, self._run_dir)
        return entry

    def staging(self, label: str) -> Path:
        """Make an empty folder below home for files that an entry will move into place."""
        folder = temporary_path(self._folder, "staging", label)
        remove_tree(folder)
        make_folders(folder)
        return folder

    def _check(self, entry: JournalEntry) -> None:
        """Raise, before anything has changed, if a step could not be applied."""
        make_folders(self._folder)
        for append in entry.appends:
            file = self._path(append.path)
            make_folders(file.parent)
            check_append(file, append.old_size)
        for move in entry.moves:
            if isinstance(move, Remove):
                continue
            if (
                entry.kind != "restore"
                and is_version(move.target)
                and os.path.lexists(self._path(move.target))
            ):
                raise Conflict(f"{move.target} exists already; nothing has changed")
            if not os.path.lexists(self._path(move.source)):
                raise StorageFailed(f"{move.source} does not exist any more; nothing has changed")
            if move.signature is not None:
                check_unchanged(self._path(move.target), move.signature)
        free = os.statvfs(self._folder)
        # One character is at most four bytes in UTF-8.
        needed = sum(4 * len(append.text) for append in entry.appends) + _SPARE_BYTES
        if free.f_bavail * free.f_frsize < needed:
            raise DiskFull("No space left to commit. Nothing has changed; free some space and try again.")

    def _read(self) -> JournalEntry | None:
        if not os.path.lexists(self._file):
            return None
        try:
            return JournalEntry.from_dict(read_checksummed(self._file))
        except (ArtefactCorrupt, KeyError, TypeError, ValueError) as error:
            raise ArtefactCorrupt(_DAMAGED) from error

    def _write(self, entry: JournalEntry) -> None:
        data = encode_checksummed({"format": 1, **entry.to_dict()})
        fault_injection.fault_point("journal.staged")
        try:
            write_atomic(self._file, data)
        except MillwrightError:
            with suppress(OSError):
                self._file.unlink()  # it may have got its name before the disk refused
            raise

    def _apply(self, entry: JournalEntry) -> None:
        sync_once = len(entry.moves) + len(entry.pointers) > _MAX_SINGLE_SYNCS
        self._move(entry.moves, durable=not sync_once)
        fault_injection.fault_point("apply.moved")
        for append in entry.appends:
            append_bytes(self._path(append.path), append.old_size, append.text.encode("utf-8"))
        fault_injection.fault_point("apply.appended")
        for pointer in entry.pointers:
            self._pointers.set_champion(pointer.path, pointer.version, durable=not sync_once)
        if sync_once:
            pointer_folders = {self._pointers.pointer_file(pointer.path).parent for pointer in entry.pointers}
            sync_file_systems(self._changed_folders(entry.moves) | pointer_folders)
        if entry.epoch or entry.pointers:
            self._pointers.raise_epoch(reload=entry.epoch)
        fault_injection.fault_point("apply.pointed")
        self._on_applied(entry)
        fault_injection.fault_point("apply.recorded")

    def _move(self, moves: Sequence[Move | Remove], *, durable: bool) -> None:
        for move in moves:
            if isinstance(move, Remove):
                remove_tree(self._path(move.path))
            else:
                _rename_once(self._path(move.source), self._path(move.target))
        if durable:
            for folder in self._changed_folders(moves):
                sync_dir(folder)

    def _changed_folders(self, moves: Sequence[Move | Remove]) -> set[Path]:
        """Return the existing folders in which the moves have changed names."""
        names: set[str] = set()
        for move in moves:
            names |= {move.path} if isinstance(move, Remove) else {move.source, move.target}
        return {folder for folder in {self._path(name).parent for name in names} if folder.is_dir()}

    def _clear(self, entry: JournalEntry) -> None:
        with storage_errors(self._file):
            self._file.unlink()
        sync_dir(self._folder)
        for source in {self._path(move.source) for move in entry.moves if isinstance(move, Move)}:
            if source.is_relative_to(self._folder):
                remove_tree(self._folder / source.relative_to(self._folder).parts[0])

    def _path(self, name: str) -> Path:
        """Return a path of an entry. A path that leaves home was not written by Millwright."""
        path = self.home / name
        if ".." in path.parts or not path.is_relative_to(self.home) or path == self.home:
            raise StorageFailed(f"The journal names {name!r}, which is not below {self.home}")
        return path


def is_version(path: str) -> bool:
    """Return whether a path below home is the folder of a version: those never change, but for a restore."""
    top, _, model = path.partition("/")
    return top == "models" and MODEL_PATH.fullmatch(model.rpartition("/")[0]) is not None


def _rename_once(source: Path, target: Path) -> None:
    """Rename, unless an earlier attempt has done so. A folder in the way is removed first."""
    with storage_errors(target):
        if not os.path.lexists(source):
            if not os.path.lexists(target):
                raise StorageFailed(f"Neither {source} nor {target} exists: the commit cannot be finished")
            return
        make_folders(target.parent)
        if os.path.lexists(target) and stat.S_ISDIR(target.lstat().st_mode):
            remove_tree(target)
        source.rename(target)
