"""Sessions and their events: what a training is doing, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from errors import NotFound
from storage.db.database import Database
from storage.db.tables import session_events, sessions, utc_now

LIVE_STATES: Final = ("queued", "running")
STORED_STATES: Final = ("completed", "rejected")
ENDED_STATES: Final = (*STORED_STATES, "failed", "cancelled", "interrupted")


@dataclass(frozen=True)
class Session:
    """One training run, from request to end.

    ``kind`` says what asked for it (``train``, ``undo``, ``retry``, ``first`` …); ``state`` is one of
    ``LIVE`` or ``ENDED``; ``details`` holds what has no field of its own.
    """

    id: int
    tenant: str
    family: str
    name: str
    kind: str
    state: str
    created_at: datetime
    stage: str | None = None
    progress_pct: float | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    records_added: int = 0
    records_skipped: int = 0
    corrections: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    promoted: bool | None = None
    reasons: list[str] = field(default_factory=list)
    message: str | None = None
    backup: str | None = None
    version: int | None = None
    error: dict[str, Any] | None = None
    training_time_seconds: float | None = None
    warnings: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen in this session."""
        return self.state in ENDED_STATES

    @property
    def items(self) -> list[dict[str, Any]]:
        """What became of each model of a fleet; empty for a session of one model."""
        return list(self.details.get("items") or (self.error or {}).get("items") or [])


@dataclass(frozen=True)
class SessionEvent:
    """Something a session announced; ``id`` rises, so a reader can resume after the last one it saw."""

    id: int
    session_id: int
    created_at: datetime
    event: str
    data: dict[str, Any]


