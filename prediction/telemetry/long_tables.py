"""Long tables of telemetry: a line has a device, a time, the name of a channel and its value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from prediction.records.fields import (
    FieldError,
    RecordFault,
    is_empty,
    parse_number,
    parse_record_time,
    parse_text,
    to_microseconds,
)
from prediction.records.parsing import NumberedRecord
from prediction.records.schema import RecordSchema
from prediction.telemetry.records import (
    DEVICE_NAMES,
    MAX_NAME_LENGTH,
    NO_CHANNELS,
    parse_device,
    parse_each,
)
from storage.devices.joined_values import JoinedValues, ValueConflict
from storage.devices.telemetry import TelemetryRows
from storage.times import from_microseconds

LONG_SCHEMA: Final = RecordSchema(
    required=(DEVICE_NAMES, ("channel",), ("value",)),
    time=("timestamp",),
    optional=frozenset({"tenant_id"}),
)


def parse_long_table(
    records: Sequence[NumberedRecord], tenant: str, is_single: bool = False
) -> tuple[TelemetryRows, list[RecordFault]]:
    """Return the values of a long table joined by device and time; parameters as in `parse_telemetry`.

    Raises
    ------
    InvalidRecords
        A column is missing.
    """
    values, faults = parse_values_of_channels(records, tenant, is_single)
    with JoinedValues() as joined:
        joined.add(values)
        faults += describe_conflicts(joined.find_conflicts())
        batches = list(joined.rows())
    rows = TelemetryRows(
        [device for batch in batches for device in batch.devices],
        [time for batch in batches for time in batch.times],
        [channels for batch in batches for channels in batch.channels],
    )
    return rows, faults


def parse_values_of_channels(
    records: Sequence[NumberedRecord], tenant: str, is_single: bool = False
) -> tuple[TelemetryRows, list[RecordFault]]:
    """Return a row with one channel for each line that has a value, and a fault for every wrong line.

    Raises
    ------
    InvalidRecords
        A column is missing.
    """
    LONG_SCHEMA.check(records, is_single)
    now = datetime.now(UTC)

    def parse_line(record: Mapping[str, object]) -> tuple[str, int, Mapping[str, float]]:
        time = to_microseconds(parse_record_time(record.get("timestamp"), now, is_single))
        device, channel, value = (
            parse_device(record),
            _parse_channel(record.get("channel")),
            record.get("value"),
        )
        return device, time, {} if is_empty(value) else {channel: parse_number(channel, value)}

    lines, faults = parse_each(records, tenant, parse_line)
    return TelemetryRows.from_rows([line for line in lines if line[2]]), faults


def describe_conflicts(conflicts: Iterable[ValueConflict]) -> list[RecordFault]:
    """Return a fault for each channel that has two values at one time."""
    return [
        FieldError(
            conflict.channel,
            "ambiguous",
            None,
            f"{conflict.channel} of {conflict.device_id} has two values at "
            f"{from_microseconds(conflict.time):%Y-%m-%d %H:%M:%S.%f}".removesuffix(".000000")
            + f" UTC: {conflict.low:g} and {conflict.high:g}; leave one out",
        ).to_dict(None)
        for conflict in conflicts
    ]


def _parse_channel(raw: object) -> str:
    is_numbered = isinstance(raw, int) and not isinstance(raw, bool)
    name = parse_text("channel", str(raw) if is_numbered else raw, MAX_NAME_LENGTH)
    if name in NO_CHANNELS:
        raise FieldError(
            "channel", "reserved", name, f"{name} is the name of another field, and of no channel"
        )
    return name
