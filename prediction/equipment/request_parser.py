"""Requests to the model of an asset: options, and rows or a period of stored telemetry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from errors import InvalidContent, InvalidRecords
from prediction.contract import Options, RecordBatch, RequestParser
from prediction.equipment.options import EquipmentOptions
from prediction.equipment.predictor import AssetInput
from prediction.options import load_options
from prediction.records import RecordFault, TableRows
from prediction.records.fields import FieldError, parse_instant, parse_text, to_microseconds
from prediction.telemetry.records import parse_values

MAX_ROWS: Final = 20_000
_FIELDS: Final = frozenset({"rows", "device_id", "start", "end"})
_EXAMPLE: Final = (
    'Send {"rows": [{"timestamp": …, channel: value, …}, …]}, or {"start": …, "end": …} for stored telemetry'
)


class EquipmentRequestParser(RequestParser):
    """Checks options, and rows or periods."""

    def parse_options(self, raw: Mapping[str, object]) -> Options:
        return load_options(EquipmentOptions, raw)

    def parse_inputs(self, raw: object) -> RecordBatch:
        """Check the rows of one asset, or a period of its stored telemetry.

        ``{"rows": […]}`` (or the list itself, or the rows of a CSV text, oldest first), or ``{"start": …, "end": …}``;
        each optionally with ``device_id``. Without an end the period lasts until now.
        """
        request = {"rows": list(raw)} if isinstance(raw, list | TableRows) else raw
        if not isinstance(request, dict) or (request.get("rows") is None and request.get("start") is None):
            raise InvalidContent(_EXAMPLE)
        if request.get("rows") is not None and request.get("start") is not None:
            raise InvalidContent("Send either rows or the start of a period, not both")
        ignored = sorted(map(str, set(request) - _FIELDS))
        parse = _parse_rows if request.get("rows") is not None else _parse_period
        return RecordBatch([parse(request)], ignored_fields=ignored)


def _parse_rows(request: Mapping[str, object]) -> AssetInput:
    """Return rows; without times they keep the order in which they were sent."""
    rows = request["rows"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_ROWS:
        raise InvalidContent(f"Send 1 to {MAX_ROWS:,} rows, oldest first")
    dated = [isinstance(row, dict) and row.get("timestamp") not in (None, "") for row in rows]
    if any(dated) and not all(dated):
        raise InvalidContent(f"Row {dated.index(False) + 1} has no timestamp: give every row one, or none")
    device_id = _find_device(request, rows)
    values, times = _parse_each(rows, all(dated))
    if times != sorted(times):
        # In order of time, so that the rows of the answer are in the order of the rows sent.
        late = next(number for number in range(1, len(times)) if times[number] < times[number - 1])
        raise InvalidContent(f"Row {late + 1} is older than the row before it: send rows in order of time")
    return {
        "device_id": device_id,
        "rows": values,
        "times": times,
        "dated": all(dated),
        "context": 0,
    }


def _find_device(request: Mapping[str, object], rows: Sequence[object]) -> str | None:
    """Return whose rows these are, by the request or by themselves; refuse rows of several assets."""
    named = {
        str(row[name]): number
        for number, row in reversed([*enumerate(rows, 1)])
        if isinstance(row, dict)
        for name in ("device_id", "device")
        if row.get(name) not in (None, "")
    }
    asked = _parse_device(request)
    devices = sorted(named, key=named.__getitem__)
    if len(devices) > 1:
        first, second = devices[:2]
        raise InvalidContent(
            f"Row {named[first]} is of {first[:100]!r} and row {named[second]} of {second[:100]!r}: send the rows of "
            "one asset in each request"
        )
    if devices and asked is not None and devices != [asked]:
        raise InvalidContent(
            f"device_id is {asked!r}, and row {named[devices[0]]} is of {devices[0][:100]!r}"
        )
    return asked or (parse_text("device_id", devices[0]) if devices else None)


def _parse_each(rows: Sequence[object], dated: bool) -> tuple[list[dict[str, float]], list[int]]:
    """Return the values and times of rows; InvalidRecords with the faults of all of them."""
    values: list[dict[str, float]] = []
    times: list[int] = []
    faults: list[RecordFault] = []
    for number, row in enumerate(rows, 1):
        try:
            if not isinstance(row, dict):
                raise FieldError(None, "type", row, "must be an object of channels and values")
            values.append(parse_values(row))
            times.append(
                to_microseconds(parse_instant("timestamp", row["timestamp"])) if dated else number - 1
            )
        except FieldError as error:
            faults.append(error.to_dict(number))
    if faults:
        raise InvalidRecords(faults)
    return values, times


def _parse_period(request: Mapping[str, object]) -> AssetInput:
    """Return a period without its rows; the data source reads them."""
    try:
        start = to_microseconds(parse_instant("start", request["start"]))
        end = request.get("end")
        last = start if end is None else to_microseconds(parse_instant("end", end))
        device_id = _parse_device(request)
    except FieldError as error:
        raise InvalidRecords([error.to_dict(None)]) from error
    if last < start:
        raise InvalidContent("end must not be before start")
    times = [start] if end is None else [start, last]
    return {"device_id": device_id, "rows": [], "times": times, "dated": True, "context": 0}


def _parse_device(request: Mapping[str, object]) -> str | None:
    raw = request.get("device_id")
    try:
        return None if raw is None else parse_text("device_id", raw)
    except FieldError as error:
        raise InvalidRecords([error.to_dict(None)]) from error
