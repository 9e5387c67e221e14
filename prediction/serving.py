"""The live champions in memory: one stat notices a moved pointer, and the swap happens between two requests."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from errors import ArtefactCorrupt, MillwrightError, NoChampion, NotFound, StorageFailed, describe_error
from prediction import registry
from prediction.contract import AnyPredictor, ModelKey, Resources, artefact_errors
from storage.models.manifest import Manifest
from storage.models.rejections import list_rejections
from storage.models.versions import ModelVersion, VersionStore

log = structlog.get_logger()

# Modification time, inode and size of a live pointer: equal stamps, equal champion.
Stamp = tuple[int, int, int]
_UNREADABLE: Stamp = (0, 0, -1)


@dataclass(frozen=True)
class LoadedModel:
    """One champion in memory. A request takes it once and uses nothing else.

    Parameters
    ----------
    fallback_warning : str
        A sentence where this is not the champion as it is on the disk: an earlier version was loaded instead, or
        what was in memory goes on answering. Empty otherwise.
    frozen_warning : str
        A sentence where the trainings since its promotion were rejected. Empty otherwise.
    """

    key: ModelKey
    number: int
    manifest: Manifest
    predictor: AnyPredictor
    stamp: Stamp | None
    fallback_warning: str = ""
    frozen_warning: str = ""

    @property
    def warnings(self) -> list[str]:
        """What every answer of this version has to say of it."""
        sentences = (self.fallback_warning, self.frozen_warning, self.predictor.limitation())
        return [sentence for sentence in sentences if sentence]


# Takes the path of a model and why its champion cannot be loaded, or None where it has been loaded.
DamageReport = Callable[[str, str | None], None]


def _report_nothing(path: str, reason: str | None) -> None:
    """Keep no record of damage."""


class ModelCache:
    """Champions by key. At most ``capacity`` are in memory; the least recently used is dropped first.

    Parameters
    ----------
    report_damage : DamageReport
        Is told of each attempt to load a champion; its ``MillwrightError`` keeps no version from answering.
    """

    def __init__(
        self,
        versions: VersionStore,
        resources: Resources,
        capacity: int = 256,
        report_damage: DamageReport = _report_nothing,
    ) -> None:
        self.versions = versions
        self.resources = resources
        self.capacity = capacity
        self._report_damage = report_damage
        # Why champions could not be loaded, whether or not another version answers for them.
        self._failures: dict[ModelKey, str] = {}
        self._models: OrderedDict[ModelKey, LoadedModel] = OrderedDict()
        self._loading: dict[ModelKey, threading.Lock] = {}
        # Pointers whose champion could not be loaded: it is not tried again until the pointer moves.
        self._refused: dict[ModelKey, Stamp | None] = {}
        # The folder's modification time when its rejected versions were last looked for.
        self._checked_ns: dict[ModelKey, int] = {}
        self._guard = threading.Lock()

    def current(self, key: ModelKey) -> LoadedModel:
        """Return the champion of a model. While a newer one is being loaded, this is the old one.

        Raises
        ------
        NoChampion
            No version of this model has been promoted.
        ArtefactCorrupt, NotFound, StorageFailed
            The champion cannot be loaded, and there is no earlier version in memory or on disk.
        """
        stamp = self._read_stamp(key)
        model = self._get(key)
        if model is None and stamp is None:
            raise _no_champion(key)
        if model is None:
            # Requests for a model that is not in memory wait for one of them to load it.
            with self._loading_lock(key):
                model = self._get(key) or self._load_or_fall_back(key)
        elif model.stamp != stamp and self._refused.get(key, model.stamp) != stamp:
            self._load_in_background(key)
        return self._check_rejections(model)

    def reload(self, key: ModelKey) -> None:
        """Verify the champion's hashes and load it again; the old one stays if that fails.

        Raises
        ------
        NoChampion, ArtefactCorrupt, StorageFailed
            The champion cannot be loaded.
        """
        with self._loading_lock(key):
            self._swap_in(key)

    def reload_all(self, others: Iterable[ModelKey] = ()) -> None:
        """Reload every champion in memory, those that could not be loaded, and others; `failures` says what failed."""
        self._reload_each(dict.fromkeys([*self._list_keys(), *others]))

    def refresh(self) -> None:
        """Reload champions whose pointers have moved or that could not be loaded; `failures` says what failed."""
        self._reload_each([key for key in self._list_keys() if self._is_outdated(key)])

    def find_version(self, key: ModelKey, number: int) -> ModelVersion | None:
        """Return a stored version; None where there is none of that number."""
        try:
            return self.versions.get(key.path, number)
        except NotFound:
            return None

    def load_version(self, key: ModelKey, version: ModelVersion) -> LoadedModel:
        """Verify and load a version, whichever serves. It does not enter the cache."""
        return self._load(key, version, None)

    def loaded(self) -> list[ModelKey]:
        """Return the keys of the models in memory."""
        with self._guard:
            return list(self._models)

    def failures(self) -> dict[ModelKey, str]:
        """Return why champions cannot be loaded: an earlier version answers for them, or none."""
        with self._guard:
            sentences = {key: model.fallback_warning for key, model in self._models.items()}
            return {key: sentences.get(key) or reason for key, reason in self._failures.items()}

    def limitations(self, tenant: str) -> list[str]:
        """Return what the answers of a tenant's models in memory lack, as sentences."""
        with self._guard:
            models = [model for model in self._models.values() if model.key.tenant == tenant]
        limitations = ((model.key, model.predictor.limitation()) for model in models)
        return [f"{key}: {limitation}" for key, limitation in limitations if limitation]

    def rebuild(self, may_compute: bool) -> bool:
        """Let models in memory take up, or compute a part of, what they lack; return whether there is more to do.

        One model after the other, so that each part is short.
        """
        with self._guard:
            limited = [model for model in self._models.values() if model.predictor.limitation()]
        return any(model.predictor.rebuild(may_compute) for model in limited)

    def _list_keys(self) -> list[ModelKey]:
        with self._guard:
            return list({**self._models, **self._failures})

    def _reload_each(self, keys: Iterable[ModelKey]) -> None:
        for key in keys:
            try:
                self.reload(key)
            except NoChampion:
                self._drop(key)
            except (MillwrightError, MemoryError) as error:
                self._refuse(key, self._read_stamp(key), error)

    def _is_outdated(self, key: ModelKey) -> bool:
        with self._guard:
            model = self._models.get(key)
        return key in self._failures or (model is not None and model.stamp != self._read_stamp(key))

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
        except (ArtefactCorrupt, NotFound, StorageFailed) as error:
            reason = self._without_home(error.message)
            self._note_failure(key, reason)
            earlier = self._load_earlier(key, stamp, reason)
            if earlier is None:
                raise
            self._store(earlier)
            self._refused[key] = stamp
            log.error("champion_refused", model=str(key), tenant=key.tenant, reason=error.message)
            return earlier

    def _load_earlier(self, key: ModelKey, stamp: Stamp | None, reason: str) -> LoadedModel | None:
        """Load the newest intact version before the champion that was promoted in its time."""
        try:
            champion = self.versions.pointer(key.path) or 0
        except (ArtefactCorrupt, StorageFailed):
            return None  # which of the versions served last is not known
        for number in reversed(self.versions.numbers(key.path)):
            if number < champion:
                warning = f"{reason}. Version {number} answers instead: restore a backup, or train again"
                try:
                    version = self.versions.get(key.path, number)
                    verdict = version.manifest["verdict"]
                    if verdict and verdict["promoted"]:
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
            log.warning(
                "champion_not_loaded", model=str(key), tenant=key.tenant, reason=describe_error(error)
            )

    def _swap_and_release(self, key: ModelKey, lock: threading.Lock) -> None:
        stamp = self._read_stamp(key)
        try:
            self._swap_in(key)
        except NoChampion:
            self._drop(key)
        except Exception as error:  # a champion that cannot be loaded must never take the old one down
            self._refuse(key, stamp, error)
            log.error("champion_refused", model=str(key), tenant=key.tenant, reason=describe_error(error))
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
        with self._guard:
            self._failures.pop(key, None)
        self._report(key, None)
        log.info("champion_loaded", model=str(key), tenant=key.tenant, version=version.number)
        return model

    def _load(
        self, key: ModelKey, version: ModelVersion, stamp: Stamp | None, warning: str = ""
    ) -> LoadedModel:
        self.versions.verify(version)
        with artefact_errors(f"{key} version {version.number}"):
            predictor = registry.load_predictor(key.family).load(version.folder, self.resources)
        return LoadedModel(key, version.number, version.manifest, predictor, stamp, warning)

    def _store(self, model: LoadedModel) -> None:
        with self._guard:
            self._refused.pop(model.key, None)
            self._checked_ns.pop(model.key, None)
            self._models[model.key] = model
            self._models.move_to_end(model.key)
            while len(self._models) > self.capacity:
                self._checked_ns.pop(self._models.popitem(last=False)[0], None)

    def _refuse(self, key: ModelKey, stamp: Stamp | None, error: Exception) -> None:
        """Go on with the version in memory, and let its answers say so."""
        if isinstance(error, MemoryError):  # has no text
            reason = f"There is not enough memory to load the champion of {key}"
        else:
            reason = describe_error(error, with_detail=False)
        reason = self._without_home(reason)
        self._note_failure(key, reason)
        with self._guard:
            self._refused[key] = stamp
            if (model := self._models.get(key)) is not None and not model.fallback_warning:
                warning = (
                    f"{reason}. Version {model.number}, which was loaded before, answers: restore a backup, or train "
                    "again"
                )
                self._models[key] = replace(model, fallback_warning=warning)

    def _without_home(self, reason: str) -> str:
        """Return a reason without the folder of the home: it becomes a warning that every client may read."""
        return reason.replace(f"{self.versions.models_dir.parent}/", "")

    def _note_failure(self, key: ModelKey, reason: str) -> None:
        with self._guard:
            self._failures[key] = reason
        self._report(key, reason)

    def _report(self, key: ModelKey, reason: str | None) -> None:
        try:
            self._report_damage(key.path, reason)
        except MillwrightError as error:  # the database is away: the version answers all the same
            log.warning("damage_not_recorded", model=str(key), tenant=key.tenant, reason=error.message)

    def _check_rejections(self, model: LoadedModel) -> LoadedModel:
        """Return the model with what is known of later trainings.

        They are looked for again when the model's folder has changed: every training leaves a version there, so that
        one ``stat`` is enough where nothing has happened.
        """
        key = model.key
        try:
            changed_ns = self.versions.pointer_file(key.path).parent.stat().st_mtime_ns
            if self._checked_ns.get(key) == changed_ns:
                return model
            rejections = list_rejections(self.versions, key.path)
        except (OSError, MillwrightError):
            return model
        warning = ""
        if rejections:
            warning = (
                f"The trainings of {key} are rejected since {rejections[0].at:%Y-%m-%d %H:%M} UTC, "
                "so it has not learnt what came since: /health says what to do"
            )
        with self._guard:
            if self._models.get(key) is not model:
                return model  # another version has been loaded meanwhile; the next request looks
            self._checked_ns[key] = changed_ns
            if warning != model.frozen_warning:
                model = self._models[key] = replace(model, frozen_warning=warning)
        return model

    def _drop(self, key: ModelKey) -> None:
        with self._guard:
            self._models.pop(key, None)
            self._refused.pop(key, None)
            self._failures.pop(key, None)
            self._checked_ns.pop(key, None)

    def _loading_lock(self, key: ModelKey) -> threading.Lock:
        with self._guard:
            return self._loading.setdefault(key, threading.Lock())

    def _read_stamp(self, key: ModelKey) -> Stamp | None:
        try:
            status = self.versions.pointer_file(key.path).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:  # loading says why; until then the version in memory answers
            return _UNREADABLE
        return status.st_mtime_ns, status.st_ino, status.st_size


def _no_champion(key: ModelKey) -> NoChampion:
    return NoChampion(f"{key} has no champion yet: train it with enough data first", model=str(key))
