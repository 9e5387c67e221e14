"""Filling the folder of a new backup with copies of data files and champions.

Nothing in a backup shares its bytes with a live file: a link would be damaged together with the original.
Artefacts that an earlier backup holds are linked to that copy, after it was read and compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from errors import ArtefactCorrupt, MillwrightError, NotFound
from storage.filesystem.checked_write import copy_and_hash
from storage.filesystem.files import hash_file, remove_tree, storage_errors
from storage.models.manifest import FileRecord
from storage.models.versions import MANIFEST, VersionStore


@dataclass
class Snapshot:
    """What a new backup holds; all names are relative to home.

    Parameters
    ----------
    files : dict
        Size, sha256 and modification time of each file.
    absent : list of str
        Data files in scope that do not exist.
    models : list of str
        Paths of all models in scope.
    pointers : dict
        The champion of each model whose champion is held.
    warnings : list of str
        A sentence for each champion that is too damaged to be held.
    written : list of str
        Names of the files that were written, not linked, and have to be synced.
    """

    files: dict[str, FileRecord] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    pointers: dict[str, int | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Total size of the files."""
        return sum(file["size"] for file in self.files.values())


@dataclass(frozen=True)
class SnapshotWriter:
    """Fills the folder of a new backup; syncs nothing.

    Parameters
    ----------
    folder : Path
        The folder, which does not exist yet.
    home : Path
        What the names of files are relative to.
    copies : mapping of str to Path
        Artefacts of earlier backups by sha256.
    """

    folder: Path
    home: Path
    versions: VersionStore
    copies: Mapping[str, Path]

    def write(self, files: Sequence[Path], paths: Sequence[str]) -> Snapshot:
        """Copy data files and the champions of models.

        Raises
        ------
        ArtefactCorrupt
            A data file is not a regular file.
        DiskFull, StorageFailed
            A part of the folder may be filled.
        """
        snapshot = Snapshot(models=list(paths))
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True)
        for file in files:
            name = file.relative_to(self.home).as_posix()
            if os.path.lexists(file):
                snapshot.files[name] = _copy(file, self.folder / name)
                snapshot.written.append(name)
            else:
                snapshot.absent.append(name)
        for path in paths:
            try:
                self._add_champion(snapshot, path)
            except (ArtefactCorrupt, NotFound) as error:
                snapshot.warnings.append(f"the champion of {path} is damaged and left out ({error})")
        return snapshot

    def _add_champion(self, snapshot: Snapshot, path: str) -> None:
        version = self.versions.champion(path)
        if version is None:
            snapshot.pointers[path] = None
            return
        size, sha256 = hash_file(version.folder / MANIFEST)
        files: dict[str, FileRecord] = {MANIFEST: {"size": size, "sha256": sha256}}
        files |= version.manifest["files"]
        prefix = version.folder.relative_to(self.home).as_posix()
        written = []
        try:
            for name, expected in files.items():
                target = self.folder / prefix / name
                if _link_copy(self.copies.get(expected["sha256"]), target, expected):
                    files[name] = {**expected, "mtime_ns": target.lstat().st_mtime_ns}
                    continue
                if not os.path.lexists(version.folder / name):
                    raise ArtefactCorrupt(f"{name} is missing")
                files[name] = _copy(version.folder / name, target)
                if (files[name]["size"], files[name]["sha256"]) != (expected["size"], expected["sha256"]):
                    raise ArtefactCorrupt(f"{name} does not match its sha256")
                written.append(f"{prefix}/{name}")
        except ArtefactCorrupt:
            remove_tree(self.folder / prefix)
            raise
        snapshot.files |= {f"{prefix}/{name}": file for name, file in files.items()}
        snapshot.written += written
        snapshot.pointers[path] = version.number


def _copy(source: Path, target: Path) -> FileRecord:
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    size, sha256 = copy_and_hash(source, target, durable=False)
    return {"size": size, "sha256": sha256, "mtime_ns": target.lstat().st_mtime_ns}


def _link_copy(copy: Path | None, target: Path, expected: FileRecord) -> bool:
    """Link the copy of an earlier backup if every byte of it is as expected; return whether it was."""
    if copy is None:
        return False
    try:
        if hash_file(copy) != (expected["size"], expected["sha256"]):
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(copy, target, follow_symlinks=False)
    except (MillwrightError, OSError):  # the earlier backup was deleted, or the file system has no links
        return False
    return True
