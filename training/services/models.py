"""Models, their versions, and which version serves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from errors import MillwrightError, TrainingBusy
from prediction import registry
from prediction.contract import ModelKey
from storage.container import Storage
from storage.filesystem.files import remove_tree
from storage.journal_steps import DataChanges, JournalEntry, PointerChange
from storage.models.versions import ModelVersion
from training.services.backups import BackupService
from training.services.worker_reload import WorkerReload

log = structlog.get_logger()

_LOCK_SECONDS = 0.1


@dataclass(frozen=True)
class Promotion:
    """A version that was made champion by hand."""

    key: ModelKey
    version: int
    previous_version: int | None
    backup: str


class ModelService:
    """The models of a home folder."""

    def __init__(self, storage: Storage, backups: BackupService, worker_reload: WorkerReload) -> None:
        self._storage = storage
        self._versions = storage.versions
        self._backups = backups
        self._worker_reload = worker_reload

    def keys(
        self, tenant: str, family: str | None = None, after: str = "", limit: int | None = None
    ) -> list[ModelKey]:
        """Return a tenant's models that have a version or a champion, in order of their names.

        Parameters
        ----------
        after : str
            The last model of the page before, as ``family/name``.
        """
        records = self._storage.champions.page(tenant, family, after, limit)
        return [ModelKey.from_path(record.path) for record in records]

    def exists(self, key: ModelKey) -> bool:
        """Return whether a model has a version."""
        return bool(self._versions.numbers(key.path))

    def sibling_names(self, key: ModelKey) -> list[str]:
        """Return the names of the models of the same family and tenant, at most a thousand."""
        return self._versions.sibling_names(key.path)

    def champion_number(self, key: ModelKey) -> int | None:
        """Return the number of the version that serves; None if no version was promoted.

        Raises
        ------
        ArtefactCorrupt
            The live pointer cannot be read.
        """
        return self._versions.pointer(key.path)

    def champion_numbers(self, keys: Iterable[ModelKey]) -> tuple[dict[ModelKey, int | None], list[ModelKey]]:
        """Return the numbers of the versions that serve, and the models whose live pointer is damaged."""
        numbers, damaged = self._versions.read_pointers([key.path for key in keys])
        readable = {ModelKey.from_path(path): number for path, number in numbers.items()}
        return readable, [ModelKey.from_path(path) for path in damaged]

    def version_numbers(self, key: ModelKey) -> list[int]:
        """Return the numbers of all versions of a model, ascending."""
        return self._versions.numbers(key.path)

    def version(self, key: ModelKey, number: int) -> ModelVersion:
        """Return a version with its manifest.

        Raises
        ------
        NotFound, ArtefactCorrupt
            There is no such version, or its manifest is damaged.
        """
        return self._versions.get(key.path, number)

    def champion(self, key: ModelKey) -> ModelVersion | None:
        """Return the version that serves; None if no version was promoted."""
        return self._versions.champion(key.path)

    def promote(self, key: ModelKey, number: int) -> Promotion:
        """Make a version the champion, whatever the gate said; the present one is backed up first.

        Raises
        ------
        NotFound, ArtefactCorrupt
            There is no such version, or it is damaged.
        TrainingBusy
            This model is being trained.
        """
        lock = self._storage.training_lock(key.path)
        if not lock.acquire(_LOCK_SECONDS):
            raise TrainingBusy(model=str(key))
        try:
            version = self.version(key, number)
            self._versions.verify(version)
            previous = self.champion_numbers([key])[0].get(key)
            backup = self._backups.create(key, key.tenant, f"before promoting {key} version {number}")
            self._commit(key, version)
        finally:
            lock.release()
        self._worker_reload.refresh()
        log.info("promoted", model=str(key), version=number, previous=previous)
        return Promotion(key, number, previous, f"model_backups/{backup.name}")

    def _commit(self, key: ModelKey, version: ModelVersion) -> None:
        """Move the pointer and, as this version has learnt them, release its session's records."""
        storage, session_id = self._storage, version.manifest.get("session_id")
        records = registry.open_record_store(key.family, storage.settings.data_dir, storage.database)
        staging = storage.journal.staging(f"promote-{version.number}")
        try:
            changes = DataChanges()
            if session_id in {batch.session_id for batch in records.list_quarantined(key)}:
                changes = records.plan_release(key, session_id, staging)
            pointer = PointerChange(key.path, version.number)
            with storage.journal.hold_store_lock():
                storage.journal.commit(JournalEntry("promote", moves=changes.moves, pointers=[pointer]))
        except MillwrightError as error:
            if not error.facts.get("committed"):
                remove_tree(staging)
            raise
        remove_tree(staging)
        records.on_commit(key)

    def epoch(self) -> int:
        """Return a number that rises with every change of a live pointer."""
        return self._versions.epoch()

    def reload_epoch(self) -> int:
        """Return the last epoch at which every worker had to load its models again, moved or not."""
        return self._versions.reload_epoch()
