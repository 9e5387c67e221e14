"""Filling the folder of a new backup: data files are copied, champions are linked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from errors import ArtefactCorrupt, NotFound
from storage.filesystem.files import copy_and_hash, hash_file, link_or_copy, remove_tree, storage_errors
from storage.models.versions import MANIFEST, FileRecord, VersionStore


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
    """

    files: dict[str, FileRecord] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    pointers: dict[str, int | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Total size of the files."""
        return sum(file["size"] for file in self.files.values())


def write_snapshot(
    files: Sequence[Path], paths: Sequence[str], folder: Path, home: Path, versions: VersionStore
) -> Snapshot:
    """Fill a new folder with data files and champions, under their names relative to home; sync nothing.

    Raises
    ------
    ArtefactCorrupt
        A data file is not a regular file.
    DiskFull, StorageFailed
        A part of the folder may be filled.
    """
    snapshot = Snapshot(models=list(paths))
    with storage_errors(folder):
        folder.mkdir(parents=True)
    for file in files:
        name = file.relative_to(home).as_posix()
        if os.path.lexists(file):
            snapshot.files[name] = _copy(file, folder / name)
        else:
            snapshot.absent.append(name)
    for path in paths:
        try:
            _add_champion(snapshot, path, folder, home, versions)
        except (ArtefactCorrupt, NotFound) as error:
            snapshot.warnings.append(f"the champion of {path} is damaged and left out ({error})")
    return snapshot


def _copy(source: Path, target: Path) -> FileRecord:
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    size, sha256 = copy_and_hash(source, target, durable=False)
    return {"size": size, "sha256": sha256, "mtime_ns": target.lstat().st_mtime_ns}


def _add_champion(snapshot: Snapshot, path: str, folder: Path, home: Path, versions: VersionStore) -> None:
    version = versions.champion(path)
    if version is None:
        snapshot.pointers[path] = None
        return
    size, sha256 = hash_file(version.folder / MANIFEST)
    files: dict[str, FileRecord] = {MANIFEST: {"size": size, "sha256": sha256}, **version.manifest["files"]}
    prefix = version.folder.relative_to(home).as_posix()
    target = folder / prefix
    target.mkdir(parents=True)
    linked: dict[str, FileRecord] = {}
    try:
        for name, file in files.items():
            mtime_ns = _link(version.folder / name, target / name, file["size"])
            linked[f"{prefix}/{name}"] = {**file, "mtime_ns": mtime_ns}
    except ArtefactCorrupt:
        remove_tree(target)
        raise
    snapshot.files |= linked
    snapshot.pointers[path] = version.number


def _link(source: Path, target: Path, size: int) -> int:
    """Give an artefact a second name in the backup; return its modification time."""
    if not os.path.lexists(source) or source.lstat().st_size != size:
        raise ArtefactCorrupt(f"{source.name} is missing or has another size")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(source, target)
    return target.lstat().st_mtime_ns
