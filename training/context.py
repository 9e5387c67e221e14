"""What a session works with: the request, the server around it, and the versions it makes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from errors import Interrupted, MillwrightError, TrainingCancelled
from prediction import registry
from prediction.contract import DataSource, ModelKey, NewRecords, Options, RecordBatch, RecordStore
from storage.container import Storage
from storage.db.sessions import Session
from storage.filesystem.files import remove_tree
from storage.journal_steps import DataChanges
from storage.models.manifest import ScoresRecord
from storage.models.versions import ModelVersion
from training.execution.executor import Executor
from training.gate import PromotionVerdict
from training.services.backups import BackupService
from training.services.sessions import SessionService
from training.services.stores import open_records
from training.tracking.outbox import NoTracking

# Kind of a batch session, and the name it is listed under; no model has this name.
BATCH_NAME: Final = "fleet"

# The session's row in the database lists each of them.
MAX_BATCH_MODELS: Final = 20_000


@dataclass(frozen=True)
class TrainingRequest:
    """A validated request to train one model, or a batch of models of one family.

    Parameters
    ----------
    key : ModelKey
        The model, or for a batch what its session is listed as.
    kind : str
        ``train``, ``first``, ``retry``, ``undo``, ``accept``, ``schedule`` or, for a batch, ``fleet``.
    names : sequence of str, optional
        The models of a batch.
    jobs : int
        How many models are trained at the same time.
    undo_of, accept_of, retry_of : int, optional
        The session whose records are taken out, or released from quarantine, or which is tried again.
    accepted_by : str, optional
        Who accepted the records.
    trigger_reasons : sequence of str
        Why the scheduler started it.
    """

    key: ModelKey
    kind: str
    options: Options
    batch: RecordBatch = field(default_factory=lambda: RecordBatch(()))
    names: Sequence[str] | None = None
    jobs: int = 1
    undo_of: int | None = None
    accept_of: int | None = None
    accepted_by: str | None = None
    retry_of: int | None = None
    trigger_reasons: Sequence[str] = ()

    @classmethod
    def for_batch(
        cls,
        family: str,
        tenant: str,
        names: Sequence[str],
        options: Options,
        *,
        jobs: int = 1,
        retry_of: int | None = None,
        trigger_reasons: Sequence[str] = (),
    ) -> TrainingRequest:
        """Return a request for many models, which train on what is stored."""
        return cls(
            ModelKey(family, BATCH_NAME, tenant),
            BATCH_NAME,
            options,
            names=list(names),
            jobs=jobs,
            retry_of=retry_of,
            trigger_reasons=trigger_reasons,
        )

    @property
    def is_batch(self) -> bool:
        """Whether the session lists its models one by one."""
        return self.names is not None

    @property
    def keys(self) -> list[ModelKey]:
        """The models to train, each once, in a fixed order."""
        if self.names is None:
            return [self.key]
        return sorted(ModelKey(self.key.family, name, self.key.tenant) for name in set(self.names))


@dataclass(frozen=True)
class TrainingOutcome:
    """What became of a request; ``session`` is None if its records were all stored before.

    Parameters
    ----------
    end : Future of TrainingOutcome, optional
        The end of a session that this process runs, or the error that kept it from being recorded.
    """

    session: Session | None
    skipped: int = 0
    corrections: int = 0
    warnings: list[str] = field(default_factory=list)
    ignored_fields: list[str] = field(default_factory=list)
    end: Future[TrainingOutcome] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class TrainingDeps:
    """The server around a session.

    Parameters
    ----------
    tracking : NoTracking
        Records the end of every session.
    stopping : threading.Event
        Set when the server stops and the grace of its sessions is over.
    """

    storage: Storage
    executor: Executor
    sessions: SessionService
    backups: BackupService
    tracking: NoTracking = field(default_factory=NoTracking)
    stopping: threading.Event = field(default_factory=threading.Event)

    def records(self, family: str) -> RecordStore:
        """Return the store of a family's records."""
        return open_records(self.storage, family)

    def source(self, family: str) -> DataSource:
        """Return the source of a family's training data."""
        return registry.open_data_source(family, self.storage.settings.data_dir, self.storage.database)


