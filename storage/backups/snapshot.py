"""What a backup holds: data files copied, champions linked, and the facts that its manifest states."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from errors import ArtefactCorrupt, NotFound
from storage.filesystem.files import copy_and_hash, hash_file, link_or_copy, remove_tree, storage_errors
from storage.models.versions import MANIFEST, ModelVersion, VersionStore


def write_snapshot(
    files: Sequence[Path], paths: Sequence[str], folder: Path, home: Path, versions: VersionStore
) -> dict[str, Any]:
    """Fill a new folder with data files and champions, under their names relative to home. Nothing is synced.

    Returns
    -------
    dict
        ``files`` with size, sha256 and time of change of each; ``absent`` data files; ``models``, all that
        are in its scope; ``pointers`` of those whose champion is held; ``size_bytes``; and ``left_out``, a
        sentence for each champion that is too damaged to be kept.

    Raises
    ------
    ArtefactCorrupt
        A data file is no regular file.
    DiskFull, StorageFailed
        The folder may be filled in part.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True)
    present = [file for file in files if os.path.lexists(file)]
    held = {_name(file, home): _copied(file, folder / _name(file, home)) for file in present}
    pointers, left_out = {}, []
    for path in paths:
        try:
            pointers[path], linked = _champion(path, folder, home, versions)
            held |= linked
        except (ArtefactCorrupt, NotFound) as error:
            left_out.append(f"the champion of {path} is damaged and left out ({error})")
    return {
        "files": held,
        "absent": [_name(file, home) for file in files if file not in present],
        "models": list(paths),
        "pointers": pointers,
        "size_bytes": sum(facts["size"] for facts in held.values()),
        "left_out": left_out,
    }


def _champion(
    path: str, folder: Path, home: Path, versions: VersionStore
) -> tuple[int | None, dict[str, dict[str, Any]]]:
    version = versions.champion(path)
    if version is None:
        return None, {}
    expected = _expected(version)
    target = folder / _name(version.folder, home)
    target.mkdir(parents=True)
    try:
        for name, facts in expected.items():
            facts["mtime_ns"] = _linked(version.folder / name, target / name, facts["size"])
    except ArtefactCorrupt:
        remove_tree(target)
        raise
    return version.number, {_name(version.folder / name, home): facts for name, facts in expected.items()}


def _expected(version: ModelVersion) -> dict[str, dict[str, Any]]:
    size, sha256 = hash_file(version.folder / MANIFEST)
    listed = {name: dict(facts) for name, facts in version.manifest["files"].items()}
    return {MANIFEST: {"size": size, "sha256": sha256}} | listed


def _linked(source: Path, target: Path, size: int) -> int:
    """Give an artefact a second name in the backup; its time of change."""
    if not os.path.lexists(source) or source.lstat().st_size != size:
        raise ArtefactCorrupt(f"{source.name} is missing or has another size")
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    link_or_copy(source, target)
    return target.lstat().st_mtime_ns


def _copied(source: Path, target: Path) -> dict[str, Any]:
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    size, sha256 = copy_and_hash(source, target, durable=False)
    return {"size": size, "sha256": sha256, "mtime_ns": target.lstat().st_mtime_ns}


def _name(path: Path, home: Path) -> str:
    return path.relative_to(home).as_posix()
