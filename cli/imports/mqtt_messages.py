"""What MQTT messages say: readings, with the sensor's number in the payload or in the topic."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from errors import InvalidRecords, MalformedBody
from prediction.records.parsing import number_records
from prediction.sensors.readings.reading_records import READING_SCHEMA

Reading = dict[str, Any]


def parse_message(topic: str, payload: bytes, pattern: str) -> list[Reading]:
    """The readings of one message, as POST /api/readings/ takes them.

    Parameters
    ----------
    topic : str
        Where the message was published.
    payload : bytes
        A bare number, an object with ``raw_value`` (or ``value``), or an array of such objects. A reading
        without ``timestamp`` is one of this moment.
    pattern : str
        The subscription; what stands at its first ``+`` is the sensor's number where the payload has none.

    Raises
    ------
    MalformedBody
        The payload is none of that, or tells its time under another name.
    """
    try:
        text = payload.decode("utf-8-sig").strip()
        said = json.loads(text if text[:1] in ("[", "{") else text.replace(",", "."))
    except ValueError as error:
        raise MalformedBody(f"{topic}: the payload is neither a number nor JSON") from error
    if isinstance(said, bool) or said is None or isinstance(said, str):
        raise MalformedBody(f"{topic}: the payload is neither a number nor an object")
    known = {"timestamp": datetime.now(UTC).isoformat(), "sensor_id": sensor_from_topic(topic, pattern)}
    return [_reading(topic, one, known) for one in (said if isinstance(said, list) else [said])]


def sensor_from_topic(topic: str, pattern: str) -> str | None:
    """What a topic has at the pattern's first ``+``; None where it has none."""
    parts, at = topic.split("/"), pattern.split("/")
    return parts[at.index("+")] if "+" in at and at.index("+") < len(parts) else None


def _reading(topic: str, said: Any, known: dict[str, str | None]) -> Reading:
    if isinstance(said, int | float) and not isinstance(said, bool):
        return {**known, "raw_value": said}
    if not isinstance(said, dict):
        raise MalformedBody(f"{topic}: each reading must be a number or an object")
    try:
        READING_SCHEMA.check(list(number_records([said])), is_single=True)
    except InvalidRecords as error:
        raise MalformedBody(f"{topic}: {error.facts['validation_errors'][0]}") from error
    value = said.get("raw_value", said.get("value"))
    given = {name: said[name] for name in ("sensor_id", "timestamp") if said.get(name) is not None}
    given |= {"sensor_id": said["sensor"]} if "sensor_id" not in given and said.get("sensor") else {}
    return {**known, "raw_value": value, **given}
