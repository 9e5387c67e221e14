"""The files that a version offers: those in its folder, and those that are written on demand."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Final

from errors import NotFound
from prediction import model_files, registry
from prediction.contract import ModelKey
from storage.container import Storage
from storage.filesystem.checked_write import write_atomic
from storage.filesystem.files import make_folders, remove_tree, storage_errors, temporary_path
from storage.models.versions import ModelVersion
from training.execution.executor import Executor
from training.execution.tasks import DownloadTask

_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)


class DownloadService:
    """Files of versions. Those that are costly to write are written by a worker, once, into the cache."""

    def __init__(self, storage: Storage, executor: Executor) -> None:
        self._storage = storage
        self._executor = executor

    def file(self, key: ModelKey, number: int | None, name: str) -> Path:
        """Return a file of a version; without a number, of the champion.

        Raises
        ------
        NotFound
            There is no such version or file.
        MissingExtra
            What writes it is not installed.
        """
        versions = self._storage.versions
        self._storage.journal.finish_pending()
        number = number or versions.pointer(key.path)
        if number is None:
            raise NotFound(f"{key} has no champion")
        try:
            return versions.file(key.path, number, name)
        except NotFound:
            version = versions.get(key.path, number)
            # Cached by the manifest, because a version's number may be given again.
            manifest = json.dumps(version.manifest, sort_keys=True, default=str)
            digest = hashlib.sha256(manifest.encode()).hexdigest()[:16]
            folder = self._storage.settings.cache_dir / "downloads" / key.path
            cached = folder / f"{version.folder.name}-{digest}" / name
            if name in model_files.FILE_NAMES:
                make_folders(cached.parent)
                write_atomic(cached, model_files.build_from_manifest(version.manifest, name), durable=False)
                return cached
            if not _FILE_NAME.fullmatch(name) or not registry.create_parser(key.family).has_download(name):
                raise
            if not cached.exists() and not self._write(key, version, cached):
                raise
            return cached

    def _write(self, key: ModelKey, version: ModelVersion, cached: Path) -> bool:
        """Write a file into the cache; return whether the family has such a file."""
        home = self._storage.settings.home
        temporary = temporary_path(cached.parent)
        task = DownloadTask(
            family=registry.get_entry(key.family).family,
            folder=version.folder.relative_to(home).as_posix(),
            target=(temporary / cached.name).relative_to(home).as_posix(),
        )
        try:
            with storage_errors(cached):
                temporary.mkdir(parents=True)
                with self._executor.open_worker("trainer") as worker:
                    if not worker.run(task):
                        return False
                (temporary / cached.name).replace(cached)
        finally:
            remove_tree(temporary)
            self._executor.ensure_warm_processes()
        return True
