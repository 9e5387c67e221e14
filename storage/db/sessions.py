"""Training sessions. Their events are in ``session_events``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final, TypedDict, Unpack

import sqlalchemy as sa

from errors import NotFound
from storage.alarms.outbox import record_alarms
from storage.db.database import Database
from storage.db.session_alarms import describe_end
from storage.db.tables import AnySelect, session_events, sessions, utc_now
from storage.filesystem.checksummed_json import Document
from storage.models.manifest import ScoresRecord

LIVE_STATES: Final = ("queued", "running")
STORED_STATES: Final = ("completed", "rejected")
ENDED_STATES: Final = (*STORED_STATES, "failed", "cancelled", "interrupted")
_MAX_ID: Final = 2**31 - 1


class SessionFields(TypedDict, total=False):
    """Fields of a session that can be set at any time."""

    stage: str | None
    progress_pct: float | None
    started_at: datetime
    ended_at: datetime
    created_at: datetime
    records_added: int
    records_skipped: int
    corrections: int
    options: Document
    metrics: Document
    promoted: bool | None
    reasons: Sequence[str]
    message: str | None
    backup: str
    version: int
    error: Document | None
    training_time_seconds: float
    warnings: Sequence[str]
    details: Document


class LiveSessionFields(SessionFields, total=False):
    """Fields that can be set while a session has not ended."""

    state: str


class CandidateScores(ScoresRecord):
    """What a session reports of a new version: its scores, and how far the saved copy's answers deviate."""

    parity_deviation: float | None


class BatchItem(TypedDict, total=False):
    """One model of a batch; ``label`` is the name by which people know it, where it has one."""

    name: str
    label: str
    state: str
    version: int
    reasons: Sequence[str]
    metrics: CandidateScores
    error: str
    code: str


class SessionRecord(TypedDict):
    """A session outside of the database: its fields, times as RFC 3339 text."""

    id: int
    tenant: str
    family: str
    name: str
    kind: str
    state: str
    created_at: str
    started_at: str | None
    ended_at: str | None
    stage: str | None
    progress_pct: float | None
    records_added: int
    records_skipped: int
    corrections: int
    options: Document
    metrics: Document
    promoted: bool | None
    reasons: list[str]
    message: str | None
    backup: str | None
    version: int | None
    error: Document | None
    training_time_seconds: float | None
    warnings: list[str]
    details: Document
    uid: str | None


@dataclass(frozen=True)
class SessionSummary:
    """What a list shows of a session. The other fields of a batch hold megabytes, and decoding them takes long.

    ``kind`` says what started it (``train``, ``undo``, ``retry``, ``first`` …); ``state`` is one of
    ``LIVE_STATES`` or ``ENDED_STATES``.
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
    metrics: Document = field(default_factory=dict)
    promoted: bool | None = None
    version: int | None = None
    training_time_seconds: float | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen in this session."""
        return self.state in ENDED_STATES


@dataclass(frozen=True)
class Session(SessionSummary):
    """One training, from request to end.

    ``details`` holds what has no field of its own; ``uid`` is an id that no session of any other database has
    (None for sessions of version 0.1).
    """

    records_skipped: int = 0
    corrections: int = 0
    options: Document = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    message: str | None = None
    backup: str | None = None
    error: Document | None = None
    warnings: list[str] = field(default_factory=list)
    details: Document = field(default_factory=dict)
    uid: str | None = None

    @property
    def can_be_retried(self) -> bool:
        """Whether it ended without a result that stands."""
        return self.state in ("failed", "interrupted")

    @property
    def can_be_undone(self) -> bool:
        """Whether it stored records."""
        return self.state in STORED_STATES and bool(self.records_added)

    @property
    def items(self) -> list[BatchItem]:
        """The results of a batch, one per model; empty for a session of one model."""
        return list(self.details.get("items") or (self.error or {}).get("items") or [])


@dataclass(frozen=True)
class StoredSession:
    """What the sessions that stored records did to a model. Their other fields may hold megabytes."""

    id: int
    state: str
    records_added: int
    undo_of: int | None


@dataclass(frozen=True)
class SessionFilter:
    """Sessions of these numbers, and those of the models of these names in one family."""

    numbers: Collection[int]
    family: str
    names: Collection[str]


