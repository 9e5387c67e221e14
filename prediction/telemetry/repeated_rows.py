"""Rows of one delivery that have the device and the time of another one of it."""

from __future__ import annotations

from typing import Final, NamedTuple

from storage.devices.telemetry import TelemetryRows
from storage.times import format_nanoseconds

_MAX_NAMED: Final = 5


class JoinedRows(NamedTuple):
    """Telemetry with one row for each device and time, how many rows were joined to others, and warnings."""

    rows: TelemetryRows
    repeated: int
    warnings: list[str]


def join_repeated(rows: TelemetryRows) -> JoinedRows:
    """Return rows with one for each device and time: of two values of a channel the later one stays and is told."""
    moments = list(zip(rows.devices, rows.times, strict=True))
    positions: dict[tuple[str, int], int] = {}
    for number, moment in enumerate(moments):
        positions.setdefault(moment, number)
    if len(positions) == len(moments):
        return JoinedRows(rows, 0, [])
    joined = {number: dict(rows.channels[number]) for number in positions.values()}
    conflicts: dict[str, None] = {}
    for number, moment in enumerate(moments):
        first = positions[moment]
        if number == first:
            continue
        target = joined[first]
        for name, value in rows.channels[number].items():
            if name in target and target[name] != value:
                time = format_nanoseconds(moment[1] * 1000)
                conflicts[f"{name} of {moment[0]} at {time} is {value:g}, not {target[name]:g}"] = None
            target[name] = value
    kept = sorted(joined)
    distinct = TelemetryRows(
        [rows.devices[number] for number in kept],
        [rows.times[number] for number in kept],
        [joined[number] for number in kept],
    )
    warnings = []
    if conflicts:
        more = ", …" if len(conflicts) > _MAX_NAMED else ""
        warnings.append(
            f"Rows of one device and time have different values, {len(conflicts):,} times; the later one was kept: "
            f"{'; '.join(list(conflicts)[:_MAX_NAMED])}{more}. Local times repeat an hour in autumn: send times in "
            "UTC or with their offset"
        )
    return JoinedRows(distinct, len(moments) - len(kept), warnings)
