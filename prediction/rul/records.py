"""Telemetry and failure events as clients send them, checked line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

from prediction.contract import JSON
from prediction.records.fields import (
    FieldError,
    count_placeholders,
    parse_number,
    parse_past_instant,
    parse_record_time,
    parse_text,
    to_microseconds,
)
from prediction.records.parsing import NumberedRecord, UnreadableLine
from prediction.records.schema import RecordSchema
from storage.devices.tables import NEUTRAL_EVENTS, PLANNED_EVENTS, normalise_event_type
from storage.devices.telemetry import TelemetryRows

MAX_RECORDS = 500_000
MOST_CHANNELS = 500
LONGEST_NAME = 100
MOST_HOURS = 10_000_000
MOST_TYPES = 10
_DEVICE = ("device_id", "device")
TELEMETRY_SCHEMA: Final = RecordSchema(
    needed=(_DEVICE,), time=("timestamp",), others=frozenset({"id", "tenant_id"}), channels=True
)
FAILURE_SCHEMA: Final = RecordSchema(
    needed=(_DEVICE,),
    time=("event_time", "timestamp"),
    others=frozenset({"event_type", "component_failed", "operating_hours_at_failure", "tenant_id"}),
)
_ASIDE = frozenset({"id", "device_id", "device", "timestamp", "tenant_id"})


def parse_telemetry(
    sent: Sequence[NumberedRecord], tenant: str, alone: bool = False
) -> tuple[TelemetryRows, list[JSON]]:
    """Rows of telemetry in columns, and every line that is wrong.

    Parameters
    ----------
    sent : sequence of (int, Any)
        Lines and what stands on them: objects with ``device_id``, ``timestamp`` and values by channel.
    tenant : str
        Whose rows they must be, where they say so.
    alone : bool
        Whether this is a row by itself, which is one of this moment where it says no time.

    Raises
    ------
    InvalidRecords
        A column is missing.
    """
    TELEMETRY_SCHEMA.check(sent, alone)
    now = datetime.now(UTC)
    rows, faults = _checked(sent, tenant, lambda record: _sample(record, now, alone))
    devices, times, channels = zip(*rows, strict=True) if rows else ((), (), ())
    return TelemetryRows(devices, times, channels), faults


def parse_failures(
    sent: Sequence[NumberedRecord], tenant: str, alone: bool = False
) -> tuple[list[JSON], list[JSON]]:
    """Failure events as the store takes them, and every line that is wrong; each says when it was.

    Raises
    ------
    InvalidRecords
        A column is missing.
    """
    FAILURE_SCHEMA.check(sent, alone)
    now = datetime.now(UTC)
    return _checked(sent, tenant, lambda record: _event(record, now))


def count_event_types(events: Iterable[JSON]) -> tuple[dict[str, int], list[str]]:
    """How many failures, planned ends and harmless events these are, and a warning of unknown types."""
    kinds = Counter(event["event_type"] for event in events)
    counts = {
        "failures": sum(
            count for kind, count in kinds.items() if kind not in PLANNED_EVENTS | NEUTRAL_EVENTS
        ),
        "planned_ends": sum(kinds[kind] for kind in PLANNED_EVENTS),
        "harmless": sum(kinds[kind] for kind in NEUTRAL_EVENTS),
    }
    strange = sorted(kinds.keys() - PLANNED_EVENTS - NEUTRAL_EVENTS - {"failure"})
    if not strange:
        return counts, []
    named = ", ".join(f"{kind!r} ({kinds[kind]}{_meant(kind)})" for kind in strange[:MOST_TYPES])
    more = f" and {len(strange) - MOST_TYPES} more" if len(strange) > MOST_TYPES else ""
    known = f"planned ends are {' and '.join(sorted(PLANNED_EVENTS))}, an {' or '.join(NEUTRAL_EVENTS)} ends nothing"
    return counts, [f"Counted as failures, of types that are unknown: {named}{more}; {known}"]


def _meant(kind: str) -> str:
    close = get_close_matches(kind.lower(), sorted(PLANNED_EVENTS | NEUTRAL_EVENTS), 1, 0.6)
    return f", did you mean {close[0]}?" if close else ""


def count_placeholder_values(samples: TelemetryRows) -> Counter[tuple[str, float]]:
    """How often each channel holds a number that often stands for a missing value."""
    return count_placeholders(told for row in samples.channels for told in row.items())


def _checked(
    sent: Sequence[NumberedRecord], tenant: str, read: Callable[[JSON], Any]
) -> tuple[list[Any], list[JSON]]:
    rows: list[Any] = []
    faults: list[JSON] = []
    for line, record in sent:
        try:
            rows.append(read(_object(record, tenant)))
        except FieldError as wrong:
            faults.append(wrong.fault(line))
    return rows, faults


def _object(record: Any, tenant: str) -> JSON:
    if isinstance(record, UnreadableLine):
        raise FieldError(None, "syntax", None, record)
    if not isinstance(record, dict):
        raise FieldError(None, "type", record, "must be an object with device_id, a time and values")
    if record.get("tenant_id") not in (None, "", tenant):
        raise FieldError(
            "tenant_id", "tenant", record["tenant_id"], f"tenant_id must be {tenant!r}, the key's"
        )
    return record


def _sample(record: JSON, now: datetime, alone: bool) -> tuple[str, int, Mapping[str, float]]:
    time = parse_record_time(record.get("timestamp"), now, alone)
    return _device(record), to_microseconds(time), parse_values(record)


def parse_values(record: Mapping[str, Any]) -> dict[str, float]:
    """The values of a row by channel; empty cells are left out.

    Raises
    ------
    WrongField
        A value is no finite number, or there is none.
    """
    told = {name: said for name, said in record.items() if name not in _ASIDE and said not in (None, "")}
    if not told:
        raise FieldError(None, "channels", 0, "the row has no value of any channel: leave it out")
    if len(told) > MOST_CHANNELS:
        raise FieldError(None, "channels", len(told), f"a row holds 1 to {MOST_CHANNELS} channels")
    return {
        parse_text("a channel's name", name, LONGEST_NAME): parse_number(name, said)
        for name, said in told.items()
    }


def _event(record: JSON, now: datetime) -> JSON:
    said = record.get("operating_hours_at_failure")
    hours = None if said in (None, "") else parse_number("operating_hours_at_failure", said)
    if hours is not None and not 0 <= hours <= MOST_HOURS:
        said = f"operating_hours_at_failure must be between 0 and {MOST_HOURS:,}, got {hours:g}"
        raise FieldError("operating_hours_at_failure", "range", hours, said)
    component, kind = record.get("component_failed"), record.get("event_type", "failure")
    return {
        "device_id": _device(record),
        "event_time": parse_past_instant(
            "event_time", record.get("event_time", record.get("timestamp")), now
        ),
        "event_type": "failure" if kind == "" else normalise_event_type(parse_text("event_type", kind, 100)),
        "component_failed": None if component in (None, "") else parse_text("component_failed", component),
        "operating_hours_at_failure": hours,
    }


def _device(record: JSON) -> str:
    said = record.get("device_id", record.get("device"))
    number = isinstance(said, int) and not isinstance(said, bool)
    return parse_text("device_id", str(said) if number else said)
