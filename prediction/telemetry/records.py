"""Telemetry and failure events from clients, checked line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Final, TypeVar

from prediction.records.columns import ALIASES
from prediction.records.fields import (
    FieldError,
    RecordFault,
    count_placeholders,
    is_empty,
    parse_identifier,
    parse_number,
    parse_past_instant,
    parse_record_time,
    parse_text,
    to_microseconds,
)
from prediction.records.parsing import NumberedRecord, UnreadableLine
from prediction.records.schema import RecordSchema
from storage.devices.failures import FailureEvent
from storage.devices.tables import NEUTRAL_EVENTS, PLANNED_EVENTS, normalise_event_type
from storage.devices.telemetry import TelemetryRows

T = TypeVar("T")

MAX_RECORDS: Final = 500_000
MAX_CHANNELS: Final = 500
MAX_NAME_LENGTH: Final = 100
MAX_OPERATING_HOURS: Final = 10_000_000
MAX_NAMED_TYPES: Final = 10
DEVICE_NAMES: Final = ("device_id", *ALIASES["device_id"])
TELEMETRY_SCHEMA: Final = RecordSchema(
    required=(DEVICE_NAMES,), time=("timestamp",), optional=frozenset({"id", "tenant_id"}), has_channels=True
)
FAILURE_SCHEMA: Final = RecordSchema(
    required=(DEVICE_NAMES,),
    time=("event_time", *ALIASES["event_time"]),
    optional=frozenset({"event_type", "component_failed", "operating_hours_at_failure", "tenant_id"}),
)
NO_CHANNELS: Final = frozenset({"id", "device_id", "device", "timestamp", "tenant_id"})


def parse_telemetry(
    records: Sequence[NumberedRecord], tenant: str, is_single: bool = False
) -> tuple[TelemetryRows, list[RecordFault]]:
    """Return rows of telemetry in columns, and a fault for every wrong line.

    Parameters
    ----------
    records : sequence of (int, Any)
        Lines and their objects with ``device_id``, ``timestamp`` and values by channel.
    tenant : str
        The tenant of the key; rows of another one are wrong.
    is_single : bool
        Whether this is a single row, which is of this moment if it has no time.

    Raises
    ------
    InvalidRecords
        A column is missing.
    """
    TELEMETRY_SCHEMA.check(records, is_single)
    now = datetime.now(UTC)

    def parse_row(record: Mapping[str, object]) -> tuple[str, int, Mapping[str, float]]:
        time = parse_record_time(record.get("timestamp"), now, is_single)
        return parse_device(record), to_microseconds(time), parse_values(record)

    rows, faults = parse_each(records, tenant, parse_row)
    return TelemetryRows.from_rows(rows), faults


def parse_failures(
    records: Sequence[NumberedRecord], tenant: str, is_single: bool = False
) -> tuple[list[FailureEvent], list[RecordFault]]:
    """Return failure events as the store takes them, and a fault for every wrong line.

    Raises
    ------
    InvalidRecords
        A column is missing.
    """
    FAILURE_SCHEMA.check(records, is_single)
    now = datetime.now(UTC)
    return parse_each(records, tenant, lambda record: _parse_event(record, now))


def count_event_types(events: Iterable[FailureEvent]) -> tuple[dict[str, int], list[str]]:
    """Count failures, planned ends and harmless events, and warn of unknown types."""
    counts = Counter(event["event_type"] for event in events)
    totals = {
        "failures": sum(
            count for name, count in counts.items() if name not in PLANNED_EVENTS | NEUTRAL_EVENTS
        ),
        "planned_ends": sum(counts[name] for name in PLANNED_EVENTS),
        "harmless": sum(counts[name] for name in NEUTRAL_EVENTS),
    }
    unknown = sorted(counts.keys() - PLANNED_EVENTS - NEUTRAL_EVENTS - {"failure"})
    if not unknown:
        return totals, []
    examples = []
    for name in unknown[:MAX_NAMED_TYPES]:
        close = get_close_matches(name.lower(), sorted(PLANNED_EVENTS | NEUTRAL_EVENTS), 1, 0.6)
        hint = f", did you mean {close[0]}?" if close else ""
        examples.append(f"{name!r} ({counts[name]}{hint})")
    more = f" and {len(unknown) - MAX_NAMED_TYPES} more" if len(unknown) > MAX_NAMED_TYPES else ""
    known = (
        f"planned ends are {' and '.join(sorted(PLANNED_EVENTS))}, "
        f"an {' or '.join(NEUTRAL_EVENTS)} ends nothing"
    )
    return totals, [f"Counted as failures, of types that are unknown: {', '.join(examples)}{more}; {known}"]


def count_placeholder_values(rows: TelemetryRows) -> Counter[tuple[str, float]]:
    """Count the values of each channel that often stand for a missing value."""
    return count_placeholders(pair for row in rows.channels for pair in row.items())


def parse_values(record: Mapping[str, object]) -> dict[str, float]:
    """Return the values of a row by channel, without empty cells.

    Raises
    ------
    FieldError
        A value is not a finite number, or there is none.
    """
    cells = {name: value for name, value in record.items() if name not in NO_CHANNELS and not is_empty(value)}
    if not cells:
        raise FieldError(None, "channels", 0, "the row has no value of any channel: leave it out")
    if len(cells) > MAX_CHANNELS:
        raise FieldError(None, "channels", len(cells), f"a row holds 1 to {MAX_CHANNELS} channels")
    try:
        return {
            parse_text("a channel's name", name, MAX_NAME_LENGTH): parse_number(name, value)
            for name, value in cells.items()
        }
    except FieldError as error:
        if "value" in cells and error.field != "value":
            error.message += "; channel_column names the column of the channels, if each line is one value"
        raise


def parse_each(
    records: Sequence[NumberedRecord], tenant: str, parse: Callable[[Mapping[str, object]], T]
) -> tuple[list[T], list[RecordFault]]:
    """Parse each record on its own; return the good ones and the faults of the others."""
    rows: list[T] = []
    faults: list[RecordFault] = []
    for line, record in records:
        try:
            if isinstance(record, UnreadableLine):
                raise FieldError(None, "syntax", None, record)
            if not isinstance(record, dict):
                raise FieldError(None, "type", record, "must be an object with device_id, a time and values")
            if record.get("tenant_id") not in (None, "", tenant):
                message = f"tenant_id must be {tenant!r}, the key's"
                raise FieldError("tenant_id", "tenant", record["tenant_id"], message)
            rows.append(parse(record))
        except FieldError as error:
            faults.append(error.to_dict(line))
    return rows, faults


def _parse_event(record: Mapping[str, object], now: datetime) -> FailureEvent:
    raw_hours = record.get("operating_hours_at_failure")
    hours = None if is_empty(raw_hours) else parse_number("operating_hours_at_failure", raw_hours)
    if hours is not None and not 0 <= hours <= MAX_OPERATING_HOURS:
        message = f"operating_hours_at_failure must be between 0 and {MAX_OPERATING_HOURS:,}, got {hours:g}"
        raise FieldError("operating_hours_at_failure", "range", hours, message)
    component, event_type = record.get("component_failed"), record.get("event_type", "failure")
    return {
        "device_id": parse_device(record),
        "event_time": parse_past_instant(
            "event_time", record.get("event_time", record.get("timestamp")), now
        ),
        "event_type": (
            "failure" if event_type == "" else normalise_event_type(parse_text("event_type", event_type, 100))
        ),
        "component_failed": None if component in (None, "") else parse_text("component_failed", component),
        "operating_hours_at_failure": hours,
    }


def parse_device(record: Mapping[str, object]) -> str:
    """Return the device of a record."""
    raw = record.get("device_id", record.get("device"))
    # Tables often number their devices; a boolean is an integer in Python, but no number of a device.
    is_number = isinstance(raw, int) and not isinstance(raw, bool)
    return parse_identifier("device_id", str(raw) if is_number else raw)
