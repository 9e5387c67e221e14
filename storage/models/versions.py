"""Versions: immutable folders of artefacts with a manifest, and the small file that names the champion."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from errors import ArtefactCorrupt, NotFound, StorageFailed
from storage.filesystem.checksummed_json import encode_checksummed, read_checksummed
from storage.filesystem.files import (
    hash_file,
    list_regular_files,
    remove_tree,
    storage_errors,
    sync_dir,
    sync_tree,
    temporary_path,
    write_atomic,
)
from storage.models.pointers import MODEL_PATH, Pointers

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
_FOLDER: Final = re.compile(r"v\d{4,9}", re.ASCII)


@dataclass(frozen=True)
class ModelVersion:
    """What one training made.

    Parameters
    ----------
    path : str
        The model's path, ``tenant/family/name``.
    number : int
        1, 2, 3 … in each model.
    folder : Path
        Where its files are.
    manifest : dict
        ``{"format", "files": {name: {"size", "sha256"}}, …}`` and whatever the session recorded.
    """

    path: str
    number: int
    folder: Path
    manifest: dict[str, Any]


class VersionStore(Pointers):
    """The folder ``models/``: versions and the pointers at them. Only the journal moves versions in."""

    def folder(self, path: str, number: int) -> Path:
        """Where a version's files are or would be."""
        return self._model(path) / f"v{number:04d}"

    def numbers(self, path: str) -> list[int]:
        """The numbers of all versions of a model, ascending."""
        model = self._model(path)
        with storage_errors(model):
            names = [entry.name for entry in model.iterdir()] if model.is_dir() else []
        found = [int(name[1:]) for name in names if _FOLDER.fullmatch(name)]
        return sorted(number for number in found if f"v{number:04d}" in names)

    def next_number(self, path: str) -> int:
        """The number of the version to come. Ask with the model's training lock held."""
        return max([*self.numbers(path), self.pointer(path) or 0]) + 1

    def staging(self, path: str, session_id: int) -> Path:
        """A fresh empty folder for a session's artefacts, beside the model's versions."""
        folder = temporary_path(self._model(path), "staging", str(session_id))
        remove_tree(folder)
        with storage_errors(folder):
            folder.mkdir(parents=True)
        return folder

    def seal(self, staging: Path, facts: dict[str, Any], *, durable: bool = True) -> dict[str, Any]:
        """Write the manifest of a staged version and make the folder durable.

        Parameters
        ----------
        facts : dict
            What the manifest says besides the sizes and hashes of the files; JSON without NaN.
        durable : bool
            False where the caller syncs the file system once for many versions, before it commits them.

        Returns
        -------
        dict
            The manifest.

        Raises
        ------
        ArtefactCorrupt
            The folder holds a link, a FIFO or a device.
        DiskFull, StorageFailed
            Nothing has become a version.
        """
        files = {name: _described(staging / name) for name in list_regular_files(staging) if name != MANIFEST}
        data = encode_checksummed({"format": FORMAT, **facts, "files": files})
        write_atomic(staging / MANIFEST, data, durable=False)
        if durable:
            self.make_durable(staging)
        manifest: dict[str, Any] = json.loads(data)
        return manifest

    def make_durable(self, staging: Path) -> None:
        """Sync a staged version to the disk, its files and its name."""
        sync_tree(staging)
        self._sync_name(staging)

    def _sync_name(self, staging: Path) -> None:
        """Make sure that the staged folder can be found again; before a first version, its parents too."""
        model = staging.parent
        first = not any(_FOLDER.fullmatch(entry.name) for entry in model.iterdir())
        for folder in [model, *model.parents] if first else [model]:
            sync_dir(folder)
            if folder == self.models_dir:
                break

    def get(self, path: str, number: int) -> ModelVersion:
        """A version with its manifest; its files are not looked at.

        Raises
        ------
        NotFound
            No such version.
        ArtefactCorrupt
            Its manifest cannot be trusted.
        """
        if number not in self.numbers(path):
            raise NotFound(f"{_named(path)} has no version {number}")
        folder = self.folder(path, number)
        if not (folder / MANIFEST).exists():
            raise ArtefactCorrupt(f"Version {number} of {_named(path)} has no manifest")
        return ModelVersion(path, number, folder, read_checksummed(folder / MANIFEST))

    def keys(self, below: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """The paths of all models that have a version or a pointer, in order.

        Parameters
        ----------
        below : str
            What they begin with.
        after : str
            The path that they come after.
        limit : int, optional
            How many at most.
        """
        named = (path for path in self.paths() if path.startswith(below) and path > after)
        there = (path for path in named if self.pointer_file(path).exists() or self.numbers(path))
        return list(islice(there, limit))

    def sibling_names(self, path: str, limit: int = 1_000) -> list[str]:
        """The names of models of the same tenant and family, in order of the first so many folders."""
        folder = (self.models_dir / path).parent
        with storage_errors(folder):
            found = islice(folder.iterdir(), limit) if folder.is_dir() else ()
            paths = {
                model.name: f"{folder.relative_to(self.models_dir).as_posix()}/{model.name}"
                for model in found
            }
        return sorted(
            name
            for name, other in paths.items()
            if MODEL_PATH.fullmatch(other) and (self.pointer_file(other).exists() or self.numbers(other))
        )

    def paths(self) -> list[str]:
        """The paths of all models that have a folder, be it one without a version yet."""
        with storage_errors(self.models_dir):
            models = [model for model in self.models_dir.glob("*/*/*") if model.is_dir()]
        paths = [model.relative_to(self.models_dir).as_posix() for model in models]
        return sorted(path for path in paths if MODEL_PATH.fullmatch(path))

    def verify(self, version: ModelVersion) -> None:
        """Check every file of a version against its manifest; no file more, none less.

        Raises
        ------
        ArtefactCorrupt
            With the list of ``problems``.
        """
        problems = find_differences(version.folder, version.manifest.get("files", {}))
        if problems:
            raise ArtefactCorrupt(
                f"Version {version.number} of {_named(version.path)} is damaged: {problems[0]}",
                problems=problems,
            )

    def champion(self, path: str) -> ModelVersion | None:
        """The version the pointer names; None where there is no champion.

        Raises
        ------
        NotFound, ArtefactCorrupt
            The pointer names a version that is missing or damaged.
        """
        number = self.pointer(path)
        return None if number is None else self.get(path, number)

    def file(self, path: str, number: int, name: str) -> Path:
        """A file of a version, by lookup in its manifest.

        Raises
        ------
        NotFound
            No such version or file.
        ArtefactCorrupt
            The manifest cannot be trusted, or the file is not a regular one.
        """
        version = self.get(path, number)
        listed = [*version.manifest.get("files", {}), MANIFEST]
        if name not in listed:
            raise NotFound(
                f"Version {number} of {_named(path)} has no such file; it has: {', '.join(listed)}"
            )
        if name not in list_regular_files(version.folder):
            raise ArtefactCorrupt(f"Version {number} of {_named(path)} is damaged: {name} is missing")
        return version.folder / name

    def list(self, path: str) -> list[ModelVersion]:
        """The versions of a model whose manifests can be read, oldest first."""
        found = []
        for number in self.numbers(path):
            try:
                found.append(self.get(path, number))
            except (ArtefactCorrupt, StorageFailed):
                continue
        return found


def _named(path: str) -> str:
    """A model as people call it, ``family/name``: whose it is goes without saying."""
    return path.partition("/")[2]


def find_differences(folder: Path, files: dict[str, Any]) -> list[str]:
    """What is wrong with a folder, given the size and sha256 that each of its files should have.

    The folder's own manifest may stand in ``files`` or not; any other file has to.
    """
    try:
        present = set(list_regular_files(folder))
    except (ArtefactCorrupt, StorageFailed) as error:
        return [error.message]
    problems = [f"{name} is not in the manifest" for name in sorted(present - {*files, MANIFEST})]
    for name, expected in sorted(files.items()):
        if name not in present:
            problems.append(f"{name} is missing")
        else:
            problems.extend(_difference(folder / name, name, expected))
    return problems


def _difference(file: Path, name: str, expected: dict[str, Any]) -> list[str]:
    try:
        size, sha256 = hash_file(file)
    except (ArtefactCorrupt, StorageFailed) as error:
        return [error.message]
    if size != expected["size"]:
        return [f"{name} has {size} bytes instead of {expected['size']}"]
    return [] if sha256 == expected["sha256"] else [f"{name} has other content than its sha256 says"]


def _described(file: Path) -> dict[str, Any]:
    size, sha256 = hash_file(file)
    return {"size": size, "sha256": sha256}
