"""Model versions: immutable folders of artefacts with a checksummed manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from errors import ArtefactCorrupt, NotFound, StorageFailed
from storage.filesystem.checked_write import write_atomic
from storage.filesystem.checksummed_json import encode_checksummed
from storage.filesystem.files import (
    hash_file,
    list_regular_files,
    remove_tree,
    storage_errors,
    sync_dir,
    sync_tree,
    temporary_path,
)
from storage.models.manifest import FileRecord, Manifest, read_manifest
from storage.models.pointers import MODEL_PATH, Pointers

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
_VERSION_DIR: Final = re.compile(r"v\d{4,9}", re.ASCII)


@dataclass(frozen=True)
class ModelVersion:
    """The result of one training.

    Parameters
    ----------
    path : str
        The model's path, ``tenant/family/name``.
    number : int
        1, 2, 3 … in each model.
    folder : Path
        Where its files are.
    manifest : Manifest
        What the session recorded, with size and hash of every file.
    """

    path: str
    number: int
    folder: Path
    manifest: Manifest

    def __str__(self) -> str:
        return f"Version {self.number} of {_display_name(self.path)}"


def sync_version(staging: Path, models_dir: Path) -> None:
    """Sync a staged version to the disk, its files and its name; before a first one, those of its parents too."""
    sync_tree(staging)
    model = staging.parent
    is_first = not any(_VERSION_DIR.fullmatch(entry.name) for entry in model.iterdir())
    for folder in [model, *model.parents] if is_first else [model]:
        sync_dir(folder)
        if folder == models_dir:
            break


class VersionStore(Pointers):
    """The folder ``models/``: versions and the pointers to them. Only the journal adds versions."""

    def folder(self, path: str, number: int) -> Path:
        """Return the folder of a version, whether or not it exists."""
        return self._model_dir(path) / f"v{number:04d}"

    def numbers(self, path: str) -> list[int]:
        """Return the numbers of all versions of a model, ascending."""
        model = self._model_dir(path)
        with storage_errors(model):
            names = [entry.name for entry in model.iterdir()] if model.is_dir() else []
        numbers = [int(name[1:]) for name in names if _VERSION_DIR.fullmatch(name)]
        return sorted(number for number in numbers if f"v{number:04d}" in names)

    def next_number(self, path: str) -> int:
        """Return the number of the next version. The caller holds the model's training lock."""
        return max([*self.numbers(path), self.pointer(path) or 0]) + 1

    def staging(self, path: str, session_id: int) -> Path:
        """Make an empty folder for a session's artefacts, beside the model's versions."""
        folder = temporary_path(self._model_dir(path), "staging", str(session_id))
        remove_tree(folder)
        with storage_errors(folder):
            folder.mkdir(parents=True)
        return folder

    def write_manifest(
        self, staging: Path, content: Mapping[str, object], *, durable: bool = True
    ) -> Manifest:
        """Write and return the manifest of a staged version, and make its folder durable.

        Parameters
        ----------
        content : mapping
            What the manifest says besides the sizes and hashes of the files; JSON without NaN.
        durable : bool
            False where the caller syncs the file system once for many versions, before it commits them.

        Raises
        ------
        ArtefactCorrupt
            The folder holds a link, a FIFO or a device.
        DiskFull, StorageFailed
            No version was added.
        """
        files: dict[str, FileRecord] = {}
        for name in list_regular_files(staging):
            if name != MANIFEST:
                size, sha256 = hash_file(staging / name)
                files[name] = {"size": size, "sha256": sha256}
        data = encode_checksummed({"format": FORMAT, **content, "files": files})
        write_atomic(staging / MANIFEST, data, durable=False)
        if durable:
            sync_version(staging, self.models_dir)
        manifest: Manifest = json.loads(data)
        return manifest

    def get(self, path: str, number: int) -> ModelVersion:
        """Return a version with its manifest, without checking its files.

        Raises
        ------
        NotFound
            There is no such version.
        ArtefactCorrupt
            Its manifest is missing or damaged.
        """
        if number not in self.numbers(path):
            raise NotFound(f"{_display_name(path)} has no version {number}")
        folder = self.folder(path, number)
        if not (folder / MANIFEST).exists():
            raise ArtefactCorrupt(f"Version {number} of {_display_name(path)} has no manifest")
        return ModelVersion(path, number, folder, read_manifest(folder / MANIFEST))

    def sibling_names(self, path: str, limit: int = 1_000) -> list[str]:
        """Return names of models of the same tenant and family, sorted, from the first ``limit`` folders."""
        folder = (self.models_dir / path).parent
        family = folder.relative_to(self.models_dir).as_posix()
        with storage_errors(folder):
            names = [model.name for model in islice(folder.iterdir(), limit)] if folder.is_dir() else []
        return sorted(
            name
            for name in names
            if MODEL_PATH.fullmatch(path := f"{family}/{name}")
            and (self.pointer_file(path).exists() or self.numbers(path))
        )

    def paths(self) -> list[str]:
        """Return the paths of all models that have a folder, even one without a version yet, sorted."""
        with storage_errors(self.models_dir):
            models = [model for model in self.models_dir.glob("*/*/*") if model.is_dir()]
        paths = [model.relative_to(self.models_dir).as_posix() for model in models]
        return sorted(path for path in paths if MODEL_PATH.fullmatch(path))

    def verify(self, version: ModelVersion) -> None:
        """Check every file of a version against its manifest; no file may be missing or added.

        Raises
        ------
        ArtefactCorrupt
            With the list of ``problems``.
        """
        problems = find_differences(version.folder, version.manifest.get("files", {}))
        if problems:
            raise ArtefactCorrupt(f"{version} is damaged: {problems[0]}", problems=problems)

    def champion(self, path: str) -> ModelVersion | None:
        """Return the version that the pointer names; None where there is no champion.

        Raises
        ------
        NotFound, ArtefactCorrupt
            The pointer names a version that is missing or damaged.
        """
        number = self.pointer(path)
        return None if number is None else self.get(path, number)

    def file(self, path: str, number: int, name: str) -> Path:
        """Return a file of a version, if its manifest lists the name.

        Raises
        ------
        NotFound
            There is no such version or file.
        ArtefactCorrupt
            The manifest is damaged, or the file is missing or not a regular one.
        """
        version = self.get(path, number)
        names = [*version.manifest.get("files", {}), MANIFEST]
        if name not in names:
            raise NotFound(f"{version} has no such file; it has: {', '.join(names)}")
        if name not in list_regular_files(version.folder):
            raise ArtefactCorrupt(f"{version} is damaged: {name} is missing")
        return version.folder / name

    def list(self, path: str) -> list[ModelVersion]:
        """Return the versions of a model whose manifests can be read, oldest first."""
        versions = []
        for number in self.numbers(path):
            try:
                versions.append(self.get(path, number))
            except (ArtefactCorrupt, StorageFailed):
                continue
        return versions


def _display_name(path: str) -> str:
    """Return ``family/name``. Error messages leave out the tenant, who knows it."""
    return path.partition("/")[2]


def find_differences(folder: Path, files: Mapping[str, FileRecord]) -> list[str]:
    """Compare a folder with the size and sha256 that each of its files should have.

    The folder's own manifest may be left out of ``files``; every other file has to be listed.

    Returns
    -------
    list of str
        A sentence for each difference.
    """
    try:
        present = set(list_regular_files(folder))
    except (ArtefactCorrupt, StorageFailed) as error:
        return [error.message]
    problems = [f"{name} is not in the manifest" for name in sorted(present - {*files, MANIFEST})]
    for name, expected in sorted(files.items()):
        if name not in present:
            problems.append(f"{name} is missing")
            continue
        try:
            size, sha256 = hash_file(folder / name)
        except (ArtefactCorrupt, StorageFailed) as error:
            problems.append(error.message)
            continue
        if size != expected["size"]:
            problems.append(f"{name} has {size} bytes instead of {expected['size']}")
        elif sha256 != expected["sha256"]:
            problems.append(f"the content of {name} does not match its sha256")
    return problems
