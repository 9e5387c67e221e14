"""What the sensor routes share: the tenant, its sensor service, and how a row is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from flask import g
from marshmallow import Schema, ValidationError, pre_load

from api.http.context import identity, load_champion, manager
from prediction.contract import Options
from prediction.sensors.readings.reading_records import is_tag
from prediction.sensors.serving.model_lookup import ServedVersion
from prediction.sensors.serving.online_detection import SensorService
from storage.db.crud import Row
from storage.sensors.readings import from_microseconds

if TYPE_CHECKING:
    from prediction.serving import LoadedModel

# Ids are 32-bit integers in the tables.
MAX_ID = 2**31 - 1
SENSOR_ALIASES = ("sensor", "tag")
_HIDDEN_COLUMNS = frozenset({"tenant", "tenant_id", "silent_at", "bands"})


class SensorSchema(Schema):
    """A request about a sensor, by number or tag, which may also be called ``sensor`` or ``tag``, as in readings."""

    @pre_load
    def accept_aliases(self, data: object, **options: object) -> object:
        """Rename the alias of ``sensor_id``; raise ValidationError where several name a sensor."""
        if not isinstance(data, dict) or "sensor_id" not in self.fields:
            return data
        names = [name for name in ("sensor_id", *SENSOR_ALIASES) if name in data]
        if len(names) > 1:
            raise ValidationError(f"the sensor is named by {' and by '.join(names)}: send one", names[1])
        if not names:
            return data
        sensor = _resolve_tag(data[names[0]])
        return {"sensor_id" if name == names[0] else name: value for name, value in data.items()} | {
            "sensor_id": sensor
        }


def _resolve_tag(sensor: object) -> object:
    """Return the number of the sensor that a tag names; anything else as it is."""
    if not isinstance(sensor, str) or not is_tag(sensor):
        return sensor
    tag = sensor.strip()
    if tag not in g.get("tag_numbers", ()):
        look_up_tags([tag])
    number: int | None = g.tag_numbers[tag]
    if number is None:
        raise ValidationError(f"there is no sensor with the tag {tag!r}", "sensor_id")
    return number


def look_up_tags(sensors: Iterable[object]) -> None:
    """Look up the tags among these by one query, before the schema of each record asks for its own."""
    tags = {sensor.strip() for sensor in sensors if isinstance(sensor, str) and is_tag(sensor)}
    if tags:
        numbers = manager().sensors.sensors.find_tags(tenant(), tags)
        g.tag_numbers = {tag: numbers.get(tag) for tag in tags}


def tenant() -> str:
    """Return the caller's tenant."""
    return identity().tenant


def sensor_service(keeps_answers: bool = False) -> SensorService:
    """Return the caller's sensors with the champions of this process.

    Parameters
    ----------
    keeps_answers : bool
        Whether what a version answers is kept with its inputs; answers then have a ``prediction_id``.
    """
    keep = {"keep": _keep_answer} if keeps_answers else {}
    return SensorService(manager().sensors.database, tenant(), load_champion, **keep)


def _keep_answer(
    served: ServedVersion,
    inputs: Sequence[Mapping[str, object]],
    options: Options,
    answers: Sequence[Mapping[str, object]],
) -> Mapping[str, object]:
    """Keep what a champion answered; return its id, and a warning where it is not kept."""
    receipt = manager().archive.keep(cast("LoadedModel", served), inputs, options, answers)
    return {"prediction_id": receipt.id, **({"warnings": [receipt.reason]} if receipt.reason else {})}


def get_sensor_row(sensor_id: int) -> Row:
    """Return a sensor's row; NotFound where the tenant has none of that number."""
    return manager().sensors.sensors.get_stored(tenant(), sensor_id)


def row_to_dict(row: Row) -> Row:
    """Return a row as the API shows it: without internal columns, instants as times."""
    shown = {name: value for name, value in row.items() if name not in _HIDDEN_COLUMNS}
    if isinstance(shown.get("timestamp"), int):
        shown["timestamp"] = from_microseconds(shown["timestamp"])
    return shown