class SessionStore:
    """The table ``sessions``.

    Parameters
    ----------
    on_create : callable
        Gets the number of each new session, before anybody else does.
    """

    def __init__(
        self, database: Database, on_create: Callable[[int], None] = lambda session_id: None
    ) -> None:
        self._database = database
        self._on_create = on_create

    def create(
        self, *, tenant: str, family: str, name: str, kind: str, **fields: Unpack[LiveSessionFields]
    ) -> Session:
        """Create a session with the next number, ``queued`` unless ``state`` says otherwise."""
        row: dict[str, object] = {
            "state": "queued",
            "created_at": utc_now(),
            "records_added": 0,
            "records_skipped": 0,
            "corrections": 0,
            "uid": str(uuid.uuid4()),
            **fields,
        }
        model = {"tenant": tenant, "family": family, "name": name, "kind": kind}
        with self._database.write() as connection:
            insert = sa.insert(sessions).values(**row, **model).returning(sessions)
            session = _from_row(connection.execute(insert).mappings().one())
            self._on_create(session.id)
            return session

    def get(self, session_id: int, tenant: str | None = None) -> Session:
        """Return a session; only the tenant's own where a tenant is given.

        Raises
        ------
        NotFound
            There is no such session, or it is another tenant's.
        """
        query = sa.select(sessions).where(sessions.c.id == session_id)
        if tenant is not None:
            query = query.where(sessions.c.tenant == tenant)
        rows = _select(self._database, query) if abs(session_id) <= _MAX_ID else []
        if not rows:
            raise NotFound(f"There is no training session {session_id}")
        return rows[0]

    def update(self, session_id: int, **fields: Unpack[LiveSessionFields]) -> None:
        """Change some fields of a session that has not ended."""
        is_live = sessions.c.state.in_(LIVE_STATES)
        with self._database.write() as connection:
            update = sa.update(sessions).where(sessions.c.id == session_id, is_live)
            connection.execute(update.values(**fields))

    def finish(self, session_id: int, state: str, **fields: Unpack[SessionFields]) -> bool:
        """Write a session's end together with its last event, ``end``, and the alarm where it did not end well.

        Doing it twice changes nothing. What the journal recorded is final: a completed or rejected session
        never changes, while an interrupted or failed one becomes completed when its commit was finished
        after all.

        Returns
        -------
        bool
            Whether this call ended the session.

        Raises
        ------
        NotFound
            There is no such session.
        """
        if state not in ENDED_STATES:
            raise ValueError(f"a session cannot end as {state!r}")
        is_session = sessions.c.id == session_id
        with self._database.write() as connection:
            query = sa.select(sessions.c.state).where(is_session).with_for_update()
            present = connection.execute(query).scalar()
            if present is None:
                raise NotFound(f"There is no training session {session_id}")
            if (
                present in STORED_STATES
                or present == state
                or (present in ENDED_STATES and state not in STORED_STATES)
            ):
                return False
            values: dict[str, object] = {"ended_at": utc_now(), "stage": None, **fields, "state": state}
            update = sa.update(sessions).where(is_session).values(values).returning(sessions)
            ended = _from_row(connection.execute(update).mappings().one())
            record_alarms(connection, describe_end(ended))
            insert_event(connection, session_id, "end", {"state": state, "message": fields.get("message")})
        return True

    def last(
        self, tenant: str, family: str, name: str, states: Sequence[str] = ENDED_STATES
    ) -> Session | None:
        """Return the newest ended session of a model, by number: the clock may have been set back."""
        query = sa.select(sessions).where(*_of_model(tenant, family, name), sessions.c.state.in_(states))
        return next(iter(_select(self._database, query.order_by(sessions.c.id.desc()).limit(1))), None)

    def count_completed(self, tenant: str, family: str | None = None, name: str | None = None) -> int:
        """Count the sessions that trained to their end, promoted or not."""
        query = sa.select(sa.func.count()).select_from(sessions)
        where = [*_of_model(tenant, family, name), sessions.c.state.in_(STORED_STATES)]
        with self._database.read() as connection:
            return int(connection.execute(query.where(*where)).scalar_one())

    def count_by_state(self, tenant: str) -> dict[tuple[str, str, str], int]:
        """Count a tenant's sessions by family, name and state."""
        group = (sessions.c.family, sessions.c.name, sessions.c.state)
        query = sa.select(*group, sa.func.count()).where(sessions.c.tenant == tenant).group_by(*group)
        with self._database.read() as connection:
            return {(row[0], row[1], row[2]): int(row[3]) for row in connection.execute(query)}

    def list_live(self, tenant: str | None = None) -> list[Session]:
        """Return the sessions that have not ended, oldest first."""
        query = sa.select(sessions).where(sessions.c.state.in_(LIVE_STATES)).order_by(sessions.c.id)
        return _select(self._database, query if tenant is None else query.where(sessions.c.tenant == tenant))

    def list(
        self,
        tenant: str,
        family: str | None = None,
        name: str | None = None,
        limit: int = 50,
        cursor: int | None = None,
        *,
        details: Sequence[str] | None = None,
    ) -> list[Session]:
        """Return sessions of a tenant, newest first; ``cursor`` is the id of the last one seen.

        ``details`` are the keys of the details that are read; by default, all of them.
        """
        where = _of_model(tenant, family, name)
        if details is None:
            return _select(self._database, _page(sa.select(sessions).where(*where), limit, cursor))
        columns = [column for column in sessions.c if column is not sessions.c.details]
        keys = [sessions.c.details[key].label(f"detail_{key}") for key in details]
        with self._database.read() as connection:
            rows = connection.execute(_page(sa.select(*columns, *keys).where(*where), limit, cursor)).all()
        return [
            Session(
                **{column.name: value for column in columns if (value := row._mapping[column]) is not None},
                details={
                    key: value for key in details if (value := row._mapping[f"detail_{key}"]) is not None
                },
            )
            for row in rows
        ]

    def list_stored(self, tenant: str, family: str, name: str, limit: int) -> Sequence[StoredSession]:
        """Return the sessions of a model that stored records, newest first."""
        undo_of = sessions.c.details["undo_of"].as_integer().label("undo_of")
        columns = (sessions.c.id, sessions.c.state, sessions.c.records_added, undo_of)
        where = [*_of_model(tenant, family, name), sessions.c.state.in_(STORED_STATES)]
        with self._database.read() as connection:
            rows = connection.execute(_page(sa.select(*columns).where(*where), limit, None))
            return [StoredSession(**row._mapping) for row in rows]

    def list_summaries(
        self,
        tenant: str,
        family: str | None = None,
        limit: int = 50,
        cursor: int | None = None,
        *,
        only: SessionFilter | None = None,
        dataset: str | None = None,
    ) -> Sequence[SessionSummary]:
        """Return what a list shows of the sessions of a tenant, newest first.

        ``dataset`` is the id of the stored data set that they were started with.
        """
        columns = (sessions.c[column.name] for column in fields(SessionSummary))
        query = sa.select(*columns).where(*_of_model(tenant, family, None))
        if only is not None:
            is_of_models = sa.and_(sessions.c.family == only.family, sessions.c.name.in_(only.names))
            query = query.where(sa.or_(sessions.c.id.in_(only.numbers), is_of_models))
        if dataset is not None:
            query = query.where(sessions.c.options["dataset"].as_string() == dataset)
        with self._database.read() as connection:
            rows = connection.execute(_page(query, limit, cursor))
            return [
                SessionSummary(**{name: value for name, value in row._mapping.items() if value is not None})
                for row in rows
            ]


def _page(query: AnySelect, limit: int, cursor: int | None) -> AnySelect:
    """Return a query for the newest of these sessions, before the one of the cursor."""
    if cursor is not None:
        query = query.where(sessions.c.id < cursor)
    return query.order_by(sessions.c.id.desc()).limit(limit)


def _select(database: Database, query: AnySelect) -> list[Session]:
    with database.read() as connection:
        return [_from_row(row) for row in connection.execute(query).mappings()]


def _of_model(tenant: str, family: str | None, name: str | None) -> list[sa.ColumnElement[bool]]:
    model = {"tenant": tenant, "family": family, "name": name}
    return [sessions.c[column] == value for column, value in model.items() if value is not None]


def _from_row(row: sa.RowMapping) -> Session:
    """Return the row as a session; NULL becomes the field's default."""
    return Session(**{name: value for name, value in row.items() if value is not None})


def insert_event(connection: sa.Connection, session_id: int, event: str, data: Mapping[str, object]) -> int:
    """Insert an event of a session within a transaction and return its id."""
    row = {"session_id": session_id, "created_at": utc_now(), "event": event, "data": dict(data)}
    insert = sa.insert(session_events).values(row).returning(session_events.c.id)
    return int(connection.execute(insert).scalar_one())