class SessionStore:
    """The tables ``sessions`` and ``session_events``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, *, tenant: str, family: str, name: str, kind: str, state: str = "queued", **columns: Any
    ) -> Session:
        """A new session with the next number.

        Parameters
        ----------
        **columns
            Further fields of :class:`Session`.
        """
        columns.setdefault("records_added", 0)
        columns.setdefault("records_skipped", 0)
        columns.setdefault("corrections", 0)
        row = {"tenant": tenant, "family": family, "name": name, "kind": kind, "state": state, **columns}
        row.setdefault("created_at", utc_now())
        with self._database.write() as connection:
            made = connection.execute(sa.insert(sessions).values(row).returning(sessions))
            return _session(made.one())

    def get(self, session_id: int, tenant: str | None = None) -> Session:
        """A session; only the tenant's own where one is named.

        Raises
        ------
        NotFound
            No such session, or another tenant's.
        """
        query = sa.select(sessions).where(sessions.c.id == session_id)
        if tenant is not None:
            query = query.where(sessions.c.tenant == tenant)
        row = _one(self._database, query) if -(2**31) <= session_id < 2**31 else None
        if row is None:
            raise NotFound(f"There is no training session {session_id}")
        return row

    def update(self, session_id: int, **columns: Any) -> None:
        """Change some fields of a session that has not ended."""
        live = sessions.c.state.in_(LIVE_STATES)
        with self._database.write() as connection:
            connection.execute(sa.update(sessions).where(sessions.c.id == session_id, live).values(**columns))

    def finish(self, session_id: int, state: str, **columns: Any) -> bool:
        """Write a session's end together with its last event, ``end``.

        Doing it twice changes nothing, and what the journal recorded stands: a completed or rejected
        session never becomes anything else, while an interrupted or failed one becomes completed when the
        journal was finished after all.

        Returns
        -------
        bool
            Whether this call ended the session.

        Raises
        ------
        NotFound
            No such session.
        """
        if state not in ENDED_STATES:
            raise ValueError(f"a session cannot end as {state!r}")
        with self._database.write() as connection:
            mine = sessions.c.id == session_id
            found = connection.execute(sa.select(sessions.c.state).where(mine).with_for_update()).scalar()
            if found is None:
                raise NotFound(f"There is no training session {session_id}")
            if (
                found in STORED_STATES
                or found == state
                or (found in ENDED_STATES and state not in STORED_STATES)
            ):
                return False
            values = {"ended_at": utc_now(), "stage": None, **columns, "state": state}
            connection.execute(sa.update(sessions).where(mine).values(**values))
            _add_event(connection, session_id, "end", {"state": state, "message": columns.get("message")})
        return True

    def add_event(self, session_id: int, event: str, data: dict[str, Any], **columns: Any) -> int:
        """Tell listeners something, and change fields of the session's row in the same write.

        Returns
        -------
        int
            The event's id.
        """
        with self._database.write() as connection:
            if columns:
                connection.execute(sa.update(sessions).where(sessions.c.id == session_id).values(**columns))
            return _add_event(connection, session_id, event, data)

    def events(self, session_id: int, after: int = 0, limit: int = 1000) -> list[SessionEvent]:
        """The events of a session with an id above ``after``, oldest first."""
        query = (
            sa.select(session_events)
            .where(session_events.c.session_id == session_id, session_events.c.id > after)
            .order_by(session_events.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [SessionEvent(**row._mapping) for row in connection.execute(query)]

    def last(
        self, tenant: str, family: str, name: str, states: Sequence[str] = ENDED_STATES
    ) -> Session | None:
        """The newest ended session of a model, by its number: the clock may have been set back."""
        mine = _of(tenant, family, name)
        query = sa.select(sessions).where(*mine, sessions.c.state.in_(states)).order_by(sessions.c.id.desc())
        return _one(self._database, query.limit(1))

    def count_completed(self, tenant: str, family: str | None = None, name: str | None = None) -> int:
        """How many sessions trained to their end, promoted or not."""
        query = sa.select(sa.func.count()).select_from(sessions)
        with self._database.read() as connection:
            mine = _of(tenant, family, name)
            return int(
                connection.execute(query.where(*mine, sessions.c.state.in_(STORED_STATES))).scalar_one()
            )

    def count_by_state(self, tenant: str) -> dict[tuple[str, str, str], int]:
        """How many sessions a tenant has, by family, name and state."""
        told = (sessions.c.family, sessions.c.name, sessions.c.state)
        query = sa.select(*told, sa.func.count()).where(sessions.c.tenant == tenant).group_by(*told)
        with self._database.read() as connection:
            return {(row[0], row[1], row[2]): int(row[3]) for row in connection.execute(query)}

    def list_live(self, tenant: str | None = None) -> list[Session]:
        """The sessions that have not ended, oldest first."""
        query = sa.select(sessions).where(sessions.c.state.in_(LIVE_STATES)).order_by(sessions.c.id)
        if tenant is not None:
            query = query.where(sessions.c.tenant == tenant)
        return _many(self._database, query)

    def list(
        self,
        tenant: str,
        family: str | None = None,
        name: str | None = None,
        limit: int = 50,
        cursor: int | None = None,
    ) -> list[Session]:
        """Sessions of a tenant, newest first; ``cursor`` is the id of the last one seen."""
        query = sa.select(sessions).where(*_of(tenant, family, name))
        if cursor is not None:
            query = query.where(sessions.c.id < cursor)
        return _many(self._database, query.order_by(sessions.c.id.desc()).limit(limit))


def _of(tenant: str, family: str | None, name: str | None) -> Sequence[sa.ColumnElement[bool]]:
    asked = {"tenant": tenant, "family": family, "name": name}
    return [sessions.c[column] == value for column, value in asked.items() if value is not None]


def _one(database: Database, query: sa.Select[Any]) -> Session | None:
    with database.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _session(row)


def _many(database: Database, query: sa.Select[Any]) -> list[Session]:
    with database.read() as connection:
        return [_session(row) for row in connection.execute(query)]


def _session(row: sa.Row[Any]) -> Session:
    """The row as a session; what is NULL takes the field's default."""
    return Session(**{name: value for name, value in row._mapping.items() if value is not None})


def _add_event(connection: sa.Connection, session_id: int, event: str, data: dict[str, Any]) -> int:
    row = {"session_id": session_id, "created_at": utc_now(), "event": event, "data": data}
    made = connection.execute(sa.insert(session_events).values(row).returning(session_events.c.id))
    return int(made.scalar_one())
