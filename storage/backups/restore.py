"""What a restore changes: the difference between a backup and the present."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from errors import MillwrightError
from storage.backups.backup import Backup
from storage.filesystem.files import hash_file
from storage.models.versions import VersionStore, find_differences


@dataclass
class RestorePlan:
    """The way from the present to a backup.

    Parameters
    ----------
    staged : list of str
        Files of the backup that are needed.
    replaced : list of str
        Files and version folders that come from them.
    removed : list of str
        Data files that did not exist then.
    changes : list of str
        All of it in words.
    """

    staged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    pointers: list[dict[str, Any]] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)


def plan_restore(backup: Backup, home: Path, versions: VersionStore) -> RestorePlan:
    """What has to happen so that data and champions are those of a verified backup."""
    plan = RestorePlan()
    files: dict[str, dict[str, Any]] = backup.manifest["files"]
    for name, facts in files.items():
        if not name.startswith("models/"):
            _plan_file(plan, name, facts, home / name)
    for name in backup.manifest["absent"]:
        if os.path.lexists(home / name):
            plan.removed.append(name)
            plan.changes.append(f"{name} is removed: it did not exist then")
    for path, number in backup.pointers.items():
        if number is not None:
            _plan_version(plan, files, versions.folder(path, number), home)
        _plan_pointer(plan, path, number, versions)
    return plan


def _plan_file(plan: RestorePlan, name: str, facts: dict[str, Any], live: Path) -> None:
    try:
        size, sha256 = hash_file(live)
        if (size, sha256) == (facts["size"], facts["sha256"]):
            return
        now = f"now {size:,}"
    except MillwrightError:
        now = "now absent"
    plan.staged.append(name)
    plan.replaced.append(name)
    plan.changes.append(f"{name} goes back to {facts['size']:,} bytes ({now})")


def _plan_version(plan: RestorePlan, files: dict[str, dict[str, Any]], live: Path, home: Path) -> None:
    folder = live.relative_to(home).as_posix()
    held = {
        name.removeprefix(f"{folder}/"): facts
        for name, facts in files.items()
        if name.startswith(f"{folder}/")
    }
    if find_differences(live, held):
        plan.staged.extend(f"{folder}/{name}" for name in held)
        plan.replaced.append(folder)
        plan.changes.append(f"{folder} is put back: it is missing or damaged")


def _plan_pointer(plan: RestorePlan, path: str, number: int | None, versions: VersionStore) -> None:
    plan.pointers.append({"path": path, "version": number})
    try:
        present = versions.pointer(path)
    except MillwrightError:
        present = -1
    if present != number:
        then = "no version" if number is None else f"version {number}"
        plan.changes.append(f"{path} is served by {then} again")
