"""Backups of data and models, and the way back to one of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NotRequired, TypedDict

import structlog

from errors import Conflict, MillwrightError, NotFound, TrainingBusy, describe_error
from prediction import registry
from prediction.contract import ModelKey, RecordStore
from prediction.severe_cases import LockedCase, SaferAnswer, describe_unknown, to_records
from storage import fault_injection
from storage.backups.backup import Backup
from storage.backups.store import StagedRestore
from storage.container import Storage
from storage.filesystem.files import remove_tree
from storage.filesystem.tidying import tidy_up
from storage.journal_steps import JournalEntry
from storage.models.manifest import SaferAnswerRecord
from training.services.severe_cases import SevereCaseService
from training.services.stores import open_records
from training.services.worker_reload import WorkerReload

log = structlog.get_logger()

RELOAD_SECONDS = 10.0
_LOCK_SECONDS = 0.1


class RestoreReport(TypedDict):
    """What a restore changes, in words, and where it was no dry run what it did.

    ``workers`` holds the error of each web worker by process id. ``safer_answers`` are locked severe cases that are
    answered safer now: they do not hold a restore back, because it is the way out of everything else. They are None
    where none is known and of some model it cannot be told; ``warnings`` say of which.
    """

    changes: list[str]
    safety_backup: NotRequired[str]
    workers: NotRequired[Mapping[int, str | None]]
    safer_answers: NotRequired[list[SaferAnswerRecord] | None]
    warnings: NotRequired[list[str]]


class BackupService:
    """The backups of data and models, and the way back to one of them."""

    def __init__(self, storage: Storage, reloading: WorkerReload, severe_cases: SevereCaseService) -> None:
        self._storage = storage
        self._reloading = reloading
        self._severe_cases = severe_cases

    def list(self, tenant: str) -> Sequence[Backup]:
        """Return a tenant's backups, the oldest first."""
        return [backup for backup in self._storage.backups.list() if backup.belongs_to(tenant)]

    def get(self, name: str, tenant: str) -> Backup:
        """Return a backup; raise NotFound if the tenant has none of that name."""
        backup = self._storage.backups.get(name)
        if not backup.belongs_to(tenant):
            raise NotFound("There is no backup of that name: GET /train/backups lists them")
        return backup

    def verify(self, name: str, tenant: str) -> Backup:
        """Check every file of a backup against its hash; raise BackupCorrupt if one differs."""
        return self._storage.backups.verify(self.get(name, tenant).name)

    def set_retained(self, name: str, tenant: str, retained: bool) -> Backup:
        """Protect a backup from being deleted by age, or stop protecting it."""
        return self._storage.backups.set_retained(self.get(name, tenant).name, retained)

    def create(self, key: ModelKey | None, tenant: str, reason: str, retain: bool = False) -> Backup:
        """Back up one model with its data, or everything that a tenant has.

        Raises
        ------
        Conflict
            The tenant has nothing yet.
        DiskFull, StorageFailed
            No backup was made.
        """
        keys = [key] if key is not None else self._all_keys(tenant)
        if not keys:
            raise Conflict("There is nothing to back up yet: train a model first")
        with self._storage.journal.hold_store_lock():
            return self.snapshot(keys, reason, retain=retain)

    def snapshot(
        self,
        keys: Iterable[ModelKey],
        reason: str,
        *,
        retain: bool = False,
        session_id: int | None = None,
    ) -> Backup:
        """Back up these models with their data. The caller holds the store lock."""
        keys, files = list(keys), {}
        for key in keys:
            files.update(dict.fromkeys(self._intake(key).data_files(key)))
        paths = [key.path for key in keys]
        return self._storage.backups.create(reason, list(files), paths, retain=retain, session_id=session_id)

    def delete(self, name: str, tenant: str) -> None:
        """Delete a backup; raise NotFound if the tenant has none of that name."""
        backup = self.get(name, tenant)
        with self._storage.journal.hold_store_lock():
            self._storage.backups.delete(backup.name)
        log.info("backup_deleted", backup=backup.name)

    def restore(self, name: str, tenant: str, dry_run: bool = False) -> RestoreReport:
        """Bring data and models back to a backup; the present is backed up first, so this can be undone.

        Raises
        ------
        NotFound
            The tenant has no backup of that name.
        TrainingBusy
            A model in the backup is being trained.
        BackupCorrupt, DiskFull, StorageFailed
            Nothing has changed.
        """
        backup = self.get(name, tenant)
        keys = sorted(map(ModelKey.from_path, backup.models))
        if dry_run:
            return {"changes": self._storage.backups.preview_restore(backup.name, self._owned_files(keys))}
        with self._hold_training_locks(keys):
            locked = {key: self._severe_cases.lock(key) for key in keys}
            plan, safety_backup = self._replace(backup, keys)
            answers = {key: self._compare(key, locked[key]) for key in keys}
        workers = self._reloading.wait(RELOAD_SECONDS, tenant)
        safer = [answer for of_model in answers.values() for answer in of_model or ()]
        warnings = [describe_unknown(key) for key in keys if answers[key] is None]
        log.info(
            "restored",
            backup=backup.name,
            safety_backup=safety_backup.name,
            workers=workers,
            safer_answers=list(map(str, safer)),
            warnings=warnings,
        )
        return {
            "changes": plan.changes,
            "safety_backup": f"model_backups/{safety_backup.name}",
            "workers": workers,
            "safer_answers": to_records(safer) or (None if warnings else []),
            "warnings": warnings,
        }

    def _replace(self, backup: Backup, keys: Sequence[ModelKey]) -> tuple[StagedRestore, Backup]:
        """Verify, back up the present, stage and commit, all of it under the store lock."""
        storage = self._storage
        with storage.journal.hold_store_lock():
            storage.backups.verify(backup.name)
            safety_backup = self.snapshot(keys, f"before restoring {backup.name}")
            with self._staging(backup) as staging:
                plan = storage.backups.stage_restore(backup.name, staging, self._owned_files(keys))
                fault_injection.fault_point("restore.synced")
                storage.journal.commit(
                    JournalEntry("restore", moves=plan.moves, pointers=plan.pointers, epoch=True)
                )
            # The restore has happened; whoever comes next finishes the upgrade.
            with tidy_up("upgrade the ids files", backup=backup.name):
                storage.upgrade_ids()
        for key in keys:
            with tidy_up("note the data files", backup=backup.name, model=str(key)):
                self._intake(key).on_commit(key)
        return plan, safety_backup

    def _compare(self, key: ModelKey, locked: Sequence[LockedCase] | None) -> Sequence[SaferAnswer] | None:
        """Return which locked cases the champion that a restore has brought back answers safer.

        None where that cannot be told.
        """
        try:
            champion = self._storage.versions.champion(key.path)
            return self._severe_cases.compare(key, locked, champion) if champion is not None else ()
        except Exception as error:  # of whatever kind: the restore has happened
            log.warning("severe_cases_not_compared", model=str(key), reason=describe_error(error))
            return None

    @contextmanager
    def _staging(self, backup: Backup) -> Iterator[Path]:
        """Make a folder for what a restore puts in place; keep it where a durable commit still needs it."""
        staging = self._storage.journal.staging(f"restore-{backup.name}")
        try:
            yield staging
        except MillwrightError as error:
            if not error.facts.get("committed"):
                remove_tree(staging)
            raise
        with tidy_up("remove what restored a backup", backup=backup.name):
            remove_tree(staging)

    def _all_keys(self, tenant: str) -> Sequence[ModelKey]:
        """Return every model of a tenant, and those whose data files came before their first version."""
        keys = set(map(ModelKey.from_path, self._storage.versions.paths()))
        trained = {key for key in keys if key.tenant == tenant and key.family in registry.FAMILIES}
        defaults = {ModelKey(family, tenant=tenant) for family in registry.FAMILIES}
        return sorted(trained | {key for key in defaults if self._intake(key).data_files(key)})

    def _owned_files(self, keys: Iterable[ModelKey]) -> set[str]:
        """Return the data files of these models, relative to home: a restore writes no others."""
        files = {file for key in keys for file in self._intake(key).data_files(key)}
        return {file.relative_to(self._storage.settings.home).as_posix() for file in files}

    def _intake(self, key: ModelKey) -> RecordStore:
        return open_records(self._storage, key.family)

    @contextmanager
    def _hold_training_locks(self, keys: Sequence[ModelKey]) -> Iterator[None]:
        """Hold the training locks of several models, taken in one order so that no two callers deadlock."""
        with ExitStack() as held:
            for key in sorted(keys):
                lock = self._storage.training_lock(key.path)
                if not lock.acquire(_LOCK_SECONDS):
                    raise TrainingBusy(model=str(key))
                held.callback(lock.release)
            yield
