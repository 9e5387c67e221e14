"""The live champions in memory: a moved pointer is noticed by one stat and swapped between two requests."""

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
    """One champion, loaded. A request takes it once and answers from nothing else.

    Where the champion is damaged and was not in memory, the version that answered before it stands in;
    ``stands_in`` says so in a sentence, and is empty otherwise.
    """

    key: ModelKey
    number: int
    manifest: JSON
    predictor: Predictor
    stamp: Stamp | None
    fallback_warning: str = ""


class ModelCache:
    """Champions by key, at most ``capacity`` of them in memory, the least recently asked dropped first."""

    def __init__(self, versions: VersionStore, resources: Resources, capacity: int = 256) -> None:
        self.versions = versions
        self.resources = resources
        self.capacity = capacity
        self._live: OrderedDict[ModelKey, LoadedModel] = OrderedDict()
        self._loading: dict[ModelKey, threading.Lock] = {}
        self._refused: dict[ModelKey, Stamp | None] = {}
        self._guard = threading.Lock()

    def current(self, key: ModelKey) -> LoadedModel:
        """The champion that answers now. While a newer one is being loaded, the old one still answers.

        Raises
        ------
        NoChampion
            No version of this model has been promoted.
        ArtefactCorrupt, NotFound
            The champion cannot be loaded, and neither memory nor the disk holds one that answered before it.
        """
        stamp = self._stamp(key)
        live = self._remembered(key)
        if live is None and stamp is None:
            raise _no_champion(key)
        if live is None:
            return self._load(key)
        if live.stamp != stamp and self._refused.get(key, live.stamp) != stamp:
            self._load_in_background(key)
        return live

    def reload(self, key: ModelKey) -> None:
        """Check the champion's hashes and load it afresh; the old one stays where that fails.

        Raises
        ------
        NoChampion, ArtefactCorrupt, StorageFailed
            Why it could not be loaded.
        """
        with self._loading_lock(key):
            self._swap_in(key)

    def reload_all(self) -> None:
        """Reload every champion this process holds; the first failure is raised after all were tried."""
        self._each(self.loaded())

    def _each(self, keys: Iterable[ModelKey]) -> None:
        failure: MillwrightError | None = None
        for key in keys:
            try:
                self.reload(key)
            except NoChampion:
                self._forget(key)
            except MillwrightError as error:
                self._refused[key] = self._stamp(key)
                failure = failure or error
        if failure is not None:
            raise failure

    def refresh(self) -> None:
        """Load the champions whose pointers have moved and those that were refused before.

        The first failure is raised after all were tried.
        """
        self._each(key for key in self.loaded() if self._has_moved(key) or key in self._refused)

    def loaded(self) -> list[ModelKey]:
        """The models this process holds in memory."""
        with self._guard:
            return list(self._live)

    def issues(self) -> list[str]:
        """A sentence for each model whose champion is damaged, so that an earlier version answers."""
        with self._guard:
            return [live.fallback_warning for live in self._live.values() if live.fallback_warning]

    def _has_moved(self, key: ModelKey) -> bool:
        with self._guard:
            live = self._live.get(key)
        return live is not None and live.stamp != self._stamp(key)

    def _remembered(self, key: ModelKey) -> LoadedModel | None:
        with self._guard:
            live = self._live.get(key)
            if live is not None:
                self._live.move_to_end(key)
            return live

    def _load(self, key: ModelKey) -> LoadedModel:
        """The first champion of a key: the request waits for it, and so do those behind it."""
        with self._loading_lock(key):
            return self._remembered(key) or self._first(key)

    def _first(self, key: ModelKey) -> LoadedModel:
        """The champion or, where it is damaged, the version that answered before it."""
        stamp = self._stamp(key)
        try:
            return self._swap_in(key)
        except (ArtefactCorrupt, NotFound) as error:
            earlier = self._earlier(key, stamp, error.message)
            if earlier is None:
                raise
            self._keep(earlier)
            self._refused[key] = stamp
            log.error("champion_refused", model=str(key), tenant=key.tenant, reason=error.message)
            return earlier

    def _earlier(self, key: ModelKey, stamp: Stamp | None, reason: str) -> LoadedModel | None:
        """The newest whole version before the champion that was promoted in its time."""
        champion = self.versions.pointer(key.path) or 0
        for number in reversed(self.versions.numbers(key.path)):
            if number < champion:
                told = f"{reason}. Version {number} answers instead: restore a backup, or train again"
                try:
                    version = self.versions.get(key.path, number)
                    if version.manifest["verdict"]["promoted"]:
                        return self._opened(key, version, stamp, told)
                except (ArtefactCorrupt, StorageFailed):
                    continue
        return None

    def _load_in_background(self, key: ModelKey) -> None:
        lock = self._loading_lock(key)
        if not lock.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._swap_quietly, args=(key, lock), daemon=True).start()
        except RuntimeError as error:  # no thread to be had: the next request tries again
            lock.release()
            log.warning("champion_not_loaded", model=str(key), tenant=key.tenant, reason=str(error))

    def _swap_quietly(self, key: ModelKey, lock: threading.Lock) -> None:
        stamp = self._stamp(key)
        try:
            self._swap_in(key)
        except NoChampion:
            self._forget(key)
        except Exception as error:  # a champion that cannot be loaded must never take the old one down
            self._refused[key] = stamp
            log.error("champion_refused", model=str(key), tenant=key.tenant, reason=str(error))
        finally:
            lock.release()

    def _swap_in(self, key: ModelKey) -> LoadedModel:
        stamp = self._stamp(key)
        version = self.versions.champion(key.path)
        if version is None and stamp is None and self._remembered(key) is not None:
            raise StorageFailed(f"The live pointer of {key} is gone; the version in memory goes on answering")
        if version is None:
            raise _no_champion(key)
        live = self._opened(key, version, stamp)
        self._keep(live)
        log.info("champion_loaded", model=str(key), tenant=key.tenant, version=version.number)
        return live

    def _opened(
        self, key: ModelKey, version: ModelVersion, stamp: Stamp | None, fallback_warning: str = ""
    ) -> LoadedModel:
        self.versions.verify(version)
        try:
            predictor = registry.load_predictor(key.family).load(version.folder, self.resources)
        except (MillwrightError, MemoryError):
            raise
        except Exception as error:  # what reads networks has exceptions of its own, of no common kind
            raise ArtefactCorrupt(f"{key} version {version.number} cannot be loaded: {error}") from error
        return LoadedModel(key, version.number, version.manifest, predictor, stamp, fallback_warning)

    def _keep(self, live: LoadedModel) -> None:
        with self._guard:
            self._refused.pop(live.key, None)
            self._live[live.key] = live
            self._live.move_to_end(live.key)
            while len(self._live) > self.capacity:
                self._live.popitem(last=False)

    def _forget(self, key: ModelKey) -> None:
        with self._guard:
            self._live.pop(key, None)
            self._refused.pop(key, None)

    def _loading_lock(self, key: ModelKey) -> threading.Lock:
        with self._guard:
            return self._loading.setdefault(key, threading.Lock())

    def _stamp(self, key: ModelKey) -> Stamp | None:
        try:
            found = self.versions.pointer_file(key.path).stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def _no_champion(key: ModelKey) -> NoChampion:
    return NoChampion(f"{key} has no champion yet: train it with enough data first", model=str(key))
