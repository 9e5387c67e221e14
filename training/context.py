"""What a session works with: the order, the champion it has to beat, the places where it leaves things."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from errors import ArtefactCorrupt, Interrupted, MillwrightError, NotFound, TrainingCancelled
from prediction import registry
from prediction.contract import JSON, Intake, ModelKey, NewRecords, RecordBatch
from storage.container import Storage
from storage.db.sessions import Session
from storage.filesystem.files import remove_tree, temporary_path
from storage.journal_steps import DataChanges
from storage.models.versions import ModelVersion
from training.execution.child_process import ChildProcessExecutor
from training.services.sessions import SessionService, failure_fields
from training.tracking.outbox import NoTracking


@dataclass(frozen=True)
class TrainingRequest:
    """What somebody asked for, validated.

    Parameters
    ----------
    kind : str
        ``train``, ``first``, ``retry``, ``undo`` or ``schedule``.
    undo_of, retry_of : int, optional
        The session whose records are taken out, or trained with again.
    models : sequence of str
        The models of a fleet.
    why : sequence of str
        Why the schedule ordered it.
    """

    key: ModelKey
    kind: str
    options: JSON
    batch: RecordBatch = field(default_factory=lambda: RecordBatch(()))
    undo_of: int | None = None
    retry_of: int | None = None
    models: Sequence[str] = ()
    why: Sequence[str] = ()


@dataclass(frozen=True)
class TrainingOutcome:
    """What became of an order; ``session`` is None where there was nothing new in it."""

    session: Session | None
    skipped: int = 0
    corrections: int = 0
    warnings: list[str] = field(default_factory=list)
    ignored_fields: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingDeps:
    """Where sessions happen.

    Parameters
    ----------
    tracking : NoTracking
        Told of every session's end.
    stopping : threading.Event
        Set when the server stops and its grace is over: sessions that still run are interrupted.
    """

    storage: Storage
    executor: ChildProcessExecutor
    sessions: SessionService
    tracking: NoTracking = field(default_factory=NoTracking)
    stopping: threading.Event = field(default_factory=threading.Event)

    def intake(self, key: ModelKey) -> Intake:
        """The intake of a model's family."""
        return registry.create_intake(key.family, self.storage.settings.data_dir, self.storage.database)


@dataclass(frozen=True)
class SessionContext:
    """One session in progress.

    Parameters
    ----------
    number : int
        Of the version that is being made.
    champion : Version or None
        The version to beat; None where there is none, or where it is damaged.
    first : bool
        There is no champion, not even a damaged one.
    removal : DataChanges or None
        The moves that take records out, staged in ``staged``.
    staging, pending, probe : Path
        The version in the making, the new records, and the answers the saved model has to give.
    began : float
        Monotonic seconds.
    """

    order: TrainingRequest
    shop: TrainingDeps
    intake: Intake
    selection: NewRecords
    warnings: list[str]
    session: Session
    number: int
    champion: ModelVersion | None
    first: bool
    removal: DataChanges | None
    staged: Path | None
    staging: Path
    pending: Path | None
    probe: Path
    began: float

    @property
    def storage(self) -> Storage:
        """Everything that is kept."""
        return self.shop.storage

    def check(self) -> None:
        """Raise where the session must not go on."""
        if self.shop.stopping.is_set():
            raise Interrupted("The server was stopped before the session had ended. Nothing has changed.")
        if cancel_flag(self.storage, self.session.id).exists():
            raise TrainingCancelled("The session was cancelled. Nothing has changed.")

    def outcome(self) -> TrainingOutcome:
        """The session as its row tells it now."""
        session = self.storage.sessions.get(self.session.id)
        ignored = list(self.order.batch.ignored_fields)
        return TrainingOutcome(
            session, self.selection.skipped, self.selection.corrections, self.warnings, ignored
        )


