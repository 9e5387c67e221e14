"""Field types of this API: times (RFC 3339, UTC where no offset is given), switches and flags."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Unpack

from marshmallow import ValidationError, fields, validate

from prediction.records.fields import MAX_CLOCK_ERROR, MAX_INSTANT, MIN_INSTANT
from storage.times import parse_time

_ON, _OFF = ("1", "true"), ("0", "false")


# A name that people read in lists, terminals and logs. Its first part takes blanks only: where two parts take the same
# characters, the time for a refused text rises with the square of its length, and a request may be megabytes long.
PRINTABLE = validate.Regexp(
    r"^[^\S\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$(?!\n)",
    error="must not be blank or have control characters",
)


class _UtcTime(fields.AwareDateTime):
    """A time as every other door reads it: as UTC where it has no offset, and returned in UTC."""

    default_error_messages = {  # noqa: RUF012 - the base class declares its type
        "invalid": "must be a date and time such as 2024-12-05T14:30:22Z (in an address, + is written %2B)",
        "format": "must be a date and time such as 2024-12-05T14:30:22Z",
    }
    DESERIALIZATION_FUNCS = {**fields.AwareDateTime.DESERIALIZATION_FUNCS, "iso": parse_time}  # noqa: RUF012

    def __init__(self, **options: Unpack[fields._BaseFieldKwargs]) -> None:
        super().__init__("iso", default_timezone=UTC, **options)

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> datetime:
        time = super()._deserialize(value, attr, data, **kwargs)
        try:
            return time.astimezone(UTC)
        except OverflowError:
            # A time in the first hours of year 1, or the last of 9999, may have no equivalent in UTC.
            edge = datetime.min if time.year == 1 else datetime.max
            return edge.replace(tzinfo=UTC)


class InstantField(_UtcTime):
    """When something happened: between the years 1900 and 2262, at most a day ahead of the clock."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> datetime:
        time = super()._deserialize(value, attr, data, **kwargs)
        if not MIN_INSTANT <= time <= MAX_INSTANT:
            raise ValidationError(f"must lie between the years {MIN_INSTANT.year} and {MAX_INSTANT.year}")
        if time > datetime.now(UTC) + MAX_CLOCK_ERROR:
            raise ValidationError(f"lies in the future: here it is {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        return time


class TimeBoundField(_UtcTime):
    """A `since` or `until` bound; a value outside of what can be stored is clamped."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> datetime:
        return min(max(super()._deserialize(value, attr, data, **kwargs), MIN_INSTANT), MAX_INSTANT)


class QueryFlag(fields.Field[bool]):
    """A switch in a query string: true or false; 1 and 0 are read as well."""

    def __init__(self, description: str, data_key: str | None = None, *, default: bool = False) -> None:
        metadata = {"description": description, "type": "boolean"}
        super().__init__(load_default=default, data_key=data_key, metadata=metadata)

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> bool:
        if value in _ON:
            return True
        if value in _OFF:
            return False
        raise ValidationError("use true or false (or 1 or 0)")


class StrictBoolean(fields.Boolean):
    """A boolean in a body: true or false, and neither 1 nor "yes"."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value
