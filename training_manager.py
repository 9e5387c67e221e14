"""The front desk: the only way a model or training data changes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from errors import Conflict, MillwrightError, NotFound, TrainingBusy
from prediction import registry
from prediction.contract import JSON, ModelKey, RecordBatch, Resources
from prediction.serving import ModelCache
from settings import Settings
from storage.container import Storage, open_storage
from storage.datasets.store import DatasetStore
from storage.db.sessions import STORED_STATES, Session
from storage.filesystem.files import remove_abandoned, remove_tree, storage_errors
from storage.filesystem.locks import ProcessLock
from training.batch import BatchRequest
from training.context import TrainingDeps, TrainingOutcome, TrainingRequest, cancel_flag, pending_file
from training.execution.child_process import ChildProcessExecutor
from training.monitoring.monitor import ModelMonitor
from training.monitoring.prediction_log import PredictionBuffer
from training.runner import SessionRunner
from training.services.backups import BackupService
from training.services.data_health import DataHealth
from training.services.downloads import DownloadService
from training.services.models import ModelService
from training.services.report_cache import ReportCache
from training.services.sessions import SessionService, model_key
from training.services.status import status_of
from training.services.stores import open_device_stores, open_sensor_stores
from training.services.system import SystemService
from training.services.worker_reload import WorkerReload
from training.tracking.outbox import open_tracking

__all__ = ["TrainingManager", "TrainingOutcome", "open_manager"]

log = structlog.get_logger()

_CANCEL_S = 10.0
_SERVED_S = 2.0


def open_manager(settings: Settings) -> TrainingManager:
    """The front desk over one home folder; no thread and no process starts before it is asked for something.

    Raises
    ------
    ConfigurationError, NotReady, DiskFull, StorageFailed
        The home folder or its database cannot be opened.
    """
    storage = open_storage(settings)
    live = ModelCache(storage.versions, Resources(settings.cache_dir, settings.sentence_model))
    return TrainingManager(storage, ChildProcessExecutor(settings.run_dir, settings), live)


class TrainingManager:
    """Everything that trains, and everything that decides which version serves.

    Parameters
    ----------
    storage : Storage
        What is kept.
    executor : LocalExecutor
        Where sessions do their work.
    live : LiveModels
        The champions of this process.

    Attributes
    ----------
    sessions : TrueSessions
        Sessions as they are: none runs whose owner has died.
    archive : Archive
        Backups and restores.
    data_files : DataFiles
        Whether the files that models train on can be read.
    downloads : Downloads
        The files that versions offer.
    reports : Reports
        What sessions did, told for people.
    predictions : NotedPredictions
        What champions have said, kept until it is known how things went.
    watch : Watch
        Why models are trained again, or left alone.
    tracking : NoTracking
        What MLflow is told of sessions and of models in production.
    """

    def __init__(self, storage: Storage, executor: ChildProcessExecutor, live: ModelCache) -> None:
        self.storage = storage
        self.settings = storage.settings
        self.executor = executor
        self.model_cache = live
        self.sessions = SessionService(storage)
        self._reloading = WorkerReload(storage, live)
        self.backups = BackupService(storage, self._reloading)
        self.models = ModelService(storage, self.backups, self.refresh_workers)
        self.data_health = DataHealth(storage)
        self.downloads = DownloadService(storage, executor)
        self.reports = ReportCache(storage, executor, self.sessions)
        self.sensors = open_sensor_stores(storage.database)
        self.devices = open_device_stores(storage.database)
        max_dataset_bytes = self.settings.max_dataset_mb * 1_000_000
        self.datasets = DatasetStore(self.settings.data_dir / "datasets", max_dataset_bytes, in_child=True)
        self.keys = storage.keys
        self.idempotency = storage.idempotency
        self.workers = storage.workers
        self.system = SystemService(storage)
        self.predictions = PredictionBuffer(self.devices.predictions)
        self.tracking = open_tracking(storage)
        self._shop = TrainingDeps(storage, executor, self.sessions, self.tracking)
        self._threads = SessionRunner(self._shop)
        self.monitor = ModelMonitor(
            *(storage, live.resources, self.predictions, self.tracking),
            threads=self._threads,
            served=self.refresh_workers,
        )
        # The former names, until their callers have changed.
        self.live, self.archive, self.data_files = live, self.backups, self.data_health
        self.watch = self.monitor

    def train(
        self, key: ModelKey, raw_records: Any, options: JSON | None = None, *, wait: bool = True
    ) -> TrainingOutcome:
        """Train a model with new records; whoever waits may go away, the session goes on.

        Parameters
        ----------
        wait : bool
            Whether to wait for the end; otherwise until the new records are safe on disk.

        Raises
        ------
        InvalidRecords, InvalidContent, NotFound
            The request cannot be used; nothing has changed.
        TrainingBusy
            This model is being trained.
        """
        return self._run(self._order(key, raw_records, options), wait)

    def train_batch(
        self,
        family: str,
        tenant: str,
        names: Sequence[str],
        options: JSON | None = None,
        *,
        wait: bool = True,
        jobs: int | None = None,
    ) -> TrainingOutcome:
        """Train many models from what is stored, in one session; one model's failure stops no other.

        Parameters
        ----------
        jobs : int, optional
            Child processes at a time; as many as there are cores, where it is not given.

        Raises
        ------
        InvalidContent, NotFound
            The request cannot be used; nothing has changed.
        TrainingBusy
            Another fleet of this family is being trained.
        """
        intake = self._shop.intake(ModelKey(family, tenant=tenant))
        asked = intake.parse_options(options or {})
        return self._run(BatchRequest(family, tenant, tuple(names), asked, _at_once(len(names), jobs)), wait)

    def preview(self, key: ModelKey, raw_records: Any, options: JSON | None = None) -> JSON:
        """What :meth:`train` would do with this request, without doing any of it."""
        order = self._order(key, raw_records, options)
        selection = self._shop.intake(key).select_new(key, order.batch)
        would_train = bool(selection.new) or not order.batch.records
        return {
            "model": str(key),
            "would_train": would_train,
            "records_new": len(selection.new),
            "records_skipped": selection.skipped,
            "corrections": selection.corrections,
            "next_version": self.storage.versions.next_number(key.path) if would_train else None,
            "is_training": self._lock(key).is_held(),
            "options": dict(order.options),
            "warnings": list(order.batch.warnings),
            "ignored_fields": list(order.batch.ignored_fields),
        }

    def undo(self, session_id: int, tenant: str, wait: bool = True) -> TrainingOutcome:
        """Take one session's records out again and train without them; later records stay.

        Raises
        ------
        NotFound
            No such session.
        Conflict
            The session stored no records, or none of them is stored any more.
        """
        session = self.sessions.get(session_id, tenant)
        if session.state not in STORED_STATES or not session.records_added:
            raise Conflict(f"Session {session_id} ({session.state}) stored no records to take out")
        return self._run(self._undoing(session), wait)

    def retry(self, session_id: int, tenant: str, wait: bool = True) -> TrainingOutcome:
        """Train again with the records, or the models, of a session that failed or was interrupted.

        Raises
        ------
        NotFound
            No such session, or its records were not kept.
        Conflict
            The session ended in another way.
        """
        session = self.sessions.get(session_id, tenant)
        if session.state not in ("failed", "interrupted"):
            raise Conflict(f"Session {session_id} is {session.state}: there is nothing to try again")
        return self._run(self._retrying(session), wait)

    def cancel(self, session_id: int, tenant: str) -> Session:
        """Stop a session: its child is killed, nothing changes.

        Returns
        -------
        Session
            ``cancelled``; or not ended yet, where its owner is in a step that takes longer than a client
            waits (a backup, say). It has been told, and stops before it commits.

        Raises
        ------
        NotFound
            No such session.
        Conflict
            It had ended already, or was past the point of no return.
        """
        session = self.sessions.get(session_id, tenant)
        if session.has_ended:
            raise Conflict(f"Session {session_id} has already ended: it is {session.state}")
        mark = cancel_flag(self.storage, session_id)
        with storage_errors(mark):
            mark.touch()
        session = self._ended(session)
        if not session.has_ended:
            return session
        mark.unlink(missing_ok=True)
        if session.state != "cancelled":
            raise Conflict(f"Session {session_id} could not be cancelled any more: it is {session.state}")
        return session

    def promote(self, key: ModelKey, version: int) -> JSON:
        """Make a version the champion by hand; see `ModelService.promote`."""
        done = self.models.promote(key, version)
        return {
            "model": str(done.key),
            "version": done.version,
            "previous_version": done.previous_version,
            "backup_location": done.backup,
        }

    def refresh_workers(self) -> None:
        """Wait, for a moment at most, until every live worker answers from the present champions."""
        refused = {pid: error for pid, error in self._reloading.moved(_SERVED_S).items() if error}
        if refused:
            log.warning("champion_not_served_everywhere", workers=refused)

    def reload(self, timeout_s: float = 10.0) -> dict[int, str | None]:
        """Make every live worker load its champions again; by process id, None or what went wrong."""
        return self._reloading.everywhere(timeout_s)

    def status(self, tenant: str) -> JSON:
        """The body of GET /train/status."""
        return status_of(self.storage, self.sessions, tenant)

    def recover(self) -> None:
        """At start: finish what a crash left in the journal, mend what sessions say, sweep the floor."""
        try:
            self.storage.recover()
        except MillwrightError as error:  # a full disk must not keep the champions from answering
            log.error("recovery_postponed", reason=error.message)
        self.sessions.sweep()
        self.storage.workers.delete_dead()
        remove_abandoned(self.storage.settings.run_dir)
        for file in (self.storage.settings.data_dir / "pending").glob("session-*.json"):
            self._forget_stored(file)

    def train_first_models(self) -> list[TrainingOutcome]:
        """Train every family that has data and no champion. Safe to call in every worker: one does it."""
        keys = [ModelKey(family) for family in registry.FAMILIES]
        done = [self._first(key) for key in keys]
        return [outcome for outcome in done if outcome is not None]

    def close(self) -> None:
        """Stop: running sessions get their grace, then they are interrupted and their children killed."""
        self._threads.close(self.storage.settings.shutdown_grace_seconds)
        self.executor.close()
        with suppress(MillwrightError):
            self.predictions.flush()

    def _order(self, key: ModelKey, raw_records: Any, options: JSON | None) -> TrainingRequest:
        intake = self._shop.intake(key)
        intake.check_key(key)
        asked = intake.parse_options(options or {})
        intake.check_options(key, asked)
        return TrainingRequest(key, "train", asked, intake.parse_records(raw_records))

    def _undoing(self, session: Session, retry_of: int | None = None) -> TrainingRequest:
        last = (
            self.storage.sessions.last(session.tenant, session.family, session.name, STORED_STATES) or session
        )
        return TrainingRequest(
            model_key(session), "undo", last.options, undo_of=session.id, retry_of=retry_of
        )

    def _retrying(self, session: Session) -> TrainingRequest | BatchRequest:
        models = session.details.get("models")
        if models:
            jobs = _at_once(len(models), None)
            return BatchRequest(
                session.family, session.tenant, models, session.options, jobs, retry_of=session.id
            )
        undone = session.details.get("undo_of")
        if undone is not None:
            return self._undoing(self.sessions.get(undone, session.tenant), retry_of=session.id)
        file = pending_file(self.storage, session.id)
        if session.details.get("records") and not file.exists():
            raise NotFound(f"The records of session {session.id} were not kept; send them again")
        records = json.loads(file.read_text()) if file.exists() else []
        return TrainingRequest(
            model_key(session), "retry", session.options, RecordBatch(records), retry_of=session.id
        )

    def _run(self, order: TrainingRequest | BatchRequest, wait: bool) -> TrainingOutcome:
        running = self._threads.start(order)
        if not wait:
            return running.admitted.result()
        outcome = running.ended.result()
        self.refresh_workers()
        return outcome

    def _ended(self, session: Session) -> Session:
        deadline = time.monotonic() + _CANCEL_S
        while not session.has_ended and time.monotonic() < deadline:
            time.sleep(0.02)
            session = self.sessions.get(session.id)
        return session

    def _first(self, key: ModelKey) -> TrainingOutcome | None:
        """One model's first training, unless it has a champion, too little data, or another worker tried."""
        intake = self._shop.intake(key)
        while self.storage.versions.pointer(key.path) is None:
            try:
                if not intake.has_enough(key):
                    return None
                return self._run(TrainingRequest(key, "first", intake.parse_options({})), wait=True)
            except TrainingBusy:
                with self._lock(key):
                    pass
                last = self.storage.sessions.last(key.tenant, key.family, key.name)
                if last is not None and last.state != "interrupted":
                    return None
            except MillwrightError as error:
                log.error("first_training_failed", model=str(key), reason=error.message)
                return None
        return None

    def _forget_stored(self, file: Path) -> None:
        """Remove the pending records of a session that has stored them."""
        try:
            session = self.storage.sessions.get(int(file.stem.removeprefix("session-")))
        except (NotFound, ValueError):
            return
        if session.state in (*STORED_STATES, "cancelled"):
            remove_tree(file)

    def _lock(self, key: ModelKey) -> ProcessLock:
        return self.storage.training_lock(key.path)


def _at_once(models: int, jobs: int | None) -> int:
    """Child processes of a fleet at a time: one a core, unless somebody says how many."""
    return max(1, min(models, jobs or len(os.sched_getaffinity(0))))