def begin_work(
    order: TrainingRequest, shop: TrainingDeps, selection: NewRecords, notes: list[str], began: float
) -> SessionContext:
    """Give a session its number and its places. The model's training lock is held.

    Raises
    ------
    Conflict
        An undo of a session of which no records are stored.
    DiskFull, StorageFailed
        There is no place for it; a session that has its number already has failed.
    """
    storage = shop.storage
    champion, damage = _champion(storage, order.key.path)
    warnings = [*order.batch.warnings, *notes, *damage]
    staged, removal = _removal(order, shop)
    with _removed_where_it_fails(staged):
        session = _row(order, storage, selection, warnings)
        work = _placed(order, shop, session, champion, began)
    pending = pending_file(storage, session.id) if selection.new else None
    return replace(
        work, selection=selection, warnings=warnings, removal=removal, staged=staged, pending=pending
    )


@contextmanager
def _removed_where_it_fails(staged: Path | None) -> Iterator[None]:
    try:
        yield
    except MillwrightError:
        if staged is not None:
            remove_tree(staged)
        raise


def _placed(
    order: TrainingRequest, shop: TrainingDeps, session: Session, champion: ModelVersion | None, began: float
) -> SessionContext:
    """The work with its places; where there is no room for them, the session has failed and says so."""
    try:
        return _work(order, shop, session, champion, began)
    except MillwrightError as error:
        shop.storage.sessions.finish(session.id, "failed", **failure_fields(error))
        raise


def item_work(order: TrainingRequest, shop: TrainingDeps, session: Session, began: float) -> SessionContext:
    """The work on one model of a fleet, in the session they share. The model's training lock is held."""
    champion, damage = _champion(shop.storage, order.key.path)
    return replace(_work(order, shop, session, champion, began), warnings=damage)


def _work(
    order: TrainingRequest, shop: TrainingDeps, session: Session, champion: ModelVersion | None, began: float
) -> SessionContext:
    """A model's work without new records."""
    storage, path = shop.storage, order.key.path
    return SessionContext(
        order=order,
        shop=shop,
        intake=shop.intake(order.key),
        selection=NewRecords(()),
        warnings=[],
        session=session,
        number=storage.versions.next_number(path),
        champion=champion,
        first=storage.versions.pointer(path) is None,
        removal=None,
        staged=None,
        staging=storage.versions.staging(path, session.id),
        pending=None,
        probe=temporary_path(storage.settings.run_dir, label=f"probe-{session.id}-{order.key.name}"),
        began=began,
    )


def pending_file(storage: Storage, session_id: int) -> Path:
    """Where the new records of a session wait for its commit."""
    return storage.settings.data_dir / "pending" / f"session-{session_id}.json"


def cancel_flag(storage: Storage, session_id: int) -> Path:
    """The file whose existence asks the owner of a session, in whatever process, to stop."""
    return storage.settings.run_dir / f"cancel-{session_id}"


def _row(order: TrainingRequest, storage: Storage, selection: NewRecords, warnings: list[str]) -> Session:
    asked = {
        "undo_of": order.undo_of,
        "retry_of": order.retry_of,
        "records": len(selection.new) or None,
        "models": list(order.models) or None,
        "why": list(order.why) or None,
    }
    return storage.sessions.create(
        tenant=order.key.tenant,
        family=order.key.family,
        name=order.key.name,
        kind=order.kind,
        options=dict(order.options),
        records_skipped=selection.skipped,
        warnings=warnings,
        details={name: told for name, told in asked.items() if told is not None},
    )


def _removal(order: TrainingRequest, shop: TrainingDeps) -> tuple[Path | None, DataChanges | None]:
    """For an undo: the data files without the records of that session, staged beside the live ones."""
    if order.undo_of is None:
        return None, None
    staged = shop.storage.journal.staging(f"undo-{order.undo_of}")
    with _removed_where_it_fails(staged):
        return staged, shop.intake(order.key).plan_removal(order.key, order.undo_of, staged)


def _champion(storage: Storage, path: str) -> tuple[ModelVersion | None, list[str]]:
    try:
        champion = storage.versions.champion(path)
        if champion is not None:
            storage.versions.verify(champion)
    except (ArtefactCorrupt, NotFound) as error:
        return None, [f"The serving model could not be compared with: {error.message}"]
    return champion, []
