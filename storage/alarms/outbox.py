"""The table ``alarms``: the outbox, and the list of what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

import sqlalchemy as sa

from storage.alarms.tables import alarm_deliveries, alarms
from storage.db.crud import Row, TenantTable
from storage.db.database import Database
from storage.db.tables import utc_now


@dataclass(frozen=True)
class Alarm:
    """Something that a person should know.

    Parameters
    ----------
    event : str
        One of ``EVENTS``.
    subject : str
        What it is about, such as ``sensors/12``. Alarms of one subject are delivered in their order.
    message : str
        A sentence for people.
    tag : str, optional
        The plant's own name of the subject.
    incident : str
        What the alarms of one episode have in common; by default the subject.
    data : mapping
        Further facts as JSON.
    """

    tenant: str
    event: str
    severity: str
    family: str
    subject: str
    message: str
    tag: str | None = None
    incident: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


def record_alarms(connection: sa.Connection, raised: Sequence[Alarm]) -> None:
    """Write alarms in the transaction of their event."""
    if not raised:
        return
    now = utc_now()
    rows = [
        {**asdict(alarm), "incident": alarm.incident or alarm.subject, "created_at": now, "routed": False}
        for alarm in raised
    ]
    connection.execute(sa.insert(alarms), rows)


class Alarms(TenantTable):
    """The alarms of tenants."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, alarms, "alarm")

    def acknowledge(self, tenant: str, alarm_id: int, by: str) -> Row:
        """Record who has taken notice of an alarm; the first one stays.

        Raises
        ------
        NotFound
            No such alarm, or another tenant's.
        """
        row = self.get(tenant, alarm_id)
        if row["acknowledged_at"] is not None:
            return row
        return self.update(tenant, alarm_id, {"acknowledged_at": utc_now(), "acknowledged_by": by})

    def delete_old(self, before: datetime) -> int:
        """Delete alarms, with their deliveries, that are older and wait for nothing; return their number.

        The last alarm of an anomaly that is still open stays: without it nobody would be told of its end.
        """
        later = alarms.alias()
        is_last = ~sa.exists().where(
            later.c.tenant == alarms.c.tenant, later.c.incident == alarms.c.incident, later.c.id > alarms.c.id
        )
        is_open = sa.and_(alarms.c.event.in_(("anomaly.opened", "anomaly.escalated")), is_last)
        waits = sa.exists().where(
            alarm_deliveries.c.alarm_id == alarms.c.id, alarm_deliveries.c.state != "delivered"
        )
        is_old = alarms.c.created_at < before
        with self.database.write() as connection:
            statement = sa.delete(alarms).where(is_old, alarms.c.routed.is_(True), ~waits, ~is_open)
            return int(connection.execute(statement).rowcount)
