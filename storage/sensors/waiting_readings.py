"""Readings of tags that no sensor has: they wait, in a bounded list, until somebody registers the tag."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from errors import Conflict, MillwrightError, NotFound, describe_error
from storage.db.database import Database
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import Readings, from_microseconds
from storage.sensors.sensors import Sensors
from storage.sensors.tables import sensors, waiting_readings

# A gateway that sends a whole plant for a day at one reading a minute fits; an attacker does not fill the disk.
MAX_TAGS: Final = 1_000
MAX_READINGS: Final = 500_000
_MAX_LOGGED_TAGS: Final = 10

log = structlog.get_logger()


@dataclass(frozen=True)
class WaitingTag:
    """A tag without a sensor, and what waits for it."""

    tag: str
    readings: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True)
class UnknownReadings:
    """Readings of tags that no sensor has, with the tag of each."""

    tags: Sequence[str]
    block: ReadingBlock


@dataclass(frozen=True)
class Adoption:
    """What became of readings that waited for tags which sensors have now.

    Parameters
    ----------
    tags : set of str
        Tags of which no readings wait any more.
    readings : int
        How many were stored.
    warnings : list of str
        For each tag whose readings go on waiting, how many and why.
    """

    tags: Set[str]
    readings: int
    warnings: Sequence[str]


class WaitingReadings:
    """The table ``waiting_readings``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_with(self, connection: sa.Connection, tenant: str, unknown: UnknownReadings) -> None:
        """Store readings with the tag of each, in a transaction that the caller commits.

        A sensor may get one of the tags before that: call :meth:`adopt_registered` after the commit.

        Raises
        ------
        Conflict
            More readings or tags would wait than may.
        """
        block = unknown.block
        pairs = zip(unknown.tags, block.times.tolist(), block.values.tolist(), strict=True)
        rows = [
            {"tenant": tenant, "tag": tag, "timestamp": time, "raw_value": value}
            for tag, time, value in pairs
        ]
        own = waiting_readings.c.tenant == tenant
        count = sa.select(sa.func.count(), sa.func.count(waiting_readings.c.tag.distinct())).where(own)
        connection.execute(sa.insert(waiting_readings), rows)
        readings, distinct = connection.execute(count).one()
        if readings > MAX_READINGS or distinct > MAX_TAGS:
            raise Conflict(
                f"Too much waits for tags that no sensor has ({MAX_READINGS:,} readings of {MAX_TAGS:,} tags "
                "may): register or delete some of GET /api/unknown-tags, then send this again"
            )

    def adopt_registered(self, tenant: str, tags: Collection[str]) -> Adoption:
        """Give what waits for these tags to the sensors that have one of them.

        What cannot be stored now goes on waiting until :meth:`adopt_due`: the caller has committed the readings, or
        the sensor, and must not report them as refused.
        """
        adopted, readings = set[str](), 0
        try:
            for tag, sensor_id in Sensors(self._database).find_tags(tenant, tags).items():
                readings += self.adopt(tenant, tag, sensor_id)
                adopted.add(tag)
        except (MillwrightError, IntegrityError) as error:
            left = sorted(set(tags) - adopted)
            log.warning(
                "waiting_readings_not_adopted",
                tenant=tenant,
                tags=left[:_MAX_LOGGED_TAGS],
                reason=describe_error(error),
            )
            return Adoption(adopted, readings, self._describe_waiting(tenant, left, error))
        return Adoption(adopted, readings, [])

    def _describe_waiting(self, tenant: str, tags: Sequence[str], error: Exception) -> list[str]:
        """Return a sentence for each tag for which readings wait after an error."""
        reason = error.message if isinstance(error, MillwrightError) else "the log says why"
        rest = f"could not be stored ({reason}): they wait, and the server tries again until they are stored"
        try:
            counts = [self.count(tenant, tag) for tag in tags]
        except MillwrightError:
            return [f"Readings that came for the tag {tag} before it had a sensor {rest}" for tag in tags]
        return [
            f"{count:,} readings that came for the tag {tag} before it had a sensor {rest}"
            for tag, count in zip(tags, counts, strict=True)
            if count
        ]

    def adopt_due(self) -> int:
        """Store what still waits for tags that sensors have, in whatever tenant; return how many readings.

        Raises
        ------
        MillwrightError
            The database refuses; what is not stored yet goes on waiting.
        """
        has_waiting = sa.exists().where(
            waiting_readings.c.tenant == sensors.c.tenant, waiting_readings.c.tag == sensors.c.tag
        )
        query = sa.select(sensors.c.tenant, sensors.c.tag, sensors.c.id).where(has_waiting)
        with self._database.read() as connection:
            if connection.execute(sa.select(waiting_readings.c.id).limit(1)).first() is None:
                return 0
            due = connection.execute(query).all()
        return sum(self.adopt(tenant, tag, sensor_id) for tenant, tag, sensor_id in due)

    def list(self, tenant: str, limit: int, after: str = "") -> list[WaitingTag]:
        """Return tags with a name after ``after``, in order."""
        table = waiting_readings.c
        columns = (sa.func.count(), sa.func.min(table.timestamp), sa.func.max(table.timestamp))
        query = sa.select(table.tag, *columns).where(table.tenant == tenant, table.tag > after)
        with self._database.read() as connection:
            rows = connection.execute(query.group_by(table.tag).order_by(table.tag).limit(limit))
            return [
                WaitingTag(row[0], row[1], from_microseconds(row[2]), from_microseconds(row[3]))
                for row in rows
            ]

    def count(self, tenant: str, tag: str) -> int:
        """Return how many readings wait for a tag."""
        own = (waiting_readings.c.tenant == tenant, waiting_readings.c.tag == tag)
        with self._database.read() as connection:
            return int(
                connection.execute(
                    sa.select(sa.func.count()).select_from(waiting_readings).where(*own)
                ).scalar_one()
            )

    def adopt(self, tenant: str, tag: str, sensor_id: int) -> int:
        """Make what waits for a tag readings of a sensor, in one transaction; return how many there were."""
        if not self.count(tenant, tag):
            return 0
        is_waiting = (waiting_readings.c.tenant == tenant, waiting_readings.c.tag == tag)
        columns = (waiting_readings.c.timestamp, waiting_readings.c.raw_value)
        with self._database.write() as connection:
            delete = sa.delete(waiting_readings).where(*is_waiting).returning(*columns)
            rows = sorted(tuple(row) for row in connection.execute(delete))
            times, values = (
                np.array([row[0] for row in rows], np.int64),
                np.array([row[1] for row in rows], float),
            )
            block = ReadingBlock(np.full(len(rows), sensor_id), times, values)
            Readings(self._database).ingest_with(connection, tenant, block)
        return len(rows)

    def delete(self, tenant: str, tag: str) -> int:
        """Delete what waits for a tag and return how many readings that were.

        Raises
        ------
        NotFound
            Nothing waits for it.
        """
        is_waiting = (waiting_readings.c.tenant == tenant, waiting_readings.c.tag == tag)
        with self._database.write() as connection:
            deleted = int(connection.execute(sa.delete(waiting_readings).where(*is_waiting)).rowcount)
        if not deleted:
            raise NotFound(f"Nothing waits for the tag {tag!r}")
        return deleted
