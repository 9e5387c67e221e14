"""The front door to everything below: the only way a model or training data changes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final

import structlog

from errors import Conflict, MillwrightError, NotFound, TrainingBusy
from prediction import registry
from prediction.contract import DataSource, ModelKey, Options, RecordBatch, Resources
from prediction.serving import ModelCache
from settings import Settings
from storage.container import Storage, open_storage
from storage.datasets.store import DatasetStore
from storage.db.kept_predictions import KeptPredictions
from storage.db.sessions import STORED_STATES, Session
from storage.filesystem.files import remove_tree, storage_errors
from storage.filesystem.presence import remove_abandoned
from storage.repeated_warning import RepeatedWarning
from training.context import (
    MAX_BATCH_MODELS,
    TrainingDeps,
    TrainingOutcome,
    TrainingRequest,
    cancel_flag,
    pending_file,
)
from training.execution.child_process import ChildProcessExecutor
from training.execution.executor import Executor
from training.monitoring.monitor import ModelMonitor
from training.monitoring.prediction_archive import PredictionArchive
from training.monitoring.prediction_log import PredictionBuffer
from training.runner import SessionRunner
from training.services.alarm_conditions import AlarmConditions
from training.services.alarms import AlarmService
from training.services.background_jobs import BackgroundJobs
from training.services.backups import BackupService
from training.services.data_health import DataHealth
from training.services.downloads import DownloadService
from training.services.influence import InfluenceService
from training.services.kept_predictions import KeptPredictionService
from training.services.models import ModelService
from training.services.rater_agreement import RaterAgreementService
from training.services.report_cache import ReportCache
from training.services.restore_drills import RestoreDrills
from training.services.sessions import SessionService, model_key
from training.services.severe_cases import SevereCaseService
from training.services.status import StatusService
from training.services.stores import open_device_stores, open_sensor_stores
from training.services.system import SystemService
from training.services.worker_reload import WorkerReload
from training.tracking.outbox import open_tracking

__all__ = ["MAX_BATCH_MODELS", "TrainingManager", "TrainingOutcome", "open_manager"]

log = structlog.get_logger()

_MAX_CANCEL_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02


def open_manager(settings: Settings) -> TrainingManager:
    """Open a home folder. No thread and no process starts before something is asked for.

    Raises
    ------
    ConfigurationError, NotReady, DiskFull, StorageFailed
        The home folder or its database cannot be opened.
    """
    storage = open_storage(settings)
    cache = ModelCache(
        storage.versions,
        Resources(settings.cache_dir, settings.sentence_model),
        report_damage=storage.champions.report_damage,
    )
    return TrainingManager(storage, open_executor(settings), cache)


def open_executor(settings: Settings) -> Executor:
    """Return the executor that the settings name."""
    if settings.executor == "in-process":
        # Imported here: with it a web worker imports the code that trains.
        from training.execution.in_process import InProcessExecutor

        return InProcessExecutor(settings)
    return ChildProcessExecutor(settings)


class TrainingManager:
    """Everything that trains, everything that decides which version serves, and services for reading.

    Attributes
    ----------
    models, backups, sessions, datasets : ModelService, BackupService, SessionService, DatasetStore
        What is stored of models and trainings.
    sensors, devices : SensorStores, DeviceStores
        What sensors and devices sent.
    predictions : PredictionBuffer
        Predictions on their way into the database.
    archive, kept_predictions : PredictionArchive, KeptPredictionService
        Predictions that are kept with their inputs, and their reproduction.
    restore_drills : RestoreDrills
        Proofs that backups can be opened.
    alarms : AlarmService
        Alarms, the routes that they take, and what delivers them.
    jobs : BackgroundJobs
        Work for which a request would wait too long.
    monitor : ModelMonitor
        Why models are trained again, or not.
    severe_cases : SevereCaseService
        The cases that no version answers safer unseen.
    downloads, reports, influence : DownloadService, ReportCache, InfluenceService
        Files of versions, reports of sessions, and which batch made a model worse.
    rater_agreement : RaterAgreementService
        How those who scored the stored records agree.
    keys, idempotency, champions, workers, worker_reload, system, data_health
        What the server itself needs to know.
    model_cache : ModelCache
        The champions in the memory of this process.
    """

    def __init__(self, storage: Storage, executor: Executor, model_cache: ModelCache) -> None:
        self.storage = storage
        self.settings = storage.settings
        self.executor = executor
        self.model_cache = model_cache
        self.sessions = SessionService(storage)
        self.champions = storage.champions
        self.worker_reload = WorkerReload(storage, model_cache)
        self.severe_cases = SevereCaseService(storage, model_cache.resources)
        self.backups = BackupService(storage, self.worker_reload, self.severe_cases)
        self.models = ModelService(storage, self.backups, self.worker_reload, self.severe_cases)
        self.downloads = DownloadService(storage, executor)
        self.influence = InfluenceService(storage, executor)
        self.rater_agreement = RaterAgreementService(storage, executor)
        self.reports = ReportCache(storage, executor, self.sessions)
        self.datasets = DatasetStore(
            self.settings.data_dir / "datasets", self.settings.max_dataset_mb * 1_000_000, in_child=True
        )
        self.sensors = open_sensor_stores(storage.database)
        self.devices = open_device_stores(storage.database, self.settings.alarm_device_hours)
        self.keys = storage.keys
        self.idempotency = storage.idempotency
        self.workers = storage.workers
        self.system = SystemService(storage)
        self.data_health = DataHealth(storage)
        self.status = StatusService(self.sessions, self.backups, self.data_health)
        self.predictions = PredictionBuffer(self.devices.predictions)
        self.archive = PredictionArchive(
            KeptPredictions(storage.database),
            self.settings.kept_prediction_days,
            self.settings.kept_predictions,
        )
        self.restore_drills = RestoreDrills(storage, self.backups, executor, self.archive.store)
        self.alarms = AlarmService(
            storage, AlarmConditions(storage.database, self.restore_drills, self.system, self.settings)
        )
        self.jobs = BackgroundJobs()
        self.kept_predictions = KeptPredictionService(self.archive, model_cache, storage.champions)
        self.tracking = open_tracking(storage)
        self._recovery = self._create_recovery_steps()
        self._deps = TrainingDeps(storage, executor, self.sessions, self.backups, self.tracking)
        self._runner = SessionRunner(self._deps)
        self.monitor = ModelMonitor(
            self._deps, self._runner, self.predictions, model_cache.resources, self.worker_reload
        )

    def train(
        self, key: ModelKey, raw_records: object, options: Options | None = None, *, wait: bool = True
    ) -> TrainingOutcome:
        """Train a model with new records. The session goes on if the caller goes away.

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
        return self._run(self._parse(key, raw_records, options), wait)

    def train_batch(
        self,
        family: str,
        tenant: str,
        names: Sequence[str],
        options: Options | None = None,
        *,
        wait: bool = True,
        jobs: int | None = None,
    ) -> TrainingOutcome:
        """Train many models from what is stored, in one session. The failure of one model stops no other.

        Parameters
        ----------
        jobs : int, optional
            How many models are trained at the same time; by default, one per processor core.

        Raises
        ------
        InvalidContent, NotFound
            The request cannot be used; nothing has changed.
        TrainingBusy
            Another batch of this family is being trained.
        """
        parsed = registry.create_parser(family).parse_options({} if options is None else options)
        count = _job_count(len(names), jobs)
        return self._run(TrainingRequest.for_batch(family, tenant, names, parsed, jobs=count), wait)

    def preview(
        self, key: ModelKey, raw_records: object, options: Options | None = None
    ) -> dict[str, object]:
        """Return what `train` would do with this request, without doing any of it."""
        request = self._parse(key, raw_records, options)
        selection = self._deps.records(key.family).select_new(key, request.batch)
        would_train = bool(selection.new) or not request.batch.records
        return {
            "model": str(key),
            "would_train": would_train,
            "records_new": len(selection.new),
            "records_skipped": selection.skipped,
            "corrections": selection.corrections,
            "next_version": self.storage.versions.next_number(key.path) if would_train else None,
            "is_training": self.storage.training_lock(key.path).is_held(),
            "options": dict(request.options),
            "warnings": [*request.batch.warnings, *selection.notes],
            "ignored_fields": list(request.batch.ignored_fields),
        }

    def undo(self, session_id: int, tenant: str, wait: bool = True) -> TrainingOutcome:
        """Take one session's records out again and train without them; later records stay.

        Raises
        ------
        NotFound
            There is no such session.
        Conflict
            The session stored no records, or none of them is stored any more.
        """
        session = self.sessions.get(session_id, tenant)
        if not session.can_be_undone:
            raise Conflict(f"Session {session_id} ({session.state}) stored no records to take out")
        return self._run(self._correction("undo", session), wait)

    def accept(
        self, session_id: int, tenant: str, accepted_by: str | None = None, wait: bool = True
    ) -> TrainingOutcome:
        """Release a session's records from quarantine and promote a model that has learnt them.

        Raises
        ------
        NotFound
            There is no such session.
        Conflict
            None of its records is in quarantine.
        """
        session = self.sessions.get(session_id, tenant)
        return self._run(self._correction("accept", session, accepted_by=accepted_by), wait)

    def retry(self, session_id: int, tenant: str, wait: bool = True) -> TrainingOutcome:
        """Train again with the records, or the models, of a session that failed or was interrupted.

        Raises
        ------
        NotFound
            There is no such session, or its records were not kept.
        Conflict
            The session ended in another way.
        """
        session = self.sessions.get(session_id, tenant)
        if not session.can_be_retried:
            raise Conflict(f"Session {session_id} is {session.state}: there is nothing to try again")
        return self._run(self._retry_request(session), wait)

    def cancel(self, session_id: int, tenant: str) -> Session:
        """Stop a session: its workers are killed, nothing changes.

        Returns
        -------
        Session
            ``cancelled``; or not ended yet, where its owner is in a step that takes longer than a client waits
            (a backup, say). It stops before it commits.

        Raises
        ------
        NotFound
            There is no such session.
        Conflict
            It had ended already, or was past the point of no return.
        """
        session = self.sessions.get(session_id, tenant)
        if session.has_ended:
            raise Conflict(f"Session {session_id} has already ended: it is {session.state}")
        flag = cancel_flag(self.storage, session_id)
        with storage_errors(flag):
            flag.touch()
        deadline = time.monotonic() + _MAX_CANCEL_SECONDS
        while not session.has_ended:
            if time.monotonic() > deadline:
                return session
            time.sleep(_POLL_SECONDS)
            session = self.sessions.get(session.id)
        # The session removed its flag before it ended; this one came later.
        flag.unlink(missing_ok=True)
        if session.state != "cancelled":
            raise Conflict(f"Session {session_id} could not be cancelled any more: it is {session.state}")
        return session

    def data_source(self, family: str) -> DataSource:
        """Return the source of a family's training data and of what its prediction inputs only name."""
        return self._deps.source(family)

    def recover(self) -> bool:
        """Recover from a crash: replay the journal, correct the states of sessions, delete temporary files.

        Returns
        -------
        bool
            Whether everything was done. What a full disk prevents must not keep the champions from serving: it can
            be tried again later.
        """
        is_done = True
        for step, postponed in self._recovery:
            try:
                step()
                postponed.end()
            except MillwrightError as error:
                is_done = False
                postponed.note(error)
        return is_done

    def train_first_models(self) -> list[TrainingOutcome]:
        """Train every family that has data and no champion. Every worker may call this: one of them trains."""
        outcomes = [self._train_first(ModelKey(family)) for family in registry.FAMILIES]
        return [outcome for outcome in outcomes if outcome is not None]

    def close(self) -> None:
        """Stop: running sessions get their grace, then they are interrupted and their workers killed."""
        self.restore_drills.close()
        self._runner.close(self.settings.shutdown_grace_seconds)
        self.executor.close()
        with suppress(MillwrightError):
            self.predictions.flush()
            self.archive.flush()

    def close_storage(self) -> None:
        """Close the database, after `close` and the last request."""
        self.storage.close()

    def _parse(self, key: ModelKey, raw_records: object, options: Options | None) -> TrainingRequest:
        parser, source = registry.create_parser(key.family), self._deps.source(key.family)
        source.check_key(key)
        parsed = parser.parse_options({} if options is None else options)
        source.check_options(key, parsed)
        return TrainingRequest(key, "train", parsed, registry.parse_records(key.family, raw_records))

    def _correction(
        self, kind: str, session: Session, accepted_by: str | None = None, retry_of: int | None = None
    ) -> TrainingRequest:
        """Return a request to undo a session or to accept its records."""
        key = model_key(session)
        options: Options = session.options
        if kind == "undo":
            # Those of the last training, not of the one that is taken back: they are in force.
            options = (self.sessions.last(key, STORED_STATES) or session).options
        elif (champion := self.models.champion(key)) is not None:
            options = champion.manifest["options"]
        return TrainingRequest(
            key,
            kind,
            options,
            undo_of=session.id if kind == "undo" else None,
            accept_of=session.id if kind == "accept" else None,
            accepted_by=accepted_by,
            retry_of=retry_of,
        )

    def _retry_request(self, session: Session) -> TrainingRequest:
        if names := session.details.get("models"):
            jobs = _job_count(len(names), None)
            return TrainingRequest.for_batch(
                session.family, session.tenant, names, session.options, jobs=jobs, retry_of=session.id
            )
        for kind in ("undo", "accept"):
            if (corrected := session.details.get(f"{kind}_of")) is not None:
                accepted_by = session.details.get("accepted_by")
                original = self.sessions.get(corrected, session.tenant)
                return self._correction(kind, original, accepted_by, retry_of=session.id)
        file = pending_file(self.storage, session.id)
        if session.details.get("records") and not file.exists():
            raise NotFound(f"The records of session {session.id} were not kept; send them again")
        records = json.loads(file.read_text()) if file.exists() else []
        key, batch = model_key(session), RecordBatch(records)
        return TrainingRequest(key, "retry", session.options, batch, retry_of=session.id)

    def _run(self, request: TrainingRequest, wait: bool) -> TrainingOutcome:
        handle = self._runner.start(request)
        if not wait:
            return replace(handle.admitted.result(), end=handle.ended)
        outcome = handle.ended.result()
        self.worker_reload.refresh()
        return outcome

    def _train_first(self, key: ModelKey) -> TrainingOutcome | None:
        """Train one model unless it has a champion, too little data, or another worker tried."""
        records = self._deps.records(key.family)
        while self.models.champion_number(key) is None:
            try:
                if not records.has_enough(key):
                    return None
                options = registry.create_parser(key.family).parse_options({})
                outcome = self._run(TrainingRequest(key, "first", options), wait=True)
                return outcome if outcome.session else None
            except TrainingBusy:
                with self.storage.training_lock(key.path):
                    pass
                last = self.sessions.last(key)
                if last is not None and last.state != "interrupted":
                    return None
            except MillwrightError as error:
                log.error("first_training_failed", model=str(key), reason=error.message)
                return None
        return None

    def _create_recovery_steps(self) -> Sequence[tuple[Callable[[], object], RepeatedWarning]]:
        """Return what `recover` does, each step with the warning that it fails again."""
        steps: dict[str, Callable[[], object]] = {
            "journal": self.storage.recover,
            "sessions": self.sessions.mark_interrupted,
            "workers": self.storage.workers.delete_dead,
            "temporary files": partial(remove_abandoned, self.settings.run_dir, self.settings.run_dir),
            "pending records": self._remove_pending,
        }
        return [(step, RepeatedWarning("recovery_postponed", step=name)) for name, step in steps.items()]

    def _remove_pending(self) -> None:
        """Remove the pending records of all sessions that have stored theirs."""
        for file in (self.settings.data_dir / "pending").glob("session-*.json"):
            try:
                session = self.storage.sessions.get(int(file.stem.removeprefix("session-")))
            except (NotFound, ValueError):
                continue
            if session.state in (*STORED_STATES, "cancelled"):
                remove_tree(file)


def _job_count(models: int, jobs: int | None) -> int:
    return max(1, min(models, jobs or len(os.sched_getaffinity(0))))
