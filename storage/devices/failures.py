"""Failure events: when a device stopped working, and which component failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NotRequired, TypedDict

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

# The end of a run: microseconds since 1970, and whether it was a failure.
RunEnd = tuple[int, bool]


class FailureEvent(TypedDict):
    """One event; ``event_time`` is aware."""

    device_id: str
    event_time: datetime
    event_type: str
    component_failed: NotRequired[str | None]
    operating_hours_at_failure: NotRequired[float | None]


class Failures(WatermarkedTable):
    """The table ``failure_events``."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, failure_events, "failure event")

    def ingest(self, tenant: str, events: Sequence[FailureEvent]) -> int:
        """Write events in one durable transaction and return their number."""
        if events:
            columns = {name: [event.get(name) for event in events] for name in _COLUMNS}
            with self.database.write() as connection:
                times = [_to_stored_time(event["event_time"], connection.dialect) for event in events]
                self.announce(connection)
                insert_columns(connection, "failure_events", tenant, {**columns, "event_time": times})
        return len(events)

    def count_after(self, tenant: str, mark: int, devices: Sequence[str] | None = None) -> int:
        """Count the failures (not planned ends) that were first reported after a high-water mark."""
        event = failure_events.c
        where = [
            event.tenant == tenant,
            sa.func.lower(event.event_type).not_in([*PLANNED_EVENTS, *NEUTRAL_EVENTS]),
            *device_conditions(event.device_id, devices),
        ]
        # An event may be reported several times: it is new only if its first report is.
        moments = sa.select(event.device_id).where(*where).group_by(event.device_id, event.event_time)
        new = moments.having(sa.func.min(event.id) > mark).subquery()
        with self.database.read() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(new)).scalar_one()

    def run_ends(self, tenant: str, devices: Sequence[str] | None = None) -> dict[str, list[RunEnd]]:
        """Return the ends of each device's runs, oldest first. An event reported twice counts once."""
        event = failure_events.c
        where = [event.tenant == tenant, *device_conditions(event.device_id, devices)]
        query = sa.select(event.device_id, event.event_time, event.event_type).where(*where)
        ends: dict[str, list[RunEnd]] = {}
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(event.device_id, event.event_time, event.id))
            for device_id, instant, raw_type in rows:
                event_type = normalise_event_type(raw_type)
                if event_type in NEUTRAL_EVENTS:
                    continue
                device_ends = ends.setdefault(device_id, [])
                time, failed = to_microseconds(instant), event_type not in PLANNED_EVENTS
                if device_ends and device_ends[-1][0] == time:
                    _, failed_before = device_ends.pop()
                    failed = failed or failed_before
                device_ends.append((time, failed))
        return ends

    def remove(self, tenant: str, where: Where) -> int:
        """Delete the tenant's events that fulfil every condition and return their number."""
        conditions = [failure_events.c.tenant == tenant, *where]
        with self.database.write() as connection:
            return int(connection.execute(sa.delete(failure_events).where(*conditions)).rowcount)


def _to_stored_time(instant: datetime, dialect: sa.Dialect) -> str:
    """Return an instant as the text that the bulk insert writes into a column of `UtcDateTime`."""
    stored = UtcDateTime().process_bind_param(instant, dialect)
    return "" if stored is None else stored.isoformat(sep=" ", timespec="microseconds")
