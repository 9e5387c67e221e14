"""Readings in MQTT messages, with the sensor's number or tag in the payload or in the topic."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from errors import InvalidRecords, MalformedBody
from prediction.records.parsing import number_records
from prediction.sensors.readings.reading_records import READING_SCHEMA, SENSOR_NAMES
from storage.text.numbers import AmbiguousNumber, describe_ambiguity, parse_simple_number

ReadingRecord = dict[str, Any]


def parse_message(topic: str, payload: bytes, subscription: str) -> list[ReadingRecord]:
    """Return the readings of one message, as POST /api/readings/ takes them.

    Parameters
    ----------
    payload : bytes
        A bare number, an object with ``raw_value`` (or ``value``), or an array of such objects. A reading
        without ``timestamp`` is one of this moment.
    subscription : str
        What is at its first ``+`` in the topic is the sensor's number or tag, where the payload has none.

    Raises
    ------
    MalformedBody
        The payload is none of that, or gives its time under another name.
    """
    try:
        text = payload.decode("utf-8-sig").strip()
        # A bare number may have a decimal comma, which JSON does not allow.
        document = (
            parse_simple_number(text) if "," in text and text[:1] not in ("[", "{") else json.loads(text)
        )
    except AmbiguousNumber as error:
        raise MalformedBody(f"{topic}: the number {describe_ambiguity(text)}") from error
    except ValueError as error:
        raise MalformedBody(f"{topic}: the payload is neither a number nor JSON") from error
    if isinstance(document, bool) or document is None or isinstance(document, str):
        raise MalformedBody(f"{topic}: the payload is neither a number nor an object")
    defaults = {
        "timestamp": datetime.now(UTC).isoformat(),
        "sensor_id": sensor_from_topic(topic, subscription),
    }
    entries = document if isinstance(document, list) else [document]
    return [_parse_reading(topic, entry, defaults) for entry in entries]


def sensor_from_topic(topic: str, subscription: str) -> str | None:
    """Return the part of a topic at the subscription's first ``+``; None where there is none."""
    parts, pattern = topic.split("/"), subscription.split("/")
    return parts[pattern.index("+")] if "+" in pattern and pattern.index("+") < len(parts) else None


def _parse_reading(topic: str, entry: object, defaults: dict[str, str | None]) -> ReadingRecord:
    if isinstance(entry, int | float) and not isinstance(entry, bool):
        return {**defaults, "raw_value": entry}
    if not isinstance(entry, dict):
        raise MalformedBody(f"{topic}: each reading must be a number or an object")
    try:
        READING_SCHEMA.check(list(number_records([entry])), is_single=True)
    except InvalidRecords as error:
        raise MalformedBody(f"{topic}: {error.facts['validation_errors'][0]}") from error
    value = entry.get("raw_value", entry.get("value"))
    given = {name: entry[name] for name in ("sensor_id", "timestamp") if entry.get(name) is not None}
    names = (name for name in SENSOR_NAMES if entry.get(name))
    if "sensor_id" not in given and (name := next(names, None)):
        given["sensor_id"] = entry[name]
    return {**defaults, "raw_value": value, **given}
