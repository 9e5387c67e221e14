"""Telemetry and failure events as clients send them, checked line by line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

from prediction.contract import JSON
from prediction.record_fields import (
    WrongField,
    finite,
    in_microseconds,
    past_instant,
    placeholders,
    text,
    time_of,
)
from prediction.record_form import Form
from prediction.record_lines import Numbered, Unreadable
from storage.devices.tables import HARMLESS, PLANNED, kind_of
from storage.devices.telemetry import Samples

MOST_RECORDS = 500_000
MOST_CHANNELS = 500
LONGEST_NAME = 100
MOST_HOURS = 10_000_000
MOST_TYPES = 10
_DEVICE = ("device_id", "device")
ROW: Final = Form(
    needed=(_DEVICE,), time=("timestamp",), others=frozenset({"id", "tenant_id"}), channels=True
)
EVENT: Final = Form(
    needed=(_DEVICE,),
    time=("event_time", "timestamp"),
    others=frozenset({"event_type", "component_failed", "operating_hours_at_failure", "tenant_id"}),
)
_ASIDE = frozenset({"id", "device_id", "device", "timestamp", "tenant_id"})


def telemetry(sent: Sequence[Numbered], tenant: str, alone: bool = False) -> tuple[Samples, list[JSON]]:
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
    ROW.check(sent, alone)
    now = datetime.now(UTC)
    rows, faults = _checked(sent, tenant, lambda record: _sample(record, now, alone))
    devices, times, channels = zip(*rows, strict=True) if rows else ((), (), ())
    return Samples(devices, times, channels), faults


def failures(sent: Sequence[Numbered], tenant: str, alone: bool = False) -> tuple[list[JSON], list[JSON]]:
    """Failure events as the store takes them, and every line that is wrong; each says when it was.

    Raises
    ------
    InvalidRecords
        A column is missing.
    """
    EVENT.check(sent, alone)
    now = datetime.now(UTC)
    return _checked(sent, tenant, lambda record: _event(record, now))


def understood(events: Iterable[JSON]) -> tuple[dict[str, int], list[str]]:
    """How many failures, planned ends and harmless events these are, and a warning of unknown types."""
    kinds = Counter(event["event_type"] for event in events)
    counts = {
        "failures": sum(count for kind, count in kinds.items() if kind not in PLANNED | HARMLESS),
        "planned_ends": sum(kinds[kind] for kind in PLANNED),
        "harmless": sum(kinds[kind] for kind in HARMLESS),
    }
    strange = sorted(kinds.keys() - PLANNED - HARMLESS - {"failure"})
    if not strange:
        return counts, []
    named = ", ".join(f"{kind!r} ({kinds[kind]}{_meant(kind)})" for kind in strange[:MOST_TYPES])
    more = f" and {len(strange) - MOST_TYPES} more" if len(strange) > MOST_TYPES else ""
    known = f"planned ends are {' and '.join(sorted(PLANNED))}, an {' or '.join(HARMLESS)} ends nothing"
    return counts, [f"Counted as failures, of types that are unknown: {named}{more}; {known}"]


def _meant(kind: str) -> str:
    close = get_close_matches(kind.lower(), sorted(PLANNED | HARMLESS), 1, 0.6)
    return f", did you mean {close[0]}?" if close else ""


def odd_values(samples: Samples) -> Counter[tuple[str, float]]:
    """How often each channel holds a number that often stands for a missing value."""
    return placeholders(told for row in samples.channels for told in row.items())


def _checked(
    sent: Sequence[Numbered], tenant: str, read: Callable[[JSON], Any]
) -> tuple[list[Any], list[JSON]]:
    rows: list[Any] = []
    faults: list[JSON] = []
    for line, record in sent:
        try:
            rows.append(read(_object(record, tenant)))
        except WrongField as wrong:
            faults.append(wrong.fault(line))
    return rows, faults


def _object(record: Any, tenant: str) -> JSON:
    if isinstance(record, Unreadable):
        raise WrongField(None, "syntax", None, record)
    if not isinstance(record, dict):
        raise WrongField(None, "type", record, "must be an object with device_id, a time and values")
    if record.get("tenant_id") not in (None, "", tenant):
        raise WrongField(
            "tenant_id", "tenant", record["tenant_id"], f"tenant_id must be {tenant!r}, the key's"
        )
    return record


def _sample(record: JSON, now: datetime, alone: bool) -> tuple[str, int, Mapping[str, float]]:
    time = time_of(record.get("timestamp"), now, alone)
    return _device(record), in_microseconds(time), values(record)


def values(record: Mapping[str, Any]) -> dict[str, float]:
    """The values of a row by channel; empty cells are left out.

    Raises
    ------
    WrongField
        A value is no finite number, or there is none.
    """
    told = {name: said for name, said in record.items() if name not in _ASIDE and said not in (None, "")}
    if not told:
        raise WrongField(None, "channels", 0, "the row has no value of any channel: leave it out")
    if len(told) > MOST_CHANNELS:
        raise WrongField(None, "channels", len(told), f"a row holds 1 to {MOST_CHANNELS} channels")
    return {text("a channel's name", name, LONGEST_NAME): finite(name, said) for name, said in told.items()}


def _event(record: JSON, now: datetime) -> JSON:
    said = record.get("operating_hours_at_failure")
    hours = None if said in (None, "") else finite("operating_hours_at_failure", said)
    if hours is not None and not 0 <= hours <= MOST_HOURS:
        said = f"operating_hours_at_failure must be between 0 and {MOST_HOURS:,}, got {hours:g}"
        raise WrongField("operating_hours_at_failure", "range", hours, said)
    component, kind = record.get("component_failed"), record.get("event_type", "failure")
    return {
        "device_id": _device(record),
        "event_time": past_instant("event_time", record.get("event_time", record.get("timestamp")), now),
        "event_type": "failure" if kind == "" else kind_of(text("event_type", kind, 100)),
        "component_failed": None if component in (None, "") else text("component_failed", component),
        "operating_hours_at_failure": hours,
    }


def _device(record: JSON) -> str:
    said = record.get("device_id", record.get("device"))
    number = isinstance(said, int) and not isinstance(said, bool)
    return text("device_id", str(said) if number else said)
