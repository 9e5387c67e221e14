"""The sensors: what is known of each, kept up to date by its readings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from errors import Conflict
from storage.alarms import end_all_conditions
from storage.alarms.episode_table import RELEASING_VERDICTS
from storage.db.crud import Row, TenantTable, Where
from storage.db.database import Database
from storage.db.tables import AnySelect, utc_now
from storage.sensors.anomalies import Anomalies
from storage.sensors.tables import SEVERE, anomalies, calibrations, readings, sensors

STATUSES: Final = ("online", "warning", "critical", "offline")
SILENCE_SECONDS: Final = 7_200
# SQLite allows 32,766 parameters a statement; 500 ids keep statements short and few.
_IDS_PER_QUERY: Final = 500
# Built once: a detection waits for this statement, and building it takes longer than running it.
_SELECT_STORED: Final = sa.select(sensors).where(
    sensors.c.tenant == sa.bindparam("of_tenant"), sensors.c.id == sa.bindparam("sensor_id")
)


class Sensors(TenantTable):
    """The table ``sensors``; a row also has its ``status``, computed when it is read."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, sensors, "sensor")

    def query(self, tenant: str, where: Where = ()) -> AnySelect:
        """Return a query for the tenant's sensors with their status at this moment."""
        return sa.select(sensors, _status_column()).where(sensors.c.tenant == tenant, *where)

    def get_stored(self, tenant: str, row_id: int) -> Row:
        """Return one sensor without its status, which takes a second query over its anomalies.

        Raises
        ------
        NotFound
            No such sensor, or another tenant's.
        """
        if self.may_exist(row_id):
            with self.database.read() as connection:
                parameters = {"of_tenant": tenant, "sensor_id": row_id}
                row = connection.execute(_SELECT_STORED, parameters).one_or_none()
            if row is not None:
                return dict(row._mapping)
        raise self._not_found(row_id)

    def get_many(self, tenant: str, ids: Iterable[int]) -> dict[int, Row]:
        """Return those of the sensors that the tenant has, without their status, by id."""
        wanted = [row_id for row_id in ids if self.may_exist(row_id)]
        rows: dict[int, Row] = {}
        with self.database.read() as connection:
            for start in range(0, len(wanted), _IDS_PER_QUERY):
                is_wanted = sensors.c.id.in_(wanted[start : start + _IDS_PER_QUERY])
                query = sa.select(sensors).where(sensors.c.tenant == tenant, is_wanted)
                rows |= {row.id: dict(row._mapping) for row in connection.execute(query)}
        return rows

    def find_tags(self, tenant: str, tags: Iterable[str]) -> dict[str, int]:
        """Return the ids of the tenant's sensors that have these tags, by tag."""
        wanted = sorted(tag for tag in tags if "\0" not in tag)
        found: dict[str, int] = {}
        with self.database.read() as connection:
            for start in range(0, len(wanted), _IDS_PER_QUERY):
                is_wanted = sensors.c.tag.in_(wanted[start : start + _IDS_PER_QUERY])
                query = sa.select(sensors.c.tag, sensors.c.id).where(sensors.c.tenant == tenant, is_wanted)
                found |= {row.tag: row.id for row in connection.execute(query)}
        return found

    def list_ids(self, tenant: str) -> list[int]:
        """Return the ids of all the tenant's sensors."""
        query = sa.select(sensors.c.id).where(sensors.c.tenant == tenant).order_by(sensors.c.id)
        with self.database.read() as connection:
            return list(connection.execute(query).scalars())

    def has_status(self, status: str) -> sa.ColumnElement[bool]:
        """Return a condition for :meth:`page`."""
        if status == "offline":
            # Without the cases, no sensor is looked up among the anomalies.
            return _is_silent()
        return _status_column().element == status

    def has_in_name(self, text: str) -> sa.ColumnElement[bool]:
        """Return a condition for :meth:`page`: the name or the tag contains a text, in whatever case."""
        return sa.or_(
            *(column.icontains(text, autoescape=True) for column in (sensors.c.name, sensors.c.tag))
        )

    def create(self, tenant: str, rows: Sequence[Mapping[str, object]]) -> list[int]:
        """Insert sensors; the baseline is the nominal value, else the value given here.

        Raises
        ------
        Conflict
            Another sensor of the tenant has one of the tags.
        """
        with _translate_conflicts(rows):
            return self.insert(tenant, [_complete(row) for row in rows])

    def insert_with_ids(self, tenant: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Insert sensors under ids that are in use elsewhere; the next new sensor gets a higher one.

        Raises
        ------
        Conflict
            One of the ids, or of the tags, is another sensor's.
        """
        with _translate_conflicts(rows), self.database.write() as connection:
            connection.execute(sa.insert(sensors), [{**_complete(row), "tenant": tenant} for row in rows])
            if connection.dialect.name == "postgresql":
                connection.execute(
                    sa.text("SELECT setval(pg_get_serial_sequence('sensors', 'id'), max(id)) FROM sensors")
                )

    def update(self, tenant: str, row_id: int, values: Mapping[str, object]) -> Row:
        """Change a sensor and the columns that follow from the change."""
        row = {**self.get(tenant, row_id), **values}
        derived: Row = {}
        if values.get("nominal_value") is not None:
            derived["baseline"] = values["nominal_value"]
        if "silence_seconds" in values and row["last_updated"] is not None:
            derived["silent_at"] = row["last_updated"] + timedelta(seconds=row["silence_seconds"])
        with _translate_conflicts([values]):
            return super().update(tenant, row_id, {**values, **derived})

    def delete(self, tenant: str, row_id: int) -> None:
        """Delete a sensor with its readings, calibrations and anomalies; conditions that last end with it."""
        self.get(tenant, row_id)
        with self.database.write() as connection:
            is_open = (anomalies.c.sensor_id == row_id, anomalies.c.resolved.is_(False))
            episodes = list(connection.execute(sa.select(anomalies.c.id).where(*is_open)).scalars())
            Anomalies(self.database).record_closed(
                connection, tenant, episodes, "was deleted with its sensor"
            )
            for table in (readings, calibrations, anomalies):
                connection.execute(sa.delete(table).where(table.c.sensor_id == row_id))
            end_all_conditions(
                connection, tenant, f"sensors/{row_id}", f"models/sensors/{row_id}-", "Its sensor was deleted"
            )
            connection.execute(sa.delete(sensors).where(*self._is_row(tenant, row_id)))


@contextmanager
def _translate_conflicts(rows: Sequence[Mapping[str, object]]) -> Iterator[None]:
    """Raise Conflict where a unique id or tag is taken."""
    try:
        yield
    except IntegrityError as error:
        tags = ", ".join(str(row["tag"]) for row in rows[:3] if row.get("tag"))
        ids = ", ".join(str(row["id"]) for row in rows[:3] if row.get("id"))
        names = " or ".join(([f"the id {ids}"] if ids else []) + ([f"the tag {tags}"] if tags else []))
        raise Conflict(f"There is another sensor with {names or 'this id'}") from error


def _complete(row: Mapping[str, object]) -> Row:
    """Return a new row with its baseline, its creation time and the defaults of what is not given."""
    defaults = dict.fromkeys(("value", "nominal_value", "min_value", "max_value"))
    complete = {**defaults, "unit": "", "silence_seconds": SILENCE_SECONDS, "created_at": utc_now(), **row}
    nominal = complete["nominal_value"]
    return {**complete, "baseline": nominal if nominal is not None else complete["value"]}


def _is_silent() -> sa.ColumnElement[bool]:
    return sa.or_(sensors.c.silent_at.is_(None), sensors.c.silent_at < utc_now())


def _status_column() -> sa.Label[str]:
    """Return ``offline`` for a silent sensor, else a status by its most severe open anomaly."""
    is_open = (
        anomalies.c.sensor_id == sensors.c.id,
        anomalies.c.resolved.is_(False),
        sa.or_(anomalies.c.verdict.is_(None), anomalies.c.verdict.not_in(RELEASING_VERDICTS)),
    )
    status = sa.case(
        (_is_silent(), "offline"),
        (sa.exists().where(*is_open, anomalies.c.severity.in_(SEVERE)), "critical"),
        (sa.exists().where(*is_open), "warning"),
        else_="online",
    )
    return status.label("status")
