"""Failure events: when a device stopped working, and what of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.db.bulk_insert import insert_columns
from storage.db.crud import Where
from storage.db.database import Database
from storage.db.tables import UtcDateTime
from storage.db.watermark import WatermarkedTable
from storage.devices.device_patterns import device_conditions
from storage.devices.tables import NEUTRAL_EVENTS, PLANNED_EVENTS, failure_events, normalise_event_type
from storage.sensors.readings import to_microseconds

_COLUMNS = ("device_id", "event_time", "event_type", "component_failed", "operating_hours_at_failure")


class Failures(WatermarkedTable):
    """The table ``failure_events``."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, failure_events, "failure event")

    def ingest(self, tenant: str, events: Sequence[Mapping[str, Any]]) -> int:
        """Write events in one durable transaction; how many.

        Parameters
        ----------
        events : sequence of mapping
            ``device_id``, ``event_time`` (aware), ``event_type``, ``component_failed``,
            ``operating_hours_at_failure``.
        """
        if events:
            columns = {name: [event.get(name) for event in events] for name in _COLUMNS}
            with self.database.write() as connection:
                times = [_kept(event["event_time"], connection.dialect) for event in events]
                self.announce(connection)
                insert_columns(connection, "failure_events", tenant, {**columns, "event_time": times})
        return len(events)

    def count_after(self, tenant: str, mark: int, devices: Sequence[str] | None = None) -> int:
        """How many failures (no planned ends) were first told after a high-water mark, however often."""
        told = failure_events.c
        where = [
            told.tenant == tenant,
            sa.func.lower(told.event_type).not_in([*PLANNED_EVENTS, *NEUTRAL_EVENTS]),
        ]
        where += device_conditions(told.device_id, devices)
        moments = sa.select(told.device_id).where(*where).group_by(told.device_id, told.event_time)
        new = moments.having(sa.func.min(told.id) > mark).subquery()
        with self.database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(new)).scalar_one()

    def times(self, tenant: str, devices: Sequence[str] | None = None) -> dict[str, list[tuple[int, bool]]]:
        """When each device's runs ended: microseconds since 1970, and whether in a failure, oldest first.

        An event that was told several times counts once.
        """
        where = [failure_events.c.tenant == tenant, *device_conditions(failure_events.c.device_id, devices)]
        columns = (failure_events.c.device_id, failure_events.c.event_time, failure_events.c.event_type)
        query = sa.select(*columns).where(*where).order_by(*columns[:2], failure_events.c.id)
        ends: dict[str, list[tuple[int, bool]]] = {}
        with self.database.read() as connection:
            for device_id, time, said in connection.execute(query):
                kind = normalise_event_type(said)
                if kind in NEUTRAL_EVENTS:
                    continue
                mine, end, failed = (
                    ends.setdefault(device_id, []),
                    to_microseconds(time),
                    kind not in PLANNED_EVENTS,
                )
                if mine and mine[-1][0] == end:
                    mine[-1] = (end, failed or mine[-1][1])
                else:
                    mine.append((end, failed))
        return ends

    def remove(self, tenant: str, where: Where) -> int:
        """Delete the tenant's events that fulfil every condition; how many."""
        mine = [failure_events.c.tenant == tenant, *where]
        with self.database.write() as connection:
            return int(connection.execute(sa.delete(failure_events).where(*mine)).rowcount)


def _kept(time: datetime, dialect: sa.Dialect) -> str:
    """An instant as the database's own text."""
    stored = UtcDateTime().process_bind_param(time, dialect)
    return "" if stored is None else stored.isoformat(sep=" ", timespec="microseconds")
