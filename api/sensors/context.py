"""What the sensor routes share: the stores, this tenant's watch, and the form of a row."""

from __future__ import annotations

from typing import Any

from api.http.context import identity, manager
from prediction.sensors.serving.online_detection import SensorService
from storage.db.crud import Row
from storage.db.database import Database
from storage.sensors.readings import from_microseconds
from storage.sensors.sensors import Sensors

MAX_ID = 2**31 - 1


def database() -> Database:
    """The database of this server."""
    return manager().storage.database


def tenant() -> str:
    """The tenant that asks."""
    return identity().tenant


def sensor_monitor() -> SensorService:
    """The caller's sensors, watched by the champions of this process."""
    return SensorService(database(), tenant(), manager().live.current)


def get_sensor_row(sensor_id: int) -> Row:
    """A sensor's row; NotFound where the tenant has none of that number."""
    return Sensors(database()).get_stored(tenant(), sensor_id)


def shown(row: Row) -> dict[str, Any]:
    """A row as it is answered: without the tenant, instants as times."""
    fields = {name: value for name, value in row.items() if name not in {"tenant", "tenant_id", "silent_at"}}
    if isinstance(fields.get("timestamp"), int):
        fields["timestamp"] = from_microseconds(fields["timestamp"])
    return fields
