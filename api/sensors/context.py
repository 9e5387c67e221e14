"""What the sensor routes share: the tenant, its sensor service, and how a row is shown."""

from __future__ import annotations

from marshmallow import Schema, ValidationError, pre_load

from api.http.context import identity, load_champion, manager
from prediction.sensors.serving.online_detection import SensorService
from storage.db.crud import Row
from storage.sensors.readings import from_microseconds

# Ids are 32-bit integers in the tables.
MAX_ID = 2**31 - 1
SENSOR_ALIASES = ("sensor", "tag")
_HIDDEN_COLUMNS = frozenset({"tenant", "tenant_id", "silent_at"})


class SensorSchema(Schema):
    """A request about a sensor, which may also be called ``sensor`` or ``tag``, as in readings."""

    @pre_load
    def accept_aliases(self, data: object, **options: object) -> object:
        """Rename the alias of ``sensor_id``; raise ValidationError where several name a sensor."""
        if not isinstance(data, dict) or "sensor_id" not in self.fields:
            return data
        names = [name for name in ("sensor_id", *SENSOR_ALIASES) if name in data]
        if len(names) > 1:
            raise ValidationError(f"the sensor is named by {' and by '.join(names)}: send one", names[1])
        if names and names[0] != "sensor_id":
            return {"sensor_id" if name == names[0] else name: value for name, value in data.items()}
        return data


def tenant() -> str:
    """Return the caller's tenant."""
    return identity().tenant


def sensor_service() -> SensorService:
    """Return the caller's sensors with the champions of this process."""
    return SensorService(manager().sensors.database, tenant(), load_champion)


def get_sensor_row(sensor_id: int) -> Row:
    """Return a sensor's row; NotFound where the tenant has none of that number."""
    return manager().sensors.sensors.get_stored(tenant(), sensor_id)


def row_to_dict(row: Row) -> Row:
    """Return a row as the API shows it: without internal columns, instants as times."""
    shown = {name: value for name, value in row.items() if name not in _HIDDEN_COLUMNS}
    if isinstance(shown.get("timestamp"), int):
        shown["timestamp"] = from_microseconds(shown["timestamp"])
    return shown
