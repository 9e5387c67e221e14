"""Instants in bodies and queries: RFC 3339, UTC where no offset is named, in years that a database keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields

from prediction.records.fields import MAX_CLOCK_ERROR, MAX_INSTANT, MIN_INSTANT

_YEARS = f"the years {MIN_INSTANT.year} and {MAX_INSTANT.year}"


_WANTED: dict[str, str | list[Any] | dict[Any, Any]] = {
    "invalid": "must be a date and time such as 2024-12-05T14:30:22Z (in an address, + is written %2B)",
    "format": "must be a date and time such as 2024-12-05T14:30:22Z",
}


class InstantField(fields.AwareDateTime):
    """When something happened: between the years 1900 and 2262, and no more than a day ahead of the clock."""

    default_error_messages = _WANTED

    def __init__(self, **facts: Any) -> None:
        super().__init__("iso", default_timezone=UTC, **facts)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        time = _in_utc(super()._deserialize(value, attr, data, **kwargs))
        if not MIN_INSTANT <= time <= MAX_INSTANT:
            raise ValidationError(f"must lie between {_YEARS}")
        if time > datetime.now(UTC) + MAX_CLOCK_ERROR:
            raise ValidationError(f"lies in the future: here it is {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        return time


class TimeBoundField(fields.AwareDateTime):
    """From when or until when a list goes; what lies beyond all that can be kept is moved to its edge."""

    default_error_messages = _WANTED

    def __init__(self, **facts: Any) -> None:
        super().__init__("iso", default_timezone=UTC, **facts)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        return min(max(_in_utc(super()._deserialize(value, attr, data, **kwargs)), MIN_INSTANT), MAX_INSTANT)


def _in_utc(time: datetime) -> datetime:
    """The instant in UTC; one that has no UTC, in the years 1 and 9999, is that year's edge."""
    try:
        return time.astimezone(UTC)
    except OverflowError:
        edge = datetime.min if time.year == 1 else datetime.max
        return edge.replace(tzinfo=UTC)
