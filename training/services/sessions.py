"""Sessions as they really are: none is reported as running whose process has died."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from errors import Interrupted, MillwrightError, StorageFailed, TrainingFailed
from prediction.contract import ModelKey
from storage.container import Storage
from storage.db.session_events import SessionEvent
from storage.db.sessions import Session, SessionFields, SessionFilter, SessionSummary
from storage.filesystem.files import storage_errors
from storage.filesystem.presence import remove_abandoned
from training.execution.ipc import crash_error

log = structlog.get_logger()


class SessionService:
    """Reads sessions, and corrects the state of those whose process has died."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, session_id: int, tenant: str | None = None) -> Session:
        """Return a session; raise NotFound if the tenant has none of that number."""
        session = self._storage.sessions.get(session_id, tenant)
        if not session.has_ended and self.mark_interrupted():
            return self._storage.sessions.get(session_id, tenant)
        return session

    def list(
        self,
        tenant: str,
        family: str | None = None,
        name: str | None = None,
        limit: int = 100,
        cursor: int | None = None,
        *,
        details: Sequence[str] | None = None,
    ) -> Sequence[Session]:
        """Return a tenant's sessions, the newest first; ``cursor`` is the number of the last one seen.

        ``details`` are the keys of the details that are read; by default, all of them.
        """
        self.mark_interrupted()
        return self._storage.sessions.list(tenant, family, name, limit, cursor, details=details)

    def list_summaries(
        self,
        tenant: str,
        family: str | None = None,
        limit: int = 100,
        cursor: int | None = None,
        *,
        only: SessionFilter | None = None,
        dataset: str | None = None,
    ) -> Sequence[SessionSummary]:
        """Return what a list shows of a tenant's sessions, the newest first."""
        self.mark_interrupted()
        return self._storage.sessions.list_summaries(
            tenant, family, limit, cursor, only=only, dataset=dataset
        )

    def running(self, tenant: str) -> Sequence[Session]:
        """Return a tenant's sessions that have not ended, and that somebody runs."""
        self.mark_interrupted()
        # What could not be marked, as the store is busy or the database takes no writes, runs no more for that.
        live = self._storage.sessions.list_live(tenant)
        return [session for session in live if not self._is_abandoned(session)]

    def last(self, key: ModelKey, states: Sequence[str] | None = None) -> Session | None:
        """Return the newest ended session of a model, of these states if any are given."""
        where = (key.tenant, key.family, key.name)
        sessions = self._storage.sessions
        return sessions.last(*where) if states is None else sessions.last(*where, states)

    def count_completed(self, key: ModelKey) -> int:
        """Return how many sessions of a model trained to their end, promoted or not."""
        return self._storage.sessions.count_completed(key.tenant, key.family, key.name)

    def count_by_state(self, tenant: str) -> Mapping[tuple[str, str, str], int]:
        """Return how many sessions a tenant has, by family, name and state."""
        return self._storage.sessions.count_by_state(tenant)

    def events(self, session_id: int, after: int = 0) -> Sequence[SessionEvent]:
        """Return the events of a session behind the given one."""
        return self._storage.session_events.list(session_id, after)

    def newest_events(self, session_id: int, limit: int, event: str | None = None) -> Sequence[SessionEvent]:
        """Return the newest events of a session, of one kind where it is given, oldest first."""
        return self._storage.session_events.newest(session_id, limit, event)

    def refresh(self, session: Session) -> Session:
        """Return the session as it is now.

        Raises
        ------
        StorageFailed
            It has ended, but its end cannot be recorded.
        """
        # In this order: a session records its end before it frees its lock.
        is_abandoned = self._is_abandoned(session)
        current = self.get(session.id)
        if is_abandoned and not current.has_ended:
            raise StorageFailed(
                f"Session {session.id} has ended, but the database refuses to record how. Look at "
                f"/train/sessions/{session.id} when it takes records again.",
                training_session_id=session.id,
            )
        return current

    def mark_interrupted(self, owned: ModelKey | None = None) -> Sequence[int]:
        """Mark the sessions as interrupted whose models nobody trains any more; return their numbers.

        Parameters
        ----------
        owned : ModelKey, optional
            A model whose training lock the caller holds: every other session of it has ended.
        """
        running = self._storage.sessions.list_live()
        abandoned = [row for row in running if model_key(row) == owned or self._is_abandoned(row)]
        if not abandoned:
            return []
        try:
            with self._storage.journal.hold_store_lock():
                return [session.id for session in abandoned if self._interrupt(session)]
        except MillwrightError as error:
            log.warning("session_states_not_corrected", reason=error.message)
            return []

    def _is_abandoned(self, session: Session) -> bool:
        return not self._storage.training_lock(model_key(session).path).is_held()

    def _interrupt(self, session: Session) -> bool:
        """Record the end that the owner could not, unless it did, or the journal has just recorded it."""
        error = Interrupted("The process that ran this session has died. Nothing has changed.")
        if not self._storage.sessions.finish(session.id, error.session_state, **failure_fields(error)):
            return False
        settings = self._storage.settings
        remove_abandoned(settings.models_dir / model_key(session).path, settings.run_dir)
        log.warning("session_interrupted", session_id=session.id)
        return True


def model_key(session: SessionSummary) -> ModelKey:
    """Return the model that a session trains."""
    return ModelKey(session.family, session.name, session.tenant)


def failure_fields(error: MillwrightError) -> SessionFields:
    """Return what the row of a session says that ended with an error."""
    body = {name: value for name, value in error.body().items() if name != "success"}
    return {"error": {**body, "status": error.status}, "message": error.message}


def to_millwright_error(error: Exception) -> MillwrightError:
    """Return any failure as one with a message for people."""
    if isinstance(error, MillwrightError):
        return error
    log.exception("session_crashed")
    try:
        with storage_errors("The session's files"):
            raise error
    except MillwrightError as known:
        return known
    except Exception:
        crash = crash_error(error)
        return TrainingFailed(f"{crash.message}. Nothing has changed.")
