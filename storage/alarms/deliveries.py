"""The table ``alarm_deliveries``: one row for each alarm and route, until it was delivered, and afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from errors import Conflict
from storage.alarms.routes import AlarmRoute
from storage.alarms.tables import alarm_deliveries, alarms
from storage.db.crud import Row, TenantTable
from storage.db.database import Database
from storage.db.tables import utc_now

# Alarms that are given to routes in one transaction: others wait for its end.
_ROUTED_AT_ONCE: Final = 500
_IDS_PER_STATEMENT: Final = 500


@dataclass(frozen=True)
class Delivery:
    """One alarm on its way along one route. ``alarm`` is its row of the table ``alarms``."""

    id: int
    attempts: int
    created_at: datetime
    alarm: Row


# The time before which an alarm stays on a route, given the alarm's severity; now, if nothing holds it.
Hold = Callable[[AlarmRoute, str, datetime], datetime]


class Deliveries(TenantTable):
    """The deliveries of tenants."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, alarm_deliveries, "alarm delivery")

    def route_waiting(self, routes: Sequence[AlarmRoute], hold: Hold) -> int:
        """Give the oldest alarms that no route has seen to the routes that accept them; return their number.

        Alarms without a route are done. All of it is one transaction, so that after a crash each alarm has all
        of its deliveries or none.
        """
        waiting = sa.select(alarms).where(~alarms.c.routed).order_by(alarms.c.id).limit(_ROUTED_AT_ONCE)
        with self.database.read() as connection:
            if connection.execute(waiting.limit(1)).first() is None:
                return 0
        now = utc_now()
        with self.database.write() as connection:
            rows = connection.execute(waiting.with_for_update()).all()
            for route in routes:
                accepted = [row for row in rows if row.tenant == route.tenant and route.accepts(row)]
                if accepted:
                    self._insert(connection, route, accepted, hold, now)
            ids = [row.id for row in rows]
            connection.execute(sa.update(alarms).where(alarms.c.id.in_(ids)).values(routed=True))
        return len(rows)

    def _insert(
        self, connection: sa.Connection, route: AlarmRoute, rows: Sequence[Any], hold: Hold, now: datetime
    ) -> None:
        """Insert the deliveries of one route; what is urgent takes along what is held of its subject."""
        window = _end_of_open_group(connection, route, now)
        values = []
        for row in rows:
            held_until = hold(route, row.severity, now)
            values.append(
                {
                    **{
                        "tenant": row.tenant,
                        "route_id": route.id,
                        "alarm_id": row.id,
                        "subject": row.subject,
                    },
                    **{"state": "pending", "attempts": 0, "created_at": now},
                    "due_at": max(window, held_until),
                }
            )
        connection.execute(sa.insert(alarm_deliveries), values)
        urgent = sorted({value["subject"] for value in values if value["due_at"] <= window})
        table = alarm_deliveries
        for start in range(0, len(urgent), _IDS_PER_STATEMENT):
            is_held = sa.and_(
                table.c.route_id == route.id,
                table.c.state == "pending",
                table.c.attempts == 0,
                table.c.subject.in_(urgent[start : start + _IDS_PER_STATEMENT]),
                table.c.due_at > window,
            )
            connection.execute(sa.update(table).where(is_held).values(due_at=window))

    def due(self, route_id: int, now: datetime, limit: int) -> list[Delivery]:
        """Return what is to be delivered along a route, in order.

        An alarm waits while an earlier one of its subject does, so that each subject's alarms keep their order.
        """
        table, earlier = alarm_deliveries, alarm_deliveries.alias()
        is_blocked = sa.exists().where(
            earlier.c.route_id == route_id,
            earlier.c.state == "pending",
            earlier.c.subject == table.c.subject,
            earlier.c.alarm_id < table.c.alarm_id,
            earlier.c.due_at > now,
        )
        query = (
            sa.select(table.c.id, table.c.attempts, table.c.created_at, alarms)
            .join(alarms, alarms.c.id == table.c.alarm_id)
            .where(
                table.c.route_id == route_id, table.c.state == "pending", table.c.due_at <= now, ~is_blocked
            )
            .order_by(table.c.alarm_id)
            .limit(limit)
        )
        names = [column.name for column in alarms.c]
        with self.database.read() as connection:
            return [
                Delivery(row[0], row[1], row[2], dict(zip(names, row[3:], strict=True)))
                for row in connection.execute(query)
            ]

    def record_delivered(self, ids: Sequence[int]) -> None:
        """Record that these have arrived."""
        values = {"state": "delivered", "delivered_at": utc_now(), "last_error": None}
        self._change(ids, attempts=alarm_deliveries.c.attempts + 1, **values)

    def record_failed(
        self, ids: Sequence[int], error: str, due_at: datetime | None, dead: Sequence[int]
    ) -> None:
        """Record that these did not arrive.

        Parameters
        ----------
        due_at : datetime, optional
            When they are tried again; None where the whole route waits.
        dead : sequence of int
            Those that nobody tries again until a person asks for it.
        """
        table = alarm_deliveries.c
        state = sa.case((table.id.in_(dead), "dead"), else_="pending")
        values: Row = {"last_error": error, "state": state}
        if due_at is not None:
            values["due_at"] = due_at
        self._change(ids, attempts=table.attempts + 1, **values)

    def resend(self, tenant: str, delivery_id: int) -> Row:
        """Let a dead delivery be tried again.

        Raises
        ------
        NotFound
            No such delivery, or another tenant's.
        Conflict
            It is not dead.
        """
        row = self.get(tenant, delivery_id)
        if row["state"] != "dead":
            raise Conflict(f"Delivery {delivery_id} is {row['state']}: only a dead one can be sent again")
        now = utc_now()
        return self.update(
            tenant, delivery_id, {"state": "pending", "attempts": 0, "due_at": now, "created_at": now}
        )

    def count_by_state(self, tenant: str) -> dict[str, int]:
        """Return how many deliveries of a tenant are in each state."""
        table = alarm_deliveries
        query = (
            sa.select(table.c.state, sa.func.count()).where(table.c.tenant == tenant).group_by(table.c.state)
        )
        with self.database.read() as connection:
            return {row[0]: int(row[1]) for row in connection.execute(query)}

    def count_waiting(self, tenant: str) -> dict[int, dict[str, int]]:
        """Return by route and state how many deliveries of a tenant have not arrived."""
        table = alarm_deliveries.c
        query = sa.select(table.route_id, table.state, sa.func.count()).where(
            table.tenant == tenant, table.state.in_(("pending", "dead"))
        )
        counts: dict[int, dict[str, int]] = {}
        with self.database.read() as connection:
            for route_id, state, count in connection.execute(query.group_by(table.route_id, table.state)):
                counts.setdefault(route_id, {})[state] = count
        return counts

    def _change(self, ids: Sequence[int], **values: object) -> None:
        with self.database.write() as connection:
            for start in range(0, len(ids), _IDS_PER_STATEMENT):
                is_wanted = alarm_deliveries.c.id.in_(ids[start : start + _IDS_PER_STATEMENT])
                connection.execute(sa.update(alarm_deliveries).where(is_wanted).values(**values))


def _end_of_open_group(connection: sa.Connection, route: AlarmRoute, now: datetime) -> datetime:
    """Return when a message goes that an alarm of this moment can join; now on a route without groups."""
    if not route.group_seconds:
        return now
    table, end = alarm_deliveries, now + timedelta(seconds=route.group_seconds)
    query = sa.select(sa.func.min(table.c.due_at)).where(
        table.c.route_id == route.id,
        table.c.state == "pending",
        table.c.attempts == 0,
        table.c.due_at > now,
        table.c.due_at <= end,
    )
    return connection.execute(query).scalar() or end
