"""The sensors themselves: what is known of each, kept up to date by what it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa

from storage.db.crud import Row, TenantTable, Where
from storage.db.database import Database
from storage.db.tables import utc_now
from storage.sensors.tables import anomalies, calibrations, readings, sensors

STATUSES: Final = ("online", "warning", "critical", "offline")
SILENCE_SECONDS: Final = 7_200
_AT_ONCE: Final = 500
_GRAVE: Final = ("High", "Critical")
_ONE: Final = sa.select(sensors).where(
    sensors.c.tenant == sa.bindparam("mine"), sensors.c.id == sa.bindparam("asked")
)


class Sensors(TenantTable):
    """The table ``sensors``; a row also has its ``status``, worked out when it is asked for."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, sensors, "sensor")

    def query(self, tenant: str, where: Where = ()) -> sa.Select[Any]:
        """The tenant's sensors with their status at this moment."""
        return sa.select(sensors, _status()).where(sensors.c.tenant == tenant, *where)

    def plain(self, tenant: str, row_id: int) -> Row:
        """One sensor as it is stored, without its status, by a statement that is made once: for detections.

        Raises
        ------
        NotFound
            No such sensor, or another tenant's.
        """
        if 0 < row_id <= self._largest():
            with self.database.read() as connection:
                found = connection.execute(_ONE, {"mine": tenant, "asked": row_id}).one_or_none()
            if found is not None:
                return dict(found._mapping)
        raise self._missing(row_id)

    def has_status(self, status: str) -> sa.ColumnElement[bool]:
        """A condition for :meth:`page`."""
        return _status().element == status

    def create(self, tenant: str, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """New sensors; a value given at creation is the drift baseline where no nominal value is."""
        return self.insert(tenant, [_made(row) for row in rows])

    def plant(self, tenant: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Sensors with the ids they are known by elsewhere; the next new one gets a higher id."""
        with self.database.write() as connection:
            connection.execute(sa.insert(sensors), [{**_made(row), "tenant": tenant} for row in rows])
            if connection.dialect.name == "postgresql":
                connection.execute(
                    sa.text("SELECT setval(pg_get_serial_sequence('sensors', 'id'), max(id)) FROM sensors")
                )

    def update(self, tenant: str, row_id: int, values: Mapping[str, Any]) -> Row:
        """Change a sensor; its baseline follows its nominal value, its patience its last reading."""
        known = {**self.get(tenant, row_id), **values}
        derived: Row = {}
        if values.get("nominal_value") is not None:
            derived["baseline"] = values["nominal_value"]
        if "silence_seconds" in values and known["last_updated"] is not None:
            derived["silent_at"] = known["last_updated"] + timedelta(seconds=known["silence_seconds"])
        return super().update(tenant, row_id, {**values, **derived})

    def delete(self, tenant: str, row_id: int) -> None:
        """Delete a sensor with everything it said."""
        self.get(tenant, row_id)
        with self.database.write() as connection:
            for table in (readings, calibrations, anomalies):
                connection.execute(sa.delete(table).where(table.c.sensor_id == row_id))
            connection.execute(sa.delete(sensors).where(*self._mine(tenant, row_id)))

    def ids(self, tenant: str) -> list[int]:
        """The ids of all the tenant's sensors."""
        query = sa.select(sensors.c.id).where(sensors.c.tenant == tenant).order_by(sensors.c.id)
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def many(self, tenant: str, ids: Iterable[int]) -> dict[int, Row]:
        """The tenant's sensors among these ids as they are stored, without their status, by id."""
        asked = [i for i in ids if 0 < i <= self._largest()]
        found: dict[int, Row] = {}
        with self.database.read() as connection:
            for start in range(0, len(asked), _AT_ONCE):
                chosen = sensors.c.id.in_(asked[start : start + _AT_ONCE])
                rows = connection.execute(sa.select(sensors).where(sensors.c.tenant == tenant, chosen))
                found |= {row.id: dict(row._mapping) for row in rows}
        return found


def _made(row: Mapping[str, Any]) -> Row:
    """A new row with its baseline and the instant it was made."""
    value, nominal = row.get("value"), row.get("nominal_value")
    optional = dict.fromkeys(("value", "nominal_value", "min_value", "max_value"))
    made = {**optional, "unit": "", "silence_seconds": SILENCE_SECONDS, "created_at": utc_now(), **row}
    return {**made, "baseline": nominal if nominal is not None else value}


def _status() -> sa.Label[str]:
    """offline where the sensor is silent, else by the gravest anomaly that is open."""
    grave = sa.exists().where(*_open(), anomalies.c.severity.in_(_GRAVE))
    status = sa.case(
        (sa.or_(sensors.c.silent_at.is_(None), sensors.c.silent_at < utc_now()), "offline"),
        (grave, "critical"),
        (sa.exists().where(*_open()), "warning"),
        else_="online",
    )
    return status.label("status")


def _open() -> list[sa.ColumnElement[bool]]:
    return [anomalies.c.sensor_id == sensors.c.id, anomalies.c.resolved.is_(False)]
