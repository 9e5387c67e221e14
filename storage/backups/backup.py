"""One backup, read from its folder without trusting anything in it."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final, TypedDict, cast

from errors import ArtefactCorrupt, StorageFailed
from storage.filesystem.checksummed_json import read_checksummed
from storage.filesystem.files import storage_errors
from storage.models.manifest import FileRecord
from storage.models.pointers import MODEL_PATH
from storage.models.versions import MANIFEST, find_differences

BACKUP_NAME: Final = re.compile(r"backup_(\d{8}_\d{6})(?:_([1-9]\d{0,8}))?", re.ASCII)
_DEFAULT_TENANT: Final = "default"
_UNKNOWN_DATE: Final = datetime(1970, 1, 1, tzinfo=UTC)


class BackupManifest(TypedDict, total=False):
    """What a backup's manifest says; `read_manifest` has checked it. The very first backups name no ``models``.

    ``absent`` are data files that did not exist; ``pointers`` are the champions in it, by the path of the model.
    """

    format: int
    sequence: int
    created: str
    reason: str
    session_id: int | None
    files: dict[str, FileRecord]
    absent: list[str]
    models: list[str]
    pointers: dict[str, int | None]
    size_bytes: int
    seal: str


@dataclass(frozen=True)
class Backup:
    """One snapshot of data files and champions.

    Parameters
    ----------
    sequence : int
        Its position among all backups, whatever the clock said; 0 where the manifest is damaged.
    created_at : datetime
        When it was made, in UTC, by the clock of that time.
    retained : bool
        Whether it is protected from deletion.
    verified : bool
        Whether it can be restored: False where ``error`` says what is wrong.
    verified_at : datetime or None
        When every byte of it was last read and compared.
    models : sequence of str
        Paths of the models in its scope, including those whose champion was too damaged to be stored.
    pointers : dict of str to int or None
        The champion of each model whose champion it holds.
    manifest : BackupManifest
        Empty where it is damaged.
    """

    name: str
    folder: Path
    sequence: int
    created_at: datetime
    reason: str
    session_id: int | None
    retained: bool
    size_bytes: int
    verified: bool
    error: str | None
    models: Sequence[str]
    pointers: dict[str, int | None]
    manifest: BackupManifest = field(default_factory=BackupManifest, repr=False)
    verified_at: datetime | None = None

    def belongs_to(self, tenant: str) -> bool:
        """Whether every model in it is this tenant's. A backup without models is the default tenant's."""
        tenants = {path.partition("/")[0] for path in self.models} or {_DEFAULT_TENANT}
        return tenants == {tenant}


def find_damage(folder: Path) -> list[str]:
    """Read every byte of a backup; return a sentence for each difference from its manifest."""
    try:
        files = read_manifest(folder)["files"]
    except (ArtefactCorrupt, StorageFailed) as damage:
        return [damage.message]
    return find_differences(folder, files)


def read_backup(folder: Path, verified_at: datetime | None, error: str | None) -> Backup:
    """Read a backup in any condition.

    Parameters
    ----------
    verified_at, error : datetime and str, optional
        When all of it was last read, and what was wrong.
    """
    manifest: BackupManifest = {}
    try:
        manifest = read_manifest(folder)
    except (ArtefactCorrupt, StorageFailed) as damage:
        error = damage.message
    return Backup(
        name=folder.name,
        folder=folder,
        sequence=manifest.get("sequence", 0),
        created_at=datetime.fromisoformat(manifest["created"]) if manifest else _date_in(folder.name),
        reason=manifest.get("reason", ""),
        session_id=manifest.get("session_id"),
        retained=False,
        size_bytes=manifest.get("size_bytes", 0),
        verified=error is None,
        error=error,
        models=_models(manifest),
        pointers=manifest.get("pointers", {}),
        manifest=manifest,
        verified_at=verified_at,
    )


def read_manifest(folder: Path) -> BackupManifest:
    """Read a backup's manifest and check everything that a restore relies on.

    Raises
    ------
    ArtefactCorrupt
        It is damaged, or names something that no backup of Millwright would.
    StorageFailed
        It cannot be read.
    """
    manifest = cast("BackupManifest", read_checksummed(folder / MANIFEST))
    try:
        is_valid = all(
            type(file["size"]) is int and isinstance(file["sha256"], str)
            for file in manifest["files"].values()
        )
        is_valid &= all(map(_is_below_data_or_models, [*manifest["files"], *manifest["absent"]]))
        pointers = manifest["pointers"]
        is_valid &= all(map(MODEL_PATH.fullmatch, [*pointers, *_models(manifest)]))
        is_valid &= all(
            number is None or (type(number) is int and number > 0) for number in pointers.values()
        )
        is_valid &= set(pointers) <= set(_models(manifest))
        champions = {
            ("models", *path.split("/"), f"v{number:04d}") for path, number in pointers.items() if number
        }
        artefacts = [name.split("/") for name in manifest["files"] if name.startswith("models/")]
        is_valid &= all(len(parts) > 5 and tuple(parts[:5]) in champions for parts in artefacts)
        is_valid &= not any(name.startswith("models/") for name in manifest["absent"])
        is_valid &= datetime.fromisoformat(manifest["created"]).tzinfo is not None
        is_valid &= type(manifest["sequence"]) is int
    except (KeyError, TypeError, ValueError, AttributeError):
        is_valid = False
    if not is_valid:
        raise ArtefactCorrupt(f"{folder.name}/{MANIFEST} is not the manifest of a backup")
    return manifest


def folder_signature(folder: Path) -> str:
    """Hash the names, sizes and modification times of everything below a folder; open and follow nothing."""
    with storage_errors(folder):
        entries = sorted(_walk(folder, ""))
    return hashlib.sha256(repr(entries).encode("utf-8", "surrogateescape")).hexdigest()


def _models(manifest: BackupManifest) -> list[str]:
    """Return the models in scope; the very first backups name only those they hold."""
    if "models" not in manifest:
        return list(manifest.get("pointers", {}))
    return list(manifest["models"])


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                status = entry.stat(follow_symlinks=False)
                # A size that no manifest has marks a link, FIFO or device.
                size = status.st_size if stat.S_ISREG(status.st_mode) else -1
                yield prefix + entry.name, size, status.st_mtime_ns


def _is_below_data_or_models(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return ".." not in parts and len(parts) > 1 and parts[0] in {"data", "models"} and "\0" not in name


def _date_in(name: str) -> datetime:
    try:
        return datetime.strptime(name[7:22], "%Y%m%d_%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return _UNKNOWN_DATE
