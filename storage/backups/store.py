"""The folder of backups. A backup is immutable, and either complete or absent.

It is made under a temporary name, made durable, then renamed. Its manifest lists the files with sizes and
hashes and carries its own hash. Backups are ordered by the manifest's sequence number, not by the clock.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from errors import BackupCorrupt, Conflict, MillwrightError, NotFound, StorageFailed
from storage import fault_injection
from storage.backups.backup import (
    BACKUP_NAME,
    Backup,
    BackupManifest,
    find_damage,
    folder_signature,
    read_backup,
    read_manifest,
)
from storage.backups.restore import RestorePlan, plan_restore
from storage.backups.snapshot import Snapshot, SnapshotWriter
from storage.backups.verifications import Verification, Verifications
from storage.db.tables import utc_now
from storage.filesystem.checked_write import copy_and_hash, write_atomic, write_json
from storage.filesystem.checksummed_json import encode_checksummed
from storage.filesystem.files import (
    read_regular_file,
    remove_tree,
    storage_errors,
    sync_dir,
    sync_file,
    sync_file_systems,
    sync_folders,
    temporary_path,
)
from storage.journal_steps import Move, PointerChange, Remove
from storage.models.versions import MANIFEST, VersionStore

FORMAT: Final = 1
_NAME_TAKEN: Final = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}
# With more files than this, one sync of the file system is cheaper than one per file.
_MAX_SINGLE_SYNCS: Final = 32
# How many of the newest backups a new one shares unchanged artefacts with.
_BACKUPS_TO_LINK: Final = 3


@dataclass(frozen=True)
class StagedRestore:
    """A restore that is ready to be committed.

    Parameters
    ----------
    changes : list of str
        What it changes, in words.
    """

    moves: Sequence[Move | Remove]
    pointers: Sequence[PointerChange]
    changes: list[str]


class BackupStore:
    """The folder ``model_backups/``. Whoever creates, deletes, retains or restores holds the store lock.

    Parameters
    ----------
    home : Path
        What the names of the files in a manifest are relative to.
    clock : callable
        Returns the current time. Names and dates come from it, the order does not.
    """

    def __init__(
        self,
        backups_dir: Path,
        home: Path,
        versions: VersionStore,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.backups_dir = backups_dir
        self._home = home
        self._versions = versions
        self._clock = clock
        self._verifications = Verifications(backups_dir / "verifications.json")
        self._cache: dict[str, tuple[Verification, Backup]] = {}
        self._sequences: dict[tuple[str, int], int] = {}

    def create(
        self,
        reason: str,
        files: Sequence[Path],
        paths: Sequence[str],
        session_id: int | None = None,
        retain: bool = False,
    ) -> Backup:
        """Make a backup of data files and of the champions of models.

        Parameters
        ----------
        files : sequence of Path
            Data files below home; a missing one is recorded as absent.
        paths : sequence of str
            Paths of the models in scope. A damaged champion is left out, and the reason says so.

        Raises
        ------
        DiskFull, StorageFailed, ArtefactCorrupt
            There is no new backup.
        """
        staging, created_at = temporary_path(self.backups_dir), self._clock().astimezone(UTC)
        existing = self._inodes()
        try:
            sequence = self._next_sequence(existing)
            copies = self._newest_copies()
            snapshot = SnapshotWriter(staging, self._home, self._versions, copies).write(files, paths)
            manifest: BackupManifest = {
                "format": FORMAT,
                "sequence": sequence,
                "created": created_at.isoformat(),
                "reason": "; ".join([reason, *snapshot.warnings]),
                "session_id": session_id,
                "files": snapshot.files,
                "absent": snapshot.absent,
                "models": snapshot.models,
                "pointers": snapshot.pointers,
                "size_bytes": snapshot.size_bytes,
            }
            _write_manifest(staging, manifest, snapshot)
            name = self._rename(staging, created_at, existing)
        except BaseException:
            remove_tree(staging)
            raise
        sync_dir(self.backups_dir)
        fault_injection.fault_point("backup.renamed")
        self._record_verification(name, None)
        return self.set_retained(name, True) if retain else self._read(name, self._retained_names())

    def get(self, name: str) -> Backup:
        """Return a backup.

        Raises
        ------
        NotFound
            There is no backup of that name.
        """
        # Looking the name up among the entries means that it cannot lead out of the folder.
        if BACKUP_NAME.fullmatch(name) and name in self._inodes():
            return self._read(name, self._retained_names())
        raise NotFound("There is no backup of that name: GET /train/backups lists them")

    def verify(self, name: str) -> Backup:
        """Read every byte of a backup and compare it with the manifest.

        Raises
        ------
        NotFound
            There is no backup of that name.
        BackupCorrupt
            With the list of ``problems``.
        """
        problems = find_damage(self.get(name).folder)
        self._record_verification(name, problems[0] if problems else None)
        if problems:
            raise BackupCorrupt(f"{name} is damaged: {problems[0]}", problems=problems)
        return self.get(name)

    def delete(self, name: str) -> None:
        """Delete a backup. A kill on the way leaves it complete or absent.

        Raises
        ------
        NotFound
            There is no backup of that name.
        Conflict
            It is marked as retained.
        """
        backup = self.get(name)
        if backup.retained:
            raise Conflict(
                f"{name} is marked to be retained. Take that mark off first: "
                f"`millwright backups unretain {name}`"
            )
        remove_tree(backup.folder)
        sync_dir(self.backups_dir)

    def set_retained(self, name: str, retained: bool) -> Backup:
        """Protect a backup from deletion, or allow it again.

        Raises
        ------
        NotFound
            There is no backup of that name.
        """
        backup, names = self.get(name), set(self._inodes())
        marks = self._retained_names()
        marked = (names if marks is None else marks & names) - {name}
        if retained:
            marked.add(name)
        write_json(self.backups_dir / "retain.json", {"retain": sorted(marked)})
        return replace(backup, retained=retained)

    def stage_restore(self, name: str, staging: Path, owned_files: Collection[str]) -> StagedRestore:
        """Verify a backup and copy what a restore needs into a folder below home.

        Parameters
        ----------
        owned_files : collection of str
            Data files, relative to home, of the models in the backup. A restore writes no other data file,
            whatever the manifest says: a manifest can be crafted.

        Raises
        ------
        NotFound, BackupCorrupt
            Nothing may be restored.
        DiskFull, StorageFailed
            A part of the staging folder may be filled.
        """
        plan = self._plan_restore(name, owned_files)
        backup = self.get(name)
        sync_once = len(plan.staged) > _MAX_SINGLE_SYNCS
        for file in plan.staged:
            target = staging / file
            with storage_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
            expected = backup.manifest["files"][file]
            copied = copy_and_hash(backup.folder / file, target, durable=not sync_once)
            if copied != (expected["size"], expected["sha256"]):
                raise BackupCorrupt(f"{name} is damaged: {file} changed while it was read")
        fault_injection.fault_point("restore.staged")
        if sync_once:
            sync_file_systems([staging])
        sync_folders(staging)
        fault_injection.fault_point("restore.synced")
        prefix = staging.relative_to(self._home).as_posix()
        moves: list[Move | Remove] = [Move(f"{prefix}/{path}", path) for path in plan.replaced]
        moves += [Remove(path) for path in plan.removed]
        return StagedRestore(moves, plan.pointers, plan.changes)

    def preview_restore(self, name: str, owned_files: Collection[str]) -> list[str]:
        """Return what a restore would change, in words.

        Raises
        ------
        NotFound, BackupCorrupt
            As :meth:`stage_restore`.
        """
        return self._plan_restore(name, owned_files).changes

    def _plan_restore(self, name: str, owned_files: Collection[str]) -> RestorePlan:
        backup = self.verify(name)
        data_files = [*backup.manifest["files"], *backup.manifest["absent"]]
        foreign = [file for file in data_files if not file.startswith("models/") and file not in owned_files]
        if foreign:
            raise BackupCorrupt(
                f"{name} cannot be restored: {foreign[0]} belongs to none of its models", problems=foreign
            )
        return plan_restore(backup, self._home, self._versions)

    def list(self) -> list[Backup]:
        """Return every backup, oldest first; a damaged one has ``verified`` False and an ``error``."""
        retained, names = self._retained_names(), self._inodes()
        backups = [self._read(name, retained) for name in names]
        self._cache = {name: entry for name, entry in list(self._cache.items()) if name in names}
        self._verifications.keep(names)
        present = [backup for backup in backups if backup.folder.exists()]  # not deleted meanwhile
        return sorted(present, key=lambda backup: (backup.sequence, backup.created_at, backup.name))

    def _inodes(self) -> dict[str, int]:
        """Return the names of the existing backups with the inodes of their folders."""
        with storage_errors(self.backups_dir), os.scandir(self.backups_dir) as entries:
            return {
                entry.name: entry.inode()
                for entry in entries
                if BACKUP_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            }

    def _next_sequence(self, existing: Mapping[str, int]) -> int:
        """Return one more than the highest sequence; a manifest is read once per folder (name and inode)."""
        sequences = self._sequences
        self._sequences = {key: sequences.get(key) or self._sequence(key[0]) for key in existing.items()}
        return max(self._sequences.values(), default=0) + 1

    def _sequence(self, name: str) -> int:
        try:
            return read_manifest(self.backups_dir / name)["sequence"]
        except MillwrightError:
            return 0

    def _rename(self, staging: Path, created_at: datetime, existing: Collection[str]) -> str:
        """Give the staged backup the first free name of its second; the rename itself detects a race."""
        base = f"backup_{created_at:%Y%m%d_%H%M%S}"
        for number in range(1, 1_000_000_000):
            name = base if number == 1 else f"{base}_{number}"
            if name in existing:
                continue
            with storage_errors(self.backups_dir / name):
                try:
                    staging.rename(self.backups_dir / name)
                    return name
                except OSError as error:
                    if error.errno not in _NAME_TAKEN:
                        raise
        raise StorageFailed(f"No name is left for a backup at {base}")

    def _retained_names(self) -> set[str] | None:
        """Return the names that are marked; None, which means all of them, where the file is damaged."""
        file = self.backups_dir / "retain.json"
        if not file.exists():
            return set()
        try:
            return {str(name) for name in json.loads(read_regular_file(file))["retain"]}
        except (MillwrightError, ValueError, TypeError, KeyError):
            return None

    def _read(self, name: str, retained: set[str] | None) -> Backup:
        """Return a backup. All of it is read where its folder has changed since it was last verified."""
        folder = self.backups_dir / name
        try:
            signature = folder_signature(folder)
        except StorageFailed:
            signature = ""
        verification = self._verifications.get(name)
        if verification is None or verification.signature != signature:
            problems = find_damage(folder)
            verification = self._record_verification(name, problems[0] if problems else None)
        cached = self._cache.get(name)
        if cached is None or cached[0] != verification:
            backup = read_backup(folder, verification.verified_at, verification.error)
            cached = self._cache[name] = verification, backup
        return replace(cached[1], retained=retained is None or name in retained)

    def _record_verification(self, name: str, error: str | None) -> Verification:
        try:
            signature = folder_signature(self.backups_dir / name)
        except StorageFailed:
            signature = ""
        verification = Verification(utc_now(), signature, error)
        self._verifications.set(name, verification)
        return verification

    def _newest_copies(self) -> dict[str, Path]:
        """Return the artefacts of the newest backups by sha256."""
        newest = sorted(self._sequences, key=lambda key: self._sequences[key])[-_BACKUPS_TO_LINK:]
        copies: dict[str, Path] = {}
        for name, _ in newest:
            try:
                files = read_manifest(self.backups_dir / name)["files"]
            except MillwrightError:
                continue
            folder = self.backups_dir / name
            copies |= {
                file["sha256"]: folder / path for path, file in files.items() if path.startswith("models/")
            }
        return copies


def _write_manifest(staging: Path, manifest: BackupManifest, snapshot: Snapshot) -> None:
    """Write the manifest and make everything durable."""
    write_atomic(staging / MANIFEST, encode_checksummed(manifest), durable=False)
    fault_injection.fault_point("backup.staged")
    if len(snapshot.written) > _MAX_SINGLE_SYNCS:
        sync_file_systems([staging])
    else:
        for name in [MANIFEST, *snapshot.written]:
            sync_file(staging / name)
    sync_folders(staging)
    fault_injection.fault_point("backup.synced")
