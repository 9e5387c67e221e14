"""Episodes that people decide about, of sensors and of equipment: one rule for decisions and their alarms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import ClassVar, Final

import sqlalchemy as sa

from storage.alarms import Alarm, record_alarms
from storage.alarms.tables import SEVERITY_NAMES, alarms
from storage.db.crud import Row, TenantTable
from storage.db.tables import AnySelect, StoredRow, utc_now

VERDICTS: Final = ("confirmed", "false_alarm", "new_normal")
# After these, the readings of an episode are ordinary ones.
RELEASING_VERDICTS: Final = ("false_alarm", "new_normal")
# An import of last year's readings finds anomalies that nobody can do anything about now.
MAX_ALARM_AGE: Final = timedelta(hours=24)
_IDS_PER_QUERY: Final = 500


class EpisodeTable(TenantTable):
    """A table with the columns ``severity``, ``timestamp``, ``last_seen``, ``resolved``, ``resolved_at``, ``verdict``.

    Attributes
    ----------
    incidents : str
        What the incidents of its alarms are called; the id of a row follows.
    """

    incidents: ClassVar[str]

    @abstractmethod
    def query_episodes(self) -> AnySelect:
        """Return a query for all rows, with what a description of an alarm needs."""

    @abstractmethod
    def describe(self, row: StoredRow, event: str, what: str) -> Alarm:
        """Return the alarm of a row of :meth:`query_episodes`; ``what`` follows the name of its subject."""

    def record_worse(self, connection: sa.Connection, tenant: str, ids: Sequence[int]) -> None:
        """Raise an alarm for open episodes that are new, or worse, if they were seen within the last 24 hours."""
        raised = [
            self.describe(row, "anomaly.escalated" if row.alarmed else "anomaly.opened", "")
            for row in self._select(connection, tenant, list(dict.fromkeys(ids)))
            if not row.resolved and row.last_seen >= utc_now() - MAX_ALARM_AGE
        ]
        record_alarms(connection, raised)

    def record_closed(self, connection: sa.Connection, tenant: str, ids: Sequence[int], what: str) -> None:
        """Raise the alarms that end those of episodes; none where one raised none, or is closed already."""
        rows = self._select(connection, tenant, ids)
        closed = [
            self.describe(row, "anomaly.closed", f" {what}")
            for row in rows
            if row.alarmed and not row.resolved
        ]
        record_alarms(connection, closed)

    def on_insert(self, connection: sa.Connection, tenant: str, ids: Sequence[int]) -> None:
        """Raise an alarm for what a person has reported, unless it is resolved already."""
        self.record_worse(connection, tenant, ids)

    def delete(self, tenant: str, row_id: int) -> None:
        """Delete an episode; one that raised an alarm and is open is closed with it."""
        with self.database.write() as connection:
            self._lock(connection, tenant, row_id)
            self.record_closed(connection, tenant, [row_id], "was deleted")
            connection.execute(sa.delete(self.table).where(*self._is_row(tenant, row_id)))

    def update(self, tenant: str, row_id: int, values: Mapping[str, object]) -> Row:
        """Change an episode, and raise an alarm where that closes it, reopens it or makes it more severe.

        ``resolved`` closes or reopens it, and ``verdict`` says what it was. Models learn from its readings after the
        verdicts ``false_alarm`` and ``new_normal``, which also close it. They do not after ``confirmed`` nor after
        None, which withdraws a verdict.

        Raises
        ------
        NotFound
            No such episode, or another tenant's.
        """
        if not values:
            return self.get(tenant, row_id)
        with self.database.write() as connection:
            before = self._lock(connection, tenant, row_id)
            after = _complete_change(before, values)
            if after["resolved"] and not before["resolved"]:
                self.record_closed(connection, tenant, [row_id], "was resolved")
            changes = {name: after[name] for name in (*values, "resolved", "resolved_at", "last_seen")}
            connection.execute(sa.update(self.table).where(*self._is_row(tenant, row_id)).values(changes))
            is_worse = SEVERITY_NAMES.index(after["severity"]) > SEVERITY_NAMES.index(before["severity"])
            if not after["resolved"] and (before["resolved"] or is_worse):
                self.record_worse(connection, tenant, [row_id])
        return self.get(tenant, row_id)

    def _lock(self, connection: sa.Connection, tenant: str, row_id: int) -> Row:
        if self.may_exist(row_id):
            query = self.query(tenant, [self.table.c.id == row_id]).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is not None:
                return dict(row._mapping)
        raise self._not_found(row_id)

    def _select(self, connection: sa.Connection, tenant: str, ids: Sequence[int]) -> list[StoredRow]:
        """Return episodes with ``alarmed``, whether they have raised an alarm."""
        table = self.table.c
        rows: list[StoredRow] = []
        incident = sa.literal(f"{self.incidents}/") + sa.cast(table.id, sa.String)
        alarmed = sa.exists().where(alarms.c.tenant == tenant, alarms.c.incident == incident)
        query = self.query_episodes().add_columns(alarmed.label("alarmed")).where(table.tenant == tenant)
        for start in range(0, len(ids), _IDS_PER_QUERY):
            part = query.where(table.id.in_(ids[start : start + _IDS_PER_QUERY])).order_by(table.id)
            rows += connection.execute(part).all()
        return rows


def _complete_change(before: Row, values: Mapping[str, object]) -> Row:
    """Return an episode as a change leaves it, with what follows from the change."""
    after: Row = {**before, **values}
    if values.get("verdict") in RELEASING_VERDICTS:
        after["resolved"] = True
    if after["resolved"] != before["resolved"]:
        after["resolved_at"] = utc_now() if after["resolved"] else None
    after["last_seen"] = max(after["last_seen"], after["timestamp"])
    return after
