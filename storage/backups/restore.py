"""What a restore has to change: the differences between a backup and the present."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from errors import MillwrightError
from storage.backups.backup import Backup
from storage.filesystem.files import hash_file
from storage.journal_steps import PointerChange
from storage.models.manifest import FileRecord
from storage.models.versions import VersionStore, find_differences


@dataclass
class RestorePlan:
    """The steps from the present to a backup.

    Parameters
    ----------
    staged : list of str
        Files of the backup that are needed.
    replaced : list of str
        Data files and version folders that come from the backup.
    removed : list of str
        Data files that did not exist at the time of the backup.
    changes : list of str
        All steps in words.
    """

    staged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    pointers: list[PointerChange] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


def plan_restore(backup: Backup, home: Path, versions: VersionStore) -> RestorePlan:
    """Plan the restore of a verified backup."""
    plan = RestorePlan()
    files = backup.manifest["files"]
    for name, file in files.items():
        if not name.startswith("models/"):
            _plan_file(plan, name, file, home / name)
    for name in backup.manifest["absent"]:
        if os.path.lexists(home / name):
            plan.removed.append(name)
            plan.changes.append(f"{name} is removed: it did not exist then")
    for path, number in backup.pointers.items():
        if number is not None:
            _plan_version(plan, files, versions.folder(path, number), home)
        _plan_pointer(plan, path, number, versions)
    return plan


def _plan_file(plan: RestorePlan, name: str, file: FileRecord, live: Path) -> None:
    try:
        size, sha256 = hash_file(live)
        if (size, sha256) == (file["size"], file["sha256"]):
            return
        present = f"now {size:,}"
    except MillwrightError:
        present = "now absent"
    plan.staged.append(name)
    plan.replaced.append(name)
    plan.changes.append(f"{name} goes back to {file['size']:,} bytes ({present})")


def _plan_version(plan: RestorePlan, files: Mapping[str, FileRecord], live: Path, home: Path) -> None:
    prefix = live.relative_to(home).as_posix()
    artefacts = {
        name.removeprefix(f"{prefix}/"): file for name, file in files.items() if name.startswith(f"{prefix}/")
    }
    if find_differences(live, artefacts):
        plan.staged.extend(f"{prefix}/{name}" for name in artefacts)
        plan.replaced.append(prefix)
        plan.changes.append(f"{prefix} is put back: it is missing or damaged")


def _plan_pointer(plan: RestorePlan, path: str, number: int | None, versions: VersionStore) -> None:
    plan.pointers.append(PointerChange(path, number))
    try:
        present = versions.pointer(path)
    except MillwrightError:
        present = -1  # a damaged pointer differs from every version
    if present != number:
        champion = "no version" if number is None else f"version {number}"
        plan.changes.append(f"{path} is served by {champion} again")
