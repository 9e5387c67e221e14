"""Quiet hours: the time of day at which a route holds back all but critical alarms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from errors import InvalidContent
from storage.alarms.routes import AlarmRoute

URGENT: Final = "Critical"


def hold_until(route: AlarmRoute, severity: str, now: datetime) -> datetime:
    """Return when an alarm may be sent along a route: now, or at the end of the quiet hours."""
    if route.quiet_hours is None or severity == URGENT:
        return now
    return end_of_quiet(route.quiet_hours, now)


def end_of_quiet(hours: Mapping[str, str], now: datetime) -> datetime:
    """Return the end of the quiet hours that an instant lies in; the instant itself where it lies in none.

    Parameters
    ----------
    hours : mapping
        ``start`` and ``end`` as HH:MM, ``end`` before ``start`` for a night; ``timezone`` as IANA names it.
    """
    zone = ZoneInfo(hours.get("timezone", "UTC"))
    start, end = (time.fromisoformat(hours[name]) for name in ("start", "end"))
    local = now.astimezone(zone)
    clock = local.timetz().replace(tzinfo=None)
    is_quiet = start <= clock < end if start < end else clock >= start or clock < end
    if not is_quiet:
        return now
    day = local.date() + timedelta(days=int(clock >= end))
    return datetime.combine(day, end, tzinfo=zone).astimezone(UTC)


def check_quiet_hours(hours: Mapping[str, str]) -> None:
    """Raise InvalidContent for quiet hours that never end, or in a time zone that is unknown."""
    try:
        ZoneInfo(hours.get("timezone", "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise invalid_field("quiet_hours", "the time zone is unknown; write it like Europe/Paris") from None
    if hours["start"] == hours["end"]:
        raise invalid_field(
            "quiet_hours", "start and end are the same; set enabled to false for a route that rests"
        )


def invalid_field(name: str, message: str) -> InvalidContent:
    """Return the error of one field of a route."""
    sentence = f"{name}: {message}"
    fault = {"field": name, "code": "value"}
    return InvalidContent(sentence, validation_errors=[sentence], errors=[fault])
