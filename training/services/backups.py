"""Backups of data and models, and the way back to one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog

from errors import Conflict, MillwrightError, NotFound, TrainingBusy
from prediction import registry
from prediction.contract import JSON, ModelKey, RecordStore
from storage import fault_injection
from storage.backups.backup import Backup
from storage.container import Storage
from storage.filesystem.files import remove_tree
from storage.filesystem.locks import raise_lock_limit
from storage.journal import JournalEntry
from training.services.worker_reload import WorkerReload

log = structlog.get_logger()

RELOAD_S = 10.0


class BackupService:
    """What is done with backups besides looking at them."""

    def __init__(self, storage: Storage, reloading: WorkerReload) -> None:
        self._storage = storage
        self._reloading = reloading

    def back_up(self, key: ModelKey | None, tenant: str, reason: str, retain: bool = False) -> Backup:
        """Back up one model with its data, or everything a tenant has.

        Raises
        ------
        Conflict
            The tenant has nothing yet.
        DiskFull, StorageFailed
            There is no such backup then.
        """
        keys = [key] if key is not None else self._keys(tenant)
        if not keys:
            raise Conflict("There is nothing to back up yet: train a model first")
        with self._storage.journal.hold_store_lock():
            return self._made(reason, keys, retain)

    def forget(self, name: str, tenant: str) -> None:
        """Delete a backup; NotFound where the tenant has none of that name."""
        backup = self._mine(name, tenant)
        with self._storage.journal.hold_store_lock():
            self._storage.backups.delete(backup.name)
        log.info("backup_forgotten", backup=backup.name)

    def restore(self, name: str, tenant: str, dry_run: bool = False) -> JSON:
        """Bring data and models back to a backup; the present is backed up first, so this can be undone.

        Returns
        -------
        dict
            ``changes`` in words; after a restore also ``safety_backup`` and ``workers`` (what went wrong in
            each, by process id).

        Raises
        ------
        NotFound
            The tenant has no backup of that name.
        TrainingBusy
            A model that the backup holds is being trained.
        BackupCorrupt, DiskFull, StorageFailed
            Nothing has changed.
        """
        backup = self._mine(name, tenant)
        if dry_run:
            return {"changes": self._storage.backups.preview_restore(backup.name)}
        keys = [_key(path) for path in sorted(backup.models)]
        with self._training_locks(keys):
            done, epoch = self._restored(backup, keys)
        workers = self._reloading.wait(epoch, RELOAD_S)
        log.info("restored", backup=backup.name, safety_backup=done["safety_backup"], workers=workers)
        return {**done, "workers": workers}

    def _restored(self, backup: Backup, keys: Sequence[ModelKey]) -> tuple[JSON, int]:
        """Verify, back up the present, stage and commit, all of it under the store lock."""
        storage = self._storage
        with storage.journal.hold_store_lock():
            storage.backups.verify(backup.name)
            safety = self._made(f"before restoring {backup.name}", keys, retain=False)
            with self._staging(backup) as staging:
                plan = storage.backups.stage_restore(backup.name, staging)
                fault_injection.fault_point("restore.synced")
                moves, pointers = plan["moves"], plan["pointers"]
                storage.journal.commit(
                    JournalEntry(kind="restore", moves=moves, pointers=pointers, epoch=True)
                )
            epoch = storage.versions.epoch()
        for key in keys:
            self._intake(key).on_commit(key)
        return {"changes": plan["changes"], "safety_backup": f"model_backups/{safety.name}"}, epoch

    @contextmanager
    def _staging(self, backup: Backup) -> Iterator[Path]:
        """A folder for what a restore puts in place; it stays where a durable commit still needs it."""
        staging = self._storage.journal.staging(f"restore-{backup.name}")
        try:
            yield staging
        except MillwrightError as error:
            if not error.facts.get("committed"):
                remove_tree(staging)
            raise
        remove_tree(staging)

    def _made(self, reason: str, keys: Iterable[ModelKey], retain: bool) -> Backup:
        """A backup of these models with their data. The caller holds the store lock."""
        keys = list(keys)
        files: list[Path] = []
        for key in keys:
            files += [file for file in self._intake(key).data_files(key) if file not in files]
        return self._storage.backups.create(reason, files, [key.path for key in keys], retain=retain)

    def _keys(self, tenant: str) -> list[ModelKey]:
        """Every model a tenant has, and those whose data files may come before the first version."""
        paths = self._storage.versions.paths()
        kept = {key for key in map(_key, paths) if key.tenant == tenant and key.family in registry.FAMILIES}
        usual = {ModelKey(family, tenant=tenant) for family in registry.FAMILIES}
        return sorted(kept | {key for key in usual if self._intake(key).data_files(key)})

    def _intake(self, key: ModelKey) -> RecordStore:
        return registry.open_record_store(key.family, self._storage.settings.data_dir, self._storage.database)

    def _mine(self, name: str, tenant: str) -> Backup:
        backup = self._storage.backups.get(name)
        if not backup.belongs_to(tenant):
            raise NotFound("There is no backup of that name: GET /train/backups lists them")
        return backup

    @contextmanager
    def _training_locks(self, keys: Sequence[ModelKey]) -> Iterator[None]:
        """The training locks of several models, always taken in the same order."""
        raise_lock_limit(len(keys))
        with ExitStack() as held:
            for key in sorted(keys):
                lock = self._storage.training_lock(key.path)
                if not lock.acquire(0.1):
                    raise TrainingBusy(model=str(key))
                held.callback(lock.release)
            yield


def _key(path: str) -> ModelKey:
    tenant, family, name = path.split("/")
    return ModelKey(family, name, tenant)
