"""Requests to the models for remaining useful life: options, and a device or its last rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from errors import InvalidContent, InvalidRecords
from prediction.contract import JSON, Options, RecordBatch, RequestParser
from prediction.options import load_options
from prediction.records.fields import (
    FieldError,
    RecordFault,
    is_number,
    parse_coverage,
    parse_instant,
    parse_text,
    to_microseconds,
)
from prediction.rul.data.label import MICROSECONDS_PER_HOUR
from prediction.rul.options import RulOptions
from prediction.rul.preprocessing.preprocessor import AlarmCosts, RulInput
from prediction.telemetry.records import parse_values

T = TypeVar("T")

MAX_ROWS: Final = 20_000
MAX_DEVICES: Final = 1_000
_FIELDS: Final = frozenset({"rows", "device_id", "devices", "coverage", "costs", "window_hours"})
# Rows without times are put so far apart that no option averages them.
_UNDATED_STEP: Final = 10_000 * MICROSECONDS_PER_HOUR


class RulRequestParser(RequestParser):
    """Checks options, and devices or their rows."""

    def parse_options(self, raw: Mapping[str, object]) -> Options:
        return load_options(RulOptions, raw)

    def parse_inputs(self, raw: object) -> RecordBatch:
        """Check a window's rows, one device's name, or the names of several.

        ``{"rows": […]}`` (or the list itself, oldest first), ``{"device_id": …}`` or ``{"devices": […]}``,
        each optionally with ``coverage`` and ``costs`` (``{"late": …, "early": …}``, for each hour).
        """
        request = {"rows": raw} if isinstance(raw, list) else raw
        if not isinstance(request, dict):
            raise InvalidContent(
                'Send {"rows": [{channel: value, …}, …]}, {"device_id": …} or {"devices": […]}'
            )
        wishes = {"coverage": parse_coverage(request.get("coverage")), "costs": _parse_costs(request)}
        ignored = sorted(map(str, set(request) - _FIELDS))
        return RecordBatch([{**item, **wishes} for item in _parse_items(request)], ignored_fields=ignored)


def _parse_items(request: JSON) -> Iterator[RulInput]:
    """Yield each device or window of the request."""
    if request.get("rows") is not None:
        rows = request["rows"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_ROWS:
            raise InvalidContent(f"Send 1 to {MAX_ROWS:,} rows, oldest first")
        named = [device for device in [request.get("device_id")] if device is not None]
        yield _parse_window(rows, *_parse_each(named, lambda device: parse_text("device_id", device)))
        return
    devices = request.get("devices", [request.get("device_id")])
    if not isinstance(devices, list) or not 1 <= len(devices) <= MAX_DEVICES:
        raise InvalidContent(f"devices must be a list of 1 to {MAX_DEVICES:,} names")
    for name in _parse_each(devices, lambda device: parse_text("device_id", device)):
        yield {"device_id": name, "rows": [], "times": [], "dated": True}


def _parse_window(rows: Sequence[object], device_id: str | None = None) -> RulInput:
    """Return the rows of one device; without times they keep the order in which they were sent."""
    dated = any(isinstance(row, dict) and row.get("timestamp") for row in rows)

    def parse_row(row: object) -> tuple[dict[str, float], int]:
        if not isinstance(row, dict):
            raise FieldError(None, "type", row, "must be an object of channels and values")
        if not dated:
            return parse_values(row), 0
        if not row.get("timestamp"):
            message = "timestamp is missing, although other rows have one: give all rows one, or none"
            raise FieldError("timestamp", "missing", row.get("timestamp"), message)
        return parse_values(row), to_microseconds(parse_instant("timestamp", row["timestamp"]))

    parsed = _parse_each(rows, parse_row)
    times = [time for _, time in parsed] if dated else [n * _UNDATED_STEP for n in range(len(rows))]
    return {
        "device_id": device_id,
        "rows": [values for values, _ in parsed],
        "times": times,
        "dated": dated,
    }


def _parse_each(items: Sequence[object], parse: Callable[[Any], T]) -> list[T]:
    """Parse each item; InvalidRecords with the faults of all of them."""
    parsed: list[T] = []
    faults: list[RecordFault] = []
    for number, item in enumerate(items, 1):
        try:
            parsed.append(parse(item))
        except FieldError as error:
            faults.append(error.to_dict(number))
    if faults:
        raise InvalidRecords(faults)
    return parsed


def _parse_costs(request: Mapping[str, object]) -> AlarmCosts | None:
    costs = request.get("costs")
    if costs is None:
        return None
    if not isinstance(costs, dict) or set(costs) != {"late", "early"}:
        raise InvalidContent(
            'costs must be {"late": cost of an hour too late, "early": of an hour too early}'
        )
    if not all(is_number(cost) and 0 < cost < 1e15 for cost in costs.values()):
        raise InvalidContent("costs must be positive numbers")
    return {"late": float(costs["late"]), "early": float(costs["early"])}
