"""Restore drills: prove that a backup can be opened and answers, without touching what serves."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from errors import (
    ArtefactCorrupt,
    BackupCorrupt,
    Interrupted,
    MillwrightError,
    NotFound,
    NotReady,
    StorageFailed,
)
from prediction import registry
from prediction.contract import ModelKey
from storage.backups.backup import Backup
from storage.backups.proofs import Proof, Proofs
from storage.container import Storage
from storage.db.kept_predictions import KeptPredictions, hash_files
from storage.db.tables import utc_now
from storage.filesystem.files import FileSignature, stat_signature
from storage.filesystem.locks import ProcessLock
from storage.models.versions import VersionStore
from training.execution.executor import Executor, Worker
from training.execution.tasks import DrillTask
from training.services.backups import BackupService

log = structlog.get_logger()

# Kept predictions that are answered again for each model, and their compressed size together.
_MAX_PROBES: Final = 20
_MAX_PROBE_BYTES: Final = 4_000_000
_MAX_SECONDS: Final = 1_800


@dataclass(frozen=True)
class ProofSummary:
    """What the drills of a tenant's backups say together.

    Parameters
    ----------
    failures : sequence of (str, str)
        Name and error of each backup whose last drill failed, the newest first.
    proven_at : datetime or None
        The newest proof.
    since : datetime or None
        When the oldest backup was made; None where there is none.
    """

    failures: Sequence[tuple[str, str]]
    proven_at: datetime | None
    since: datetime | None


class RestoreDrills:
    """Opens backups in clean processes, one at a time on this server, and remembers what was found."""

    def __init__(
        self, storage: Storage, backups: BackupService, executor: Executor, kept: KeptPredictions
    ) -> None:
        self._storage = storage
        self._backups = backups
        self._executor = executor
        self._kept = kept
        self._lock = ProcessLock(storage.settings.run_dir / "locks" / "drill")
        self._proofs = Proofs(storage.settings.backups_dir / "proofs.json")
        self._summaries: dict[str, tuple[Sequence[FileSignature], ProofSummary]] = {}
        self._closed = threading.Event()

    def proofs(self) -> Mapping[str, Proof]:
        """Return the last drill of each backup, by name."""
        return self._proofs.read()

    def run(self, name: str, tenant: str) -> Proof:
        """Open a backup, load its models and answer kept predictions again.

        Raises
        ------
        NotFound
            The tenant has no backup of that name.
        BackupCorrupt
            It is damaged, could not be opened, or answers otherwise; the message says what failed.
        NotReady, TrainingFailed
            The server stops, or no process could be started: this says nothing about the backup.
        """
        self._backups.get(name, tenant)
        with self._lock:
            try:
                proof = self._open(self._backups.verify(name, tenant))
            except BackupCorrupt as damage:
                proof = Proof(utc_now(), None, 0, 0, damage.message)
            except MemoryError:  # without a proof it would be due again at once, before all others
                proof = Proof(utc_now(), None, 0, 0, "this server has not enough memory to open it")
            existing = {other.name for other in self._storage.backups.list()}
            if name not in existing:
                raise NotFound(f"{name} was deleted while it was opened")
            if proof.proven_at is None and (last := self._proofs.read().get(name)):
                proof = Proof(proof.drilled_at, last.proven_at, proof.models, proof.answers, proof.error)
            self._proofs.add(name, proof, existing)
        log.info("restore_drill", backup=name, models=proof.models, answers=proof.answers, error=proof.error)
        if proof.error:
            raise BackupCorrupt(f"The restore drill of {name} failed: {proof.error}")
        return proof

    def list_due(self, now: datetime) -> list[tuple[str, str]]:
        """Return tenant and name of the backups to open, in this order.

        Each new backup is opened once, the newest first: a restore needs that one most. After the interval the
        newest one, and those whose drill failed, are opened again.
        """
        interval = timedelta(hours=self._storage.settings.restore_drill_hours)
        if not interval:
            return []
        proofs = self.proofs()
        new, again = [], []
        for tenant in self._storage.champions.tenants():
            newest_first = list(reversed(self._backups.list(tenant)))
            for backup in newest_first:
                proof = proofs.get(backup.name)
                if proof is None:
                    new.append((backup.created_at, tenant, backup.name))
                elif (backup is newest_first[0] or proof.error) and now - proof.drilled_at >= interval:
                    again.append((tenant, backup.name))
        return [(tenant, name) for _, tenant, name in sorted(new, reverse=True)] + again

    def run_due(self, now: datetime) -> str | None:
        """Open the first backup that is due; return its name, or None where none is."""
        for tenant, name in self.list_due(now):
            try:
                self.run(name, tenant)
            except BackupCorrupt as error:
                log.error("restore_drill_failed", backup=name, reason=error.message)
            except (NotFound, StorageFailed) as error:
                log.warning("restore_drill_postponed", backup=name, reason=error.message)
                continue
            return name
        return None

    def issue(self, tenant: str) -> str | None:
        """Return what is wrong with the proofs of a tenant's backups; None if nothing is."""
        limit = self._storage.settings.restore_proof_hours
        if not limit:
            return None
        summary = self.summary(tenant)
        if summary.failures:
            name, error = summary.failures[0]
            others = len(summary.failures) - 1
            more = f", and so did those of {others} others" if others else ""
            return f"The restore drill of {name} failed{more}: {error}"
        since = summary.proven_at or summary.since
        if since is None or utc_now() - since <= timedelta(hours=limit):
            return None
        return (
            f"No backup was proven by a restore drill since {since:%Y-%m-%d %H:%M} UTC: "
            "POST /train/backups/<name>/drill proves one"
        )

    def summary(self, tenant: str) -> ProofSummary:
        """Return what the drills say together. Backups are listed only if some came, went or were opened."""
        signatures = [
            stat_signature(file) for file in (self._proofs.file, self._storage.settings.backups_dir)
        ]
        cached = self._summaries.get(tenant)
        if cached is not None and cached[0] == signatures:
            return cached[1]
        backups, proofs = self._backups.list(tenant), self.proofs()
        drills = [(backup.name, proofs[backup.name]) for backup in reversed(backups) if backup.name in proofs]
        summary = ProofSummary(
            [(name, proof.error) for name, proof in drills if proof.error],
            max((proof.proven_at for _, proof in drills if proof.proven_at), default=None),
            min((backup.created_at for backup in backups), default=None),
        )
        self._summaries[tenant] = signatures, summary
        return summary

    def close(self) -> None:
        """End the drill that runs in this process; it says nothing about the backup."""
        self._closed.set()

    def _open(self, backup: Backup) -> Proof:
        """Open each model of a backup, up to the first that fails, in one process that nothing else has used."""
        deadline = time.monotonic() + _MAX_SECONDS

        def check() -> None:
            if self._closed.is_set():
                raise NotReady("The server is stopping. Please try again in a minute.", retry_after=30)
            if time.monotonic() > deadline:
                raise TimeoutError

        models = answers = 0
        error: str | None = None
        try:
            with self._executor.open_worker("reporter", check) as worker:
                for path, number in backup.pointers.items():
                    answers += self._open_model(worker, backup, path, number)
                    models += number is not None
        except TimeoutError:
            error = f"it could not be opened within {_MAX_SECONDS // 60} minutes"
        except ArtefactCorrupt as failure:
            error = failure.message
        now = utc_now()
        return Proof(now, None if error else now, models, answers, error)

    def _open_model(self, worker: Worker, backup: Backup, path: str, number: int | None) -> int:
        """Return how many kept predictions a model answered as before; ArtefactCorrupt names it if it fails."""
        key = ModelKey.from_path(path)
        try:
            entry = registry.get_entry(key.family)
            folder = backup.folder.relative_to(self._storage.settings.home).as_posix()
            probes = self._select_probes(backup, key, number)
            task = DrillTask(folder, path, number, entry.store, entry.predictor, probes)
            return worker.run(task)
        except NotReady:
            raise
        except Interrupted as error:
            raise ArtefactCorrupt(f"the process that opened {key} died") from error
        except MillwrightError as error:
            raise ArtefactCorrupt(f"{key} cannot be opened from the backup: {error.message}") from error

    def _select_probes(self, backup: Backup, key: ModelKey, number: int | None) -> list[tuple[str, str]]:
        """Return questions that the backed up champion answered while it served, with its answers."""
        if number is None:
            return []
        version = VersionStore(backup.folder / "models").get(key.path, number)
        probes, size = [], 0
        for row in self._kept.list_of_version(key.path, hash_files(version.manifest), _MAX_PROBES):
            size += len(row.inputs) + len(row.answers)
            if size > _MAX_PROBE_BYTES:
                break
            try:
                inputs, answers = row.read()
            except ArtefactCorrupt as error:  # not the backup's fault
                log.warning("kept_prediction_damaged", id=row.id, reason=error.message)
                continue
            probes.append((inputs.decode(), answers.decode()))
        return probes