@dataclass
class Candidate:
    """A version in the making; ``error`` says why there will be none.

    Parameters
    ----------
    champion, anchor : ModelVersion, optional
        The version to beat, and the earlier one that the new data is compared with; None if there is none, or
        if it is damaged.
    champion_error : str
        Why the champion cannot be read; empty if it can, or if there is none.
    is_first : bool
        Whether the model has no champion, not even a damaged one.
    staging, probe : Path
        The folder of its files, and the answers that the saved model has to give.
    metrics : ScoresRecord, optional
        Its scores as the session and the manifest report them.
    """

    key: ModelKey
    number: int
    champion: ModelVersion | None
    anchor: ModelVersion | None
    is_first: bool
    staging: Path
    probe: Path
    champion_error: str = ""
    metrics: ScoresRecord | None = None
    champion_headline: float | None = None
    verdict: PromotionVerdict | None = None
    deviation: float | None = None
    error: MillwrightError | None = None


@dataclass
class SessionContext:
    """A session in progress.

    Parameters
    ----------
    selection : NewRecords
        The records of the request that are new.
    busy : sequence of ModelKey
        Models of a batch that another session trains.
    changes : DataChanges, optional
        The changes of an undo or an accept; their files are in ``staged_data``.
    pending : Path, optional
        The new records, until the commit stores them.
    started : float
        Monotonic seconds.
    """

    request: TrainingRequest
    deps: TrainingDeps
    row: Session
    selection: NewRecords
    warnings: list[str]
    busy: Sequence[ModelKey]
    changes: DataChanges | None
    staged_data: Path | None
    pending: Path | None
    started: float
    candidates: list[Candidate] = field(default_factory=list)

    @property
    def storage(self) -> Storage:
        """The home folder."""
        return self.deps.storage

    @property
    def ready(self) -> list[Candidate]:
        """The candidates that nothing has gone wrong with."""
        return [candidate for candidate in self.candidates if candidate.error is None]

    def check(self) -> None:
        """Raise if the session must not go on."""
        if self.deps.stopping.is_set():
            raise Interrupted("The server was stopped before the session had ended. Nothing has changed.")
        if cancel_flag(self.storage, self.row.id).exists():
            raise TrainingCancelled("The session was cancelled. Nothing has changed.")

    def outcome(self) -> TrainingOutcome:
        """Return the session as its row says it is now."""
        row = self.storage.sessions.get(self.row.id)
        ignored = list(self.request.batch.ignored_fields)
        return TrainingOutcome(
            row, self.selection.skipped, self.selection.corrections, self.warnings, ignored
        )

    def relative(self, path: Path) -> str:
        """Return a path as tasks and journal entries name it: below the home folder."""
        return path.relative_to(self.storage.settings.home).as_posix()

    def remove_files(self, *, keep_staged: bool = False) -> None:
        """Remove the session's temporary files. What cannot be removed now is removed at the next start.

        Parameters
        ----------
        keep_staged : bool
            Whether a durable commit has still to move what is staged.
        """
        files = [cancel_flag(self.storage, self.row.id)]
        if self.staged_data is not None and not keep_staged:
            files.append(self.staged_data)
        for candidate in self.candidates:
            files.append(candidate.probe)
            if not keep_staged or candidate.error is not None:
                files.append(candidate.staging)
        for file in files:
            with suppress(MillwrightError):
                remove_tree(file)
        for candidate in self.candidates:
            with suppress(OSError):  # only the empty folder of a model without a version can be removed
                candidate.staging.parent.rmdir()


def pending_file(storage: Storage, session_id: int) -> Path:
    """Return the file in which the new records of a session wait for its commit."""
    return storage.settings.data_dir / "pending" / f"session-{session_id}.json"


def cancel_flag(storage: Storage, session_id: int) -> Path:
    """Return the file whose existence asks the owner of a session, in whatever process, to stop."""
    return storage.settings.run_dir / f"cancel-{session_id}"
