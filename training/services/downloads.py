"""The files that a version offers: those in its folder, and those its family makes on demand."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from errors import NotFound
from prediction import model_files, registry
from prediction.contract import ModelKey, no_progress
from storage.container import Storage
from storage.filesystem.files import make_folders, remove_tree, storage_errors, temporary_path, write_atomic
from storage.models.versions import ModelVersion
from training.execution.child_process import ChildProcessExecutor

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)


class DownloadService:
    """Files of versions. What is costly to write is made in a child process, once, and kept in the cache."""

    def __init__(self, storage: Storage, executor: ChildProcessExecutor) -> None:
        self._storage = storage
        self._executor = executor

    def file(self, key: ModelKey, number: int | None, name: str) -> Path:
        """A file of a version; without a number, the champion's.

        Raises
        ------
        NotFound
            No such version or file.
        MissingExtra
            What makes it is not installed.
        """
        versions = self._storage.versions
        number = number or versions.pointer(key.path)
        if number is None:
            raise NotFound(f"{key} has no champion")
        try:
            return versions.file(key.path, number, name)
        except NotFound:
            version = versions.get(key.path, number)
            if name in model_files.FILE_NAMES:
                return self._told(key, version, name)
            intake = registry.create_parser(key.family)
            offered = _NAME.fullmatch(name) and intake.has_download(name)
            made = self._made(key, version, name) if offered else None
            if made is None:
                raise
            return made

    def _told(self, key: ModelKey, version: ModelVersion, name: str) -> Path:
        """What the manifest says, as a file that families with epochs write themselves."""
        kept = self._kept(key, version, name)
        make_folders(kept.parent)
        write_atomic(kept, model_files.build_from_manifest(version.manifest, name), durable=False)
        return kept

    def _kept(self, key: ModelKey, version: ModelVersion, name: str) -> Path:
        """Where a made file lies: by what the version is, as its number may be given again."""
        seal = hashlib.sha256(json.dumps(version.manifest, sort_keys=True, default=str).encode()).hexdigest()
        made = f"{version.folder.name}-{seal[:16]}"
        return self._storage.settings.cache_dir / "downloads" / key.path / made / name

    def _made(self, key: ModelKey, version: ModelVersion, name: str) -> Path | None:
        """The file in the cache, made now where it is not there; None where the family makes none."""
        kept = self._kept(key, version, name)
        if kept.exists():
            return kept
        making = temporary_path(kept.parent)
        try:
            with storage_errors(kept):
                making.mkdir(parents=True)
                if not self._asked(key, version, making / name):
                    return None
                (making / name).replace(kept)
        finally:
            remove_tree(making)
        return kept

    def _asked(self, key: ModelKey, version: ModelVersion, target: Path) -> bool:
        """Whether the family, asked in a child process, has made the file."""
        task = {
            "task": "download",
            "family": registry.get_entry(key.family).family,
            "folder": str(version.folder),
            "file": target.name,
            "target": str(target),
        }
        try:
            with self._executor.start("trainer", task) as job:
                return bool(job.result(no_progress)["made"])
        finally:
            self._executor.ensure_warm_processes()
