"""The table ``alarm_routes``: where alarms of a tenant go, and how each route is doing."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.alarms.tables import SEVERITY_NAMES, alarm_routes
from storage.db.crud import Row, TenantTable
from storage.db.database import Database
from storage.db.tables import StoredRow, utc_now


@dataclass(frozen=True)
class AlarmRoute:
    """A place that alarms are sent to. What identifies its owner there is no part of ``repr``.

    Two are equal where a person has given them the same settings.

    Parameters
    ----------
    url, username, secret, topic
        As the kind of the route needs them; a URL may itself be a secret.
    events, families, subjects : sequence of str
        Which alarms take this route; empty for all. Subjects are patterns such as ``sensors/*`` or ``TI-*``, and
        are compared with the subject and with the tag.
    group_seconds : int
        For how long an alarm waits for others, so that they share a message.
    quiet_hours : mapping, optional
        ``start``, ``end`` and ``timezone``; see ``notifications.quiet_hours``.
    failures : int
        Messages in a row that failed.
    retry_at : datetime, optional
        Nothing is sent before.
    """

    id: int
    tenant: str
    name: str
    kind: str
    url: str = field(repr=False)
    username: str | None = field(repr=False)
    secret: str | None = field(repr=False)
    topic: str | None
    events: Sequence[str]
    families: Sequence[str]
    subjects: Sequence[str]
    min_severity: str
    group_seconds: int
    quiet_hours: Mapping[str, str] | None
    enabled: bool
    failures: int = field(compare=False)
    retry_at: datetime | None = field(compare=False)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> AlarmRoute:
        """Return a row of the table as a route."""
        return cls(**{column.name: row[column.name] for column in fields(cls)})

    def accepts(self, alarm: StoredRow) -> bool:
        """Return whether an alarm, a row of the table ``alarms``, takes this route."""
        names = [alarm.subject] + ([alarm.tag] if alarm.tag else [])
        return (
            (not self.events or alarm.event in self.events)
            and (not self.families or alarm.family in self.families)
            and SEVERITY_NAMES.index(alarm.severity) >= SEVERITY_NAMES.index(self.min_severity)
            and (
                not self.subjects
                or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.subjects for name in names)
            )
        )


class AlarmRoutes(TenantTable):
    """The routes of tenants."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, alarm_routes, "alarm route")

    def create(self, tenant: str, values: Row) -> int:
        """Insert a route and return its id."""
        return self.insert(tenant, [{**values, "failures": 0, "created_at": utc_now()}])[0]

    def update(self, tenant: str, row_id: int, values: Mapping[str, object]) -> Row:
        """Change a route and return it; it is tried again at once.

        Raises
        ------
        NotFound
            No such route, or another tenant's.
        """
        return super().update(tenant, row_id, {**values, "failures": 0, "retry_at": None})

    def list_enabled(self) -> list[AlarmRoute]:
        """Return the routes of all tenants that alarms may take, in order of their ids."""
        query = sa.select(alarm_routes).where(alarm_routes.c.enabled.is_(True)).order_by(alarm_routes.c.id)
        with self.database.read() as connection:
            return [AlarmRoute.from_row(dict(row._mapping)) for row in connection.execute(query)]

    def find(self, route_id: int) -> AlarmRoute | None:
        """Return the route of any tenant; None where it has been deleted."""
        query = sa.select(alarm_routes).where(alarm_routes.c.id == route_id)
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else AlarmRoute.from_row(dict(row._mapping))

    def record_success(self, route_id: int) -> None:
        """Record that a message has arrived."""
        values = {"failures": 0, "retry_at": None, "last_error": None, "last_success_at": utc_now()}
        self._change(route_id, values)

    def record_failure(self, route_id: int, failures: int, retry_at: datetime | None, error: str) -> None:
        """Record that a message has failed, and when the route is tried again."""
        self._change(route_id, {"failures": failures, "retry_at": retry_at, "last_error": error})

    def _change(self, route_id: int, values: Row) -> None:
        with self.database.write() as connection:
            connection.execute(sa.update(alarm_routes).where(alarm_routes.c.id == route_id).values(**values))
