"""A backup as the listing shows it, read from its folder without trusting anything in it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, Final

from errors import ArtefactCorrupt, StorageFailed
from storage.filesystem.checksummed_json import read_checksummed
from storage.filesystem.files import storage_errors
from storage.models.pointers import MODEL_PATH
from storage.models.versions import MANIFEST, find_differences

BACKUP_NAME: Final = re.compile(r"backup_(\d{8}_\d{6})(?:_([1-9]\d{0,8}))?", re.ASCII)
_OWN_TENANT: Final = "default"
_UNDATED: Final = datetime(1970, 1, 1, tzinfo=UTC)

FolderSignature = frozenset[tuple[str, int, int]]


@dataclass(frozen=True)
class Backup:
    """One snapshot.

    Parameters
    ----------
    sequence : int
        Its place in the order of backups, whatever the clock said; 0 where the manifest is damaged.
    created : datetime
        When it was made, in UTC, as the clock stood.
    verified : bool
        Whether it can be restored: True while every file is as it was sealed, False where ``problem`` says
        what is wrong.
    models : sequence of str
        The paths of the models in its scope, those too whose champion was too damaged to be held.
    pointers : dict of str to int or None
        The champion of each model whose champion it holds.
    manifest : dict
        Everything it says of itself; empty where it is damaged.
    """

    name: str
    folder: Path
    sequence: int
    created: datetime
    reason: str
    session_id: int | None
    retain: bool
    size_bytes: int
    verified: bool
    problem: str | None
    models: Sequence[str]
    pointers: dict[str, int | None]
    manifest: dict[str, Any] = field(default_factory=dict, repr=False)

    def belongs_to(self, tenant: str) -> bool:
        """Whether all of it is this tenant's; what cannot say whose it is belongs to the plant's own."""
        tenants = {path.partition("/")[0] for path in self.models} or {_OWN_TENANT}
        return tenants == {tenant}


def read_backup(folder: Path, signs: FolderSignature) -> Backup:
    """The backup in a folder, whatever its state.

    A file counts as whole where its size and time of change are those it was sealed with; otherwise all of
    the backup is read and compared with the manifest.

    Parameters
    ----------
    signs : frozenset
        What :func:`signs_of` says of the folder.
    """
    manifest: dict[str, Any] = {}
    try:
        manifest = read_manifest(folder)
        problem = None if _as_sealed(manifest["files"], signs) else _problem(folder, manifest["files"])
    except (ArtefactCorrupt, StorageFailed) as error:
        problem = error.message
    return Backup(
        name=folder.name,
        folder=folder,
        sequence=manifest.get("sequence", 0),
        created=datetime.fromisoformat(manifest["created"]) if manifest else _date_of(folder.name),
        reason=manifest.get("reason", ""),
        session_id=manifest.get("session_id"),
        retain=False,
        size_bytes=manifest.get("size_bytes", 0),
        verified=problem is None,
        problem=problem,
        models=_scope(manifest),
        pointers=manifest.get("pointers", {}),
        manifest=manifest,
    )


def read_manifest(folder: Path) -> dict[str, Any]:
    """A backup's manifest, checked for what a restore relies on.

    Raises
    ------
    ArtefactCorrupt
        It is damaged, or names something that no backup of ours would.
    StorageFailed
        It cannot be read.
    """
    manifest = read_checksummed(folder / MANIFEST)
    try:
        names = [*manifest["files"], *manifest["absent"]]
        pointers: dict[str, Any] = manifest["pointers"]
        sane = all(map(_is_described, manifest["files"].values())) and all(map(_is_ours, names))
        sane &= all(map(MODEL_PATH.fullmatch, [*pointers, *_scope(manifest)]))
        sane &= all(number is None or (type(number) is int and number > 0) for number in pointers.values())
        sane &= datetime.fromisoformat(manifest["created"]).tzinfo is not None
        sane &= type(manifest["sequence"]) is int
    except (KeyError, TypeError, ValueError, AttributeError):
        sane = False
    if not sane:
        raise ArtefactCorrupt(f"{folder.name}/{MANIFEST} is not the manifest of a backup")
    return manifest


def _scope(manifest: dict[str, Any]) -> list[str]:
    """The models it is about; the first backups that were ever made name only those that they hold."""
    return list(manifest.get("models", manifest.get("pointers", {})))


def folder_signature(folder: Path) -> FolderSignature:
    """Name, size and time of change of everything below a folder; nothing is opened or followed."""
    with storage_errors(folder):
        return frozenset(_signs(folder, ""))


def _signs(folder: Path, prefix: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _signs(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                facts = entry.stat(follow_symlinks=False)
                regular = stat.S_ISREG(facts.st_mode)
                yield prefix + entry.name, facts.st_size if regular else -1, facts.st_mtime_ns


def _as_sealed(files: dict[str, Any], signs: FolderSignature) -> bool:
    expected = {(name, facts["size"], facts.get("mtime_ns")) for name, facts in files.items()}
    return expected == {sign for sign in signs if sign[0] != MANIFEST}


def _problem(folder: Path, files: dict[str, Any]) -> str | None:
    return next(iter(find_differences(folder, files)), None)


def _is_ours(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return ".." not in parts and len(parts) > 1 and parts[0] in {"data", "models"} and "\0" not in name


def _is_described(facts: dict[str, Any]) -> bool:
    return type(facts["size"]) is int and isinstance(facts["sha256"], str)


def _date_of(name: str) -> datetime:
    try:
        return datetime.strptime(name[7:22], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return _UNDATED
