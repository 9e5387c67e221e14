"""What is told of sessions: their progress while they run, and the truth about those whose owner has died."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

import structlog

from errors import Interrupted, MillwrightError, StorageFailed
from prediction.contract import JSON, ModelKey
from storage.container import Storage
from storage.db.sessions import Session, SessionEvent
from storage.db.tables import utc_now
from storage.filesystem.files import remove_abandoned
from training.execution.ipc import nan_to_none

log = structlog.get_logger()

STAGES = {"prepare": 5, "fit": 15, "evaluate": 60, "refit": 70, "save": 85, "verify": 92}
"""Percentage of a session that is done when a stage begins."""

_NEXT = dict(zip(STAGES, [*list(STAGES.values())[1:], 99], strict=True))
_PAUSE_S = 0.2


class ProgressWriter:
    """A progress that writes into the database: stages always, steps within one at most 5 times a second.

    It writes in a thread of its own, so that a session neither waits for its news nor fails with them. Leave
    the block before the session's end is written: the end is the last event.

    Parameters
    ----------
    storage : Storage
        Where sessions and their events are kept.
    session_id : int
        The session that runs.
    """

    def __init__(self, storage: Storage, session_id: int) -> None:
        self._sessions = storage.sessions
        self._session_id = session_id
        self._stage = "prepare"
        self._last = 0.0
        self._news: queue.SimpleQueue[tuple[str, JSON] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name=f"events-{session_id}", daemon=True)

    def __enter__(self) -> ProgressWriter:
        self._writer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._news.put(None)
        self._writer.join()

    def __call__(self, stage: str, **facts: Any) -> None:
        if stage in STAGES:
            self._stage = stage
            facts = {"progress_pct": STAGES[stage], **facts}
        elif time.monotonic() - self._last < _PAUSE_S:
            return
        else:
            facts = {"progress_pct": self._within(facts), **facts}
        self._last = time.monotonic()
        self._news.put((stage, {**facts, "stage": self._stage}))

    def _write(self) -> None:
        while (news := self._news.get()) is not None:
            event, facts = news
            columns = {"state": "running", "stage": facts.pop("stage"), "progress_pct": facts["progress_pct"]}
            if event == "prepare":
                columns["started_at"] = utc_now()
            try:
                self._sessions.add_event(self._session_id, event, nan_to_none(facts), **columns)
            except MillwrightError as error:
                log.warning("event_lost", session_id=self._session_id, event_name=event, reason=error.message)

    def _within(self, facts: dict[str, Any]) -> int:
        """How far a stage that counts its steps has come, as a percentage of the session."""
        begin, end = STAGES[self._stage], _NEXT[self._stage]
        share: float = facts.get("done", 0) / max(1, facts.get("of", 1))
        return round(begin + min(1.0, share) * (end - begin))


class SessionService:
    """Sessions as they are: read here, none runs whose owner has died."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def get(self, session_id: int, tenant: str | None = None) -> Session:
        """One session; NotFound where there is none of that number for this tenant."""
        session = self._storage.sessions.get(session_id, tenant)
        if not session.has_ended and self.sweep():
            return self._storage.sessions.get(session_id, tenant)
        return session

    def list(
        self,
        tenant: str,
        family: str | None = None,
        name: str | None = None,
        limit: int = 100,
        cursor: int | None = None,
    ) -> Sequence[Session]:
        """Sessions of a tenant, the newest first; ``cursor`` is the number of the last one seen."""
        self.sweep()
        return self._storage.sessions.list(tenant, family=family, name=name, limit=limit, cursor=cursor)

    def events(self, session_id: int, after: int = 0) -> Sequence[SessionEvent]:
        """The events of a session behind a given one."""
        return self._storage.sessions.events(session_id, after)

    def followed(self, session: Session) -> Session:
        """The session as it is now.

        Raises
        ------
        StorageFailed
            It has ended, but its end cannot be recorded.
        """
        left = self._is_left(session, mine=None)  # asked first: an end is recorded before the lock is free
        utc_now = self.get(session.id)
        if left and not utc_now.has_ended:
            raise StorageFailed(
                f"Session {session.id} has ended, but the database refuses to record how. Look at "
                f"/train/sessions/{session.id} when it takes records again.",
                training_session_id=session.id,
            )
        return utc_now

    def sweep(self, mine: ModelKey | None = None) -> Sequence[int]:
        """Mark sessions as interrupted whose model nobody trains any more; their numbers.

        Parameters
        ----------
        mine : ModelKey, optional
            A model whose training lock the caller holds: whatever else is said to train it has ended.
        """
        left = [session for session in self._storage.sessions.list_live() if self._is_left(session, mine)]
        if not left:
            return []
        try:
            with self._storage.journal.hold_store_lock():
                return [session.id for session in left if self._interrupt(session)]
        except MillwrightError as error:
            log.warning("sweep_postponed", reason=error.message)
            return []

    def _is_left(self, session: Session, mine: ModelKey | None) -> bool:
        key = model_key(session)
        return key == mine or not self._storage.training_lock(key.path).is_held()

    def _interrupt(self, session: Session) -> bool:
        """Record the end that the owner could not, unless it did, or the journal just has."""
        error = Interrupted("The process that ran this session has died. Nothing has changed.")
        if not self._storage.sessions.finish(session.id, "interrupted", **failure_fields(error)):
            return False
        remove_abandoned(self._storage.settings.models_dir / model_key(session).path)
        log.warning("session_interrupted", session_id=session.id)
        return True


def model_key(session: Session) -> ModelKey:
    """The model a session trains."""
    return ModelKey(session.family, session.name, session.tenant)


def failure_fields(error: MillwrightError) -> dict[str, Any]:
    """What the row of a session says that ended with an error."""
    body = {name: value for name, value in error.body().items() if name != "success"}
    return {"error": {**body, "status": error.status}, "message": error.message}
