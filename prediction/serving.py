"""The live champions in memory: one stat notices a moved pointer, and the swap happens between two requests."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from errors import ArtefactCorrupt, MillwrightError, NoChampion, NotFound, StorageFailed
from prediction import registry
from prediction.contract import JSON, ModelKey, Predictor, Resources
from storage.models.versions import ModelVersion, VersionStore

log = structlog.get_logger()

Stamp = tuple[int, int, int]
"""Modification time, inode and size of a live pointer: equal stamps, equal champion."""


@dataclass(frozen=True)
class LoadedModel:
    """One champion in memory. A request takes it once and uses nothing else.

    Where the champion is damaged and was not in memory, the version before it is loaded instead;
    ``fallback_warning`` says so in a sentence, and is empty otherwise.
    """

    key: ModelKey
    number: int
    manifest: JSON
    predictor: Predictor
    stamp: Stamp | None
    fallback_warning: str = ""


class ModelCache:
    """Champions by key. At most ``capacity`` are in memory; the least recently used is dropped first."""

    def __init__(self, versions: VersionStore, resources: Resources, capacity: int = 256) -> None:
        self.versions = versions
        self.resources = resources
        self.capacity = capacity
        self._models: OrderedDict[ModelKey, LoadedModel] = OrderedDict()
        self._loading: dict[ModelKey, threading.Lock] = {}
        # Pointers whose champion could not be loaded: it is not tried again until the pointer moves.
        self._refused: dict[ModelKey, Stamp | None] = {}
        self._guard = threading.Lock()

    def current(self, key: ModelKey) -> LoadedModel:
        """Return the champion of a model. While a newer one is being loaded, this is the old one.

        Raises
        ------
        NoChampion
            No version of this model has been promoted.
        ArtefactCorrupt, NotFound
            The champion cannot be loaded, and there is no earlier version in memory or on disk.
        """
        stamp = self._read_stamp(key)
        model = self._get(key)
        if model is None and stamp is None:
            raise _no_champion(key)
        if model is None:
            # Requests for a model that is not in memory wait for one of them to load it.
            with self._loading_lock(key):
                return self._get(key) or self._load_or_fall_back(key)
        if model.stamp != stamp and self._refused.get(key, model.stamp) != stamp:
            self._load_in_background(key)
        return model

    def reload(self, key: ModelKey) -> None:
        """Verify the champion's hashes and load it again; the old one stays if that fails.

        Raises
        ------
        NoChampion, ArtefactCorrupt, StorageFailed
            The champion cannot be loaded.
        """
        with self._loading_lock(key):
            self._swap_in(key)

    def reload_all(self) -> None:
        """Reload every champion in memory; raise the first failure after all were tried."""
        self._reload_each(self.loaded())

    def refresh(self) -> None:
        """Reload champions whose pointers have moved or that could not be loaded before.

        The first failure is raised after all were tried.
        """
        self._reload_each(key for key in self.loaded() if self._is_outdated(key))

    def loaded(self) -> list[ModelKey]:
        """Return the keys of the models in memory."""
        with self._guard:
            return list(self._models)

    def issues(self) -> list[str]:
        """Return a sentence for each model that is served by an earlier version."""
        with self._guard:
            return [model.fallback_warning for model in self._models.values() if model.fallback_warning]

    def _reload_each(self, keys: Iterable[ModelKey]) -> None:
        failure: MillwrightError | None = None
        for key in keys:
            try:
                self.reload(key)
            except NoChampion:
                self._drop(key)
            except MillwrightError as error:
                self._refused[key] = self._read_stamp(key)
                failure = failure or error
        if failure is not None:
            raise failure

    def _is_outdated(self, key: ModelKey) -> bool:
        with self._guard:
            model = self._models.get(key)
        return key in self._refused or (model is not None and model.stamp != self._read_stamp(key))

    def _get(self, key: ModelKey) -> LoadedModel | None:
        with self._guard:
            model = self._models.get(key)
            if model is not None:
                self._models.move_to_end(key)
            return model

    def _load_or_fall_back(self, key: ModelKey) -> LoadedModel:
        """Load the champion or, where it is damaged, the version that was promoted before it."""
        stamp = self._read_stamp(key)
        try:
            return self._swap_in(key)
        except (ArtefactCorrupt, NotFound) as error:
            earlier = self._load_earlier(key, stamp, error.message)
            if earlier is None:
                raise
            self._store(earlier)
            self._refused[key] = stamp
            log.error("champion_refused", model=str(key), tenant=key.tenant, reason=error.message)
            return earlier

    def _load_earlier(self, key: ModelKey, stamp: Stamp | None, reason: str) -> LoadedModel | None:
        """Load the newest intact version before the champion that was promoted in its time."""
        champion = self.versions.pointer(key.path) or 0
        for number in reversed(self.versions.numbers(key.path)):
            if number < champion:
                warning = f"{reason}. Version {number} answers instead: restore a backup, or train again"
                try:
                    version = self.versions.get(key.path, number)
                    if version.manifest["verdict"]["promoted"]:
                        return self._load(key, version, stamp, warning)
                except (ArtefactCorrupt, StorageFailed):
                    continue
        return None

    def _load_in_background(self, key: ModelKey) -> None:
        lock = self._loading_lock(key)
        if not lock.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._swap_and_release, args=(key, lock), daemon=True).start()
        except RuntimeError as error:  # the system has no more threads: the next request tries again
            lock.release()
            log.warning("champion_not_loaded", model=str(key), tenant=key.tenant, reason=str(error))

    def _swap_and_release(self, key: ModelKey, lock: threading.Lock) -> None:
        stamp = self._read_stamp(key)
        try:
            self._swap_in(key)
        except NoChampion:
            self._drop(key)
        except Exception as error:  # a champion that cannot be loaded must never take the old one down
            self._refused[key] = stamp
            log.error("champion_refused", model=str(key), tenant=key.tenant, reason=str(error))
        finally:
            lock.release()

    def _swap_in(self, key: ModelKey) -> LoadedModel:
        """Load the champion and replace the version in memory."""
        # The stamp is read first: if the pointer moves meanwhile, the next request sees an old stamp.
        stamp = self._read_stamp(key)
        version = self.versions.champion(key.path)
        if version is None and stamp is None and self._get(key) is not None:
            raise StorageFailed(f"The live pointer of {key} is gone; the version in memory goes on answering")
        if version is None:
            raise _no_champion(key)
        model = self._load(key, version, stamp)
        self._store(model)
        log.info("champion_loaded", model=str(key), tenant=key.tenant, version=version.number)
        return model

    def _load(
        self, key: ModelKey, version: ModelVersion, stamp: Stamp | None, warning: str = ""
    ) -> LoadedModel:
        self.versions.verify(version)
        try:
            predictor = registry.load_predictor(key.family).load(version.folder, self.resources)
        except (MillwrightError, MemoryError):
            raise
        except Exception as error:  # the libraries that read networks raise exceptions of their own
            raise ArtefactCorrupt(f"{key} version {version.number} cannot be loaded: {error}") from error
        return LoadedModel(key, version.number, version.manifest, predictor, stamp, warning)

    def _store(self, model: LoadedModel) -> None:
        with self._guard:
            self._refused.pop(model.key, None)
            self._models[model.key] = model
            self._models.move_to_end(model.key)
            while len(self._models) > self.capacity:
                self._models.popitem(last=False)

    def _drop(self, key: ModelKey) -> None:
        with self._guard:
            self._models.pop(key, None)
            self._refused.pop(key, None)

    def _loading_lock(self, key: ModelKey) -> threading.Lock:
        with self._guard:
            return self._loading.setdefault(key, threading.Lock())

    def _read_stamp(self, key: ModelKey) -> Stamp | None:
        try:
            status = self.versions.pointer_file(key.path).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


def _no_champion(key: ModelKey) -> NoChampion:
    return NoChampion(f"{key} has no champion yet: train it with enough data first", model=str(key))
