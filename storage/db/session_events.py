"""What training sessions announce, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Unpack

import sqlalchemy as sa

from storage.db.database import Database
from storage.db.sessions import LiveSessionFields, insert_event
from storage.db.tables import session_events, sessions
from storage.filesystem.checksummed_json import Document


@dataclass(frozen=True)
class SessionEvent:
    """Something a session announced. ``id`` rises, so a reader can resume after the last one it saw."""

    id: int
    session_id: int
    created_at: datetime
    event: str
    data: Document


class SessionEventStore:
    """The table ``session_events``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, session_id: int, event: str, data: Mapping[str, object], **fields: Unpack[LiveSessionFields]
    ) -> int:
        """Announce something, and change fields of the session in the same write.

        Returns
        -------
        int
            The event's id.
        """
        with self._database.write() as connection:
            if fields:
                connection.execute(sa.update(sessions).where(sessions.c.id == session_id).values(**fields))
            return insert_event(connection, session_id, event, data)

    def list(self, session_id: int, after: int = 0, limit: int = 1000) -> Sequence[SessionEvent]:
        """Return the events of a session with an id above ``after``, oldest first."""
        query = (
            sa.select(session_events)
            .where(session_events.c.session_id == session_id, session_events.c.id > after)
            .order_by(session_events.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [SessionEvent(**row._mapping) for row in connection.execute(query)]

    def newest(self, session_id: int, limit: int, event: str | None = None) -> Sequence[SessionEvent]:
        """Return the newest events of a session, of one kind where it is given, oldest first."""
        query = sa.select(session_events).where(session_events.c.session_id == session_id)
        if event is not None:
            query = query.where(session_events.c.event == event)
        query = query.order_by(session_events.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [SessionEvent(**row._mapping) for row in connection.execute(query)][::-1]
