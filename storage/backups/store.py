"""Backups: immutable snapshots of data files, versions and pointers, each whole or absent.

A backup is made under a temporary name, made durable, then renamed. Its manifest says what it holds, with
sizes and hashes, and carries its own hash; its order among the others is the manifest's sequence number.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from errors import BackupCorrupt, Conflict, MillwrightError, NotFound, StorageFailed
from storage import fault_injection
from storage.backups.backup import (
    BACKUP_NAME,
    Backup,
    FolderSignature,
    folder_signature,
    read_backup,
    read_manifest,
)
from storage.backups.restore import plan_restore
from storage.backups.snapshot import write_snapshot
from storage.db.tables import utc_now
from storage.filesystem.checksummed_json import encode_checksummed
from storage.filesystem.files import (
    copy_and_hash,
    link_or_copy,
    read_regular_file,
    remove_tree,
    storage_errors,
    sync_dir,
    sync_file,
    sync_folders,
    temporary_path,
    write_atomic,
)
from storage.models.versions import MANIFEST, VersionStore, find_differences

__all__ = ["Backup", "BackupStore"]

FORMAT: Final = 1
_TAKEN: Final = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}


class BackupStore:
    """The folder ``model_backups/``. Whoever creates, deletes, retains or restores holds the store lock.

    Parameters
    ----------
    backups_dir : Path
        The folder.
    home : Path
        What the names of the files in a manifest are relative to.
    versions : VersionStore
        Where versions and pointers are.
    clock : callable
        Gives this instant in UTC; names and dates come from it, the order does not.
    """

    def __init__(
        self, backups_dir: Path, home: Path, versions: VersionStore, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.backups_dir = backups_dir
        self._home = home
        self._versions = versions
        self._clock = clock
        self._looked: dict[str, tuple[FolderSignature, Backup]] = {}
        self._sequences: dict[tuple[str, int], int] = {}

    def create(
        self,
        reason: str,
        files: Sequence[Path],
        paths: Sequence[str],
        session_id: int | None = None,
        retain: bool = False,
    ) -> Backup:
        """Snapshot data files and the champions of models.

        Parameters
        ----------
        files : sequence of Path
            Data files below home; one that is absent is recorded as absent.
        paths : sequence of str
            Paths of the models in scope. A champion that is damaged is left out, and the reason says so.

        Raises
        ------
        DiskFull, StorageFailed, ArtefactCorrupt
            There is no new backup.
        """
        staging, created = temporary_path(self.backups_dir), self._clock().astimezone(UTC)
        others = self._names()
        try:
            facts = write_snapshot(files, paths, staging, self._home, self._versions)
            facts["reason"] = "; ".join([reason, *facts.pop("left_out")])
            facts |= {"format": FORMAT, "sequence": self._next_sequence(others), "session_id": session_id}
            _seal(staging, facts | {"created": created.isoformat()})
            name = self._renamed(staging, created, others)
        except BaseException:
            remove_tree(staging)
            raise
        sync_dir(self.backups_dir)
        fault_injection.fault_point("backup.renamed")
        return self.retain(name, True) if retain else self._look(name, self._retained())

    def get(self, name: str) -> Backup:
        """A backup, by looking its name up among those that are there.

        Raises
        ------
        NotFound
            No backup has that name.
        """
        if BACKUP_NAME.fullmatch(name) and name in self._names():
            return self._look(name, self._retained())
        raise NotFound("There is no backup of that name: GET /train/backups lists them")

    def verify(self, name: str) -> Backup:
        """Read every byte of a backup and compare it with the manifest.

        Raises
        ------
        NotFound
            No backup has that name.
        BackupCorrupt
            With the list of ``problems``.
        """
        backup = self.get(name)
        held = backup.manifest.get("files")
        problems = [backup.problem] if held is None else find_differences(backup.folder, held)
        if problems:
            raise BackupCorrupt(f"{name} is damaged: {problems[0]}", problems=problems)
        return backup

    def delete(self, name: str) -> None:
        """Delete a backup; a kill on the way leaves it whole or gone.

        Raises
        ------
        NotFound
            No backup has that name.
        Conflict
            It is marked to be retained.
        """
        backup = self.get(name)
        if backup.retain:
            raise Conflict(
                f"{name} is marked to be retained. Take that mark off first: "
                f"`.venv/bin/python cli/backups.py retain {name} --off`"
            )
        remove_tree(backup.folder)
        sync_dir(self.backups_dir)

    def retain(self, name: str, retain: bool) -> Backup:
        """Mark a backup so that nothing deletes it, or take the mark off.

        Raises
        ------
        NotFound
            No backup has that name.
        """
        backup, names = self.get(name), set(self._names())
        marked = (names if (known := self._retained()) is None else known & names) - {name}
        marked |= {name} if retain else set()
        data = json.dumps({"retain": sorted(marked)}, indent=1).encode()
        write_atomic(self.backups_dir / "retain.json", data)
        return replace(backup, retain=retain)

    def stage_restore(self, name: str, staging: Path) -> dict[str, Any]:
        """Copy what a restore would put in place, verified, into a folder below home.

        Returns
        -------
        dict
            ``moves`` and ``pointers`` for the journal, ``changes`` in words.

        Raises
        ------
        NotFound, BackupCorrupt
            Nothing may be restored.
        DiskFull, StorageFailed
            The staging folder may be filled in part.
        """
        backup = self.verify(name)
        plan = plan_restore(backup, self._home, self._versions)
        for file in plan.staged:
            _stage(backup, file, staging / file)
        fault_injection.fault_point("restore.staged")
        sync_folders(staging)
        fault_injection.fault_point("restore.synced")
        at = staging.relative_to(self._home).as_posix()
        moves = [{"from": f"{at}/{item}", "to": item} for item in plan.replaced]
        moves += [{"remove": item} for item in plan.removed]
        return {"moves": moves, "pointers": plan.pointers, "changes": plan.changes}

    def preview_restore(self, name: str) -> list[str]:
        """What a restore would change, in words.

        Raises
        ------
        NotFound, BackupCorrupt
            As :meth:`verify`.
        """
        return plan_restore(self.verify(name), self._home, self._versions).changes

    def list(self) -> list[Backup]:
        """Every backup, oldest first; a damaged one has ``verified`` False and its ``problem``."""
        retained = self._retained()
        names = self._names()
        backups = [self._look(name, retained) for name in names]
        self._looked = {name: known for name, known in list(self._looked.items()) if name in names}
        there = [backup for backup in backups if backup.folder.exists()]  # not deleted meanwhile
        return sorted(there, key=lambda backup: (backup.sequence, backup.created, backup.name))

    def _names(self) -> dict[str, int]:
        """The names that are there, with the folders' inodes."""
        with storage_errors(self.backups_dir), os.scandir(self.backups_dir) as entries:
            backups = (
                e for e in entries if BACKUP_NAME.fullmatch(e.name) and e.is_dir(follow_symlinks=False)
            )
            return {entry.name: entry.inode() for entry in backups}

    def _next_sequence(self, others: Mapping[str, int]) -> int:
        known = self._sequences
        self._sequences = {key: known.get(key) or self._sequence(key[0]) for key in others.items()}
        return max(self._sequences.values(), default=0) + 1

    def _sequence(self, name: str) -> int:
        try:
            return int(read_manifest(self.backups_dir / name)["sequence"])
        except MillwrightError:
            return 0

    def _renamed(self, staging: Path, created: datetime, taken: Container[str]) -> str:
        """Give the staged backup the first free name of its second; the rename itself arbitrates."""
        base = f"backup_{created:%Y%m%d_%H%M%S}"
        for number in range(1, 1_000_000_000):
            name = base if number == 1 else f"{base}_{number}"
            if name not in taken and _rename(staging, self.backups_dir / name):
                return name
        raise StorageFailed(f"No name is left for a backup at {base}")

    def _retained(self) -> set[str] | None:
        """The names that are marked; None, which means all of them, where the marks cannot be read."""
        file = self.backups_dir / "retain.json"
        if not file.exists():
            return set()
        try:
            return {str(name) for name in json.loads(read_regular_file(file))["retain"]}
        except (MillwrightError, ValueError, TypeError, KeyError):
            return None

    def _look(self, name: str, retained: set[str] | None) -> Backup:
        """A backup, read again only where something in its folder looks different."""
        folder = self.backups_dir / name
        try:
            signs = folder_signature(folder)
        except StorageFailed:
            signs = frozenset()
        known = self._looked.get(name)
        if known is None or known[0] != signs:
            known = self._looked[name] = signs, read_backup(folder, signs)
        return replace(known[1], retain=retained is None or name in retained)


def _seal(staging: Path, facts: dict[str, Any]) -> None:
    """Write the manifest and make everything durable; linked artefacts are since their version was sealed."""
    write_atomic(staging / MANIFEST, encode_checksummed(facts), durable=False)
    fault_injection.fault_point("backup.staged")
    for name in [MANIFEST, *(name for name in facts["files"] if not name.startswith("models/"))]:
        sync_file(staging / name)
    sync_folders(staging)
    fault_injection.fault_point("backup.synced")


def _rename(staging: Path, target: Path) -> bool:
    with storage_errors(target):
        try:
            staging.rename(target)
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
    return True


def _stage(backup: Backup, file: str, target: Path) -> None:
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    expected = backup.manifest["files"][file]
    if file.startswith("models/"):
        link_or_copy(backup.folder / file, target)
    elif copy_and_hash(backup.folder / file, target) != (expected["size"], expected["sha256"]):
        raise BackupCorrupt(f"{backup.name} is damaged: {file} changed while it was read")
