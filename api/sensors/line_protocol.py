"""Readings as InfluxDB line protocol, so that Telegraf and every client of InfluxDB can write them."""

from __future__ import annotations

import gzip
import io
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, cast

import numpy as np
from flask import request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate
from werkzeug.exceptions import RequestEntityTooLarge

from api.http.context import manager
from api.http.fields import QueryFlag
from api.http.request_body import read_body
from api.http.resource import Query, Resource
from api.sensors.context import tenant
from api.sensors.reading_tags import TagNumbers
from api.sensors.readings import store_readings
from errors import BodyTooLarge, Conflict, MalformedBody, NotReady
from prediction.records.fields import MAX_ABS_VALUE, MAX_CLOCK_ERROR, MAX_INSTANT, MIN_INSTANT
from prediction.sensors.readings.reading_records import (
    MAX_READINGS,
    SENSOR_NAMES,
    TAG_RULE,
    OnUnknown,
    explain_unusable_tag,
    is_tag,
    is_valid_tag,
)
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import to_microseconds
from storage.text.line_protocol import PRECISIONS, Point, parse_point
from storage.times import utc_now

resource = Resource("line-protocol", "Readings as InfluxDB line protocol.")

PATH = "/api/v2/write"
_VALUE = "value"
# Telegraf adds it to every point; it names the gateway, not the sensor.
_HOST = "host"
_MAX_NAMED_FAULTS = 5
_MAX_LINE_SHOWN = 80
_MAX_SENSOR_ID = 2**31 - 1
# Today's seconds read as milliseconds or less, and today's milliseconds read as less, are times before it.
_END_OF_JANUARY_1970 = 31 * 86_400 * 1_000_000
# A line of a thousand fields has a tenth of it.
MAX_LINE_BYTES = 1_000_000
# Where the application sets no limit, as in tests.
MAX_UNLIMITED_BYTES = 1_000_000_000


class WriteQuery(Schema):
    """The query of InfluxDB's write, and how readings are ingested."""

    precision = fields.String(load_default="ns", validate=validate.OneOf(tuple(PRECISIONS)))
    bucket = fields.String(metadata={"description": "Read by InfluxDB only."})
    org = fields.String(metadata={"description": "Read by InfluxDB only."})
    orgID = fields.String(metadata={"description": "Read by InfluxDB only."})  # noqa: N815
    detect = QueryFlag("0: do not look for anomalies.", default=True)
    on_unknown = fields.String(
        load_default=OnUnknown.QUEUE,
        validate=validate.OneOf(tuple(OnUnknown)),
        metadata={"description": "Readings of unknown tags wait, make sensors (`create`), or are refused."},
    )


@dataclass
class ParsedLines:
    """Readings by columns, with the line of each, and what is wrong with other lines.

    Attributes
    ----------
    dropped : set of int
        The lines that are wrong.
    faults : list of str
        What is wrong with the first of them.
    """

    names: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    dropped: set[int] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def drop(self, number: int, message: str) -> None:
        """Note what is wrong with a line; a body may have millions of wrong lines, and few messages are shown."""
        if number not in self.dropped and len(self.faults) < _MAX_NAMED_FAULTS:
            self.faults.append(f"line {number}: {message}")
        self.dropped.add(number)

    def add(self, number: int, name: str, at: int, value: float) -> None:
        """Add one reading."""
        self.names.append(name)
        self.times.append(at)
        self.values.append(value)
        self.lines.append(number)


@resource.operation(
    PATH,
    {204: {}},
    method="POST",
    role="train",
    query=WriteQuery,
    body={
        "required": True,
        "content": {
            "text/plain": {"schema": {"type": "string"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    idempotent=True,
    accepts_gzip=True,
)
def write_line_protocol(query: Query) -> ResponseReturnValue:
    """Store readings in InfluxDB line protocol, plain or gzipped.

    ---
    Valid lines are stored, and invalid ones named in an error 400, as InfluxDB does. Errors have its shape.
    """
    try:
        parsed = parse_lines(_read_lines(), query["precision"])
    except (zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise MalformedBody(f"The body is not gzip, as its Content-Encoding says: {error}") from error
    stored = _store(parsed, query["on_unknown"], query["detect"])
    if parsed.dropped:
        counts = f"{stored:,} readings stored, {len(parsed.dropped):,} lines dropped"
        raise MalformedBody(f"partial write: {counts}: {'; '.join(parsed.faults)}")
    return "", 204


@resource.operation("/ping", {204: {}}, role=None)
def answer_ping() -> ResponseReturnValue:
    """Return that a server is here, as clients of InfluxDB ask before they write."""
    return "", 204


def error_to_dict(status: int, message: str) -> dict[str, object]:
    """Return an error in the shape that clients of InfluxDB read; ``success`` and ``error`` are ours."""
    codes = {
        401: "unauthorized",
        403: "forbidden",
        404: "not found",
        409: "conflict",
        413: "request too large",
        429: "too many requests",
    }
    default = "unavailable" if status in (503, 507) else "internal error"
    code = codes.get(status, "invalid" if status < 500 else default)
    return {"success": False, "error": message, "code": code, "message": message}


def parse_lines(lines: Iterable[bytes], precision: str) -> ParsedLines:
    """Return the readings of a text, and what is wrong with other lines.

    Raises
    ------
    MalformedBody
        There is no point in it, or a line is too long or not UTF-8.
    BodyTooLarge
        There are too many points and wrong lines; clients of InfluxDB then send fewer at once.
    """
    parsed, clock = ParsedLines(), _Clock(precision)
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_BYTES:
            raise MalformedBody(f"line {number} is longer than {MAX_LINE_BYTES:,} bytes")
        try:
            content = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise MalformedBody(f"line {number} is not UTF-8") from error
        if not content or content.startswith("#"):
            continue
        try:
            point = parse_point(content)
            at = clock.read(point.time)
            for name, value in list(_readings(point)):
                parsed.add(number, name, at, value)
        except ValueError as error:
            parsed.drop(number, f"unable to parse {content[:_MAX_LINE_SHOWN]!r}: {error}")
        if len(parsed.names) + len(parsed.dropped) > MAX_READINGS:
            raise BodyTooLarge(_describe_excess(parsed))
    if not parsed.names and not parsed.dropped:
        raise MalformedBody("writing requires points: the body has none")
    return parsed


def _describe_excess(parsed: ParsedLines) -> str:
    """Return why a body is too large; where it is full of wrong lines, a smaller one would be no better."""
    wrong = len(parsed.dropped)
    named = f"; {wrong:,} lines are wrong: {'; '.join(parsed.faults)}" if wrong else ""
    return (
        f"More than {MAX_READINGS:,} readings{' and wrong lines' if wrong else ''} came, as many as fit in one write"
        f"{named}"
    )


class _Clock:
    """Turns timestamps of one precision into microseconds since 1970, and refuses impossible ones."""

    def __init__(self, precision: str) -> None:
        self._factor, self._divisor = PRECISIONS[precision]
        self._precision = precision
        self._now = int(time.time() * 1e6)
        latest = min(utc_now() + MAX_CLOCK_ERROR, MAX_INSTANT)
        self._first, self._last = to_microseconds(MIN_INSTANT), to_microseconds(latest)

    def read(self, stamp: int | None) -> int:
        if stamp is None:
            return self._now
        at = stamp * self._factor // self._divisor
        if not self._first <= at <= self._last:
            raise ValueError(
                f"{stamp} {self._precision} is no time between 1900 and tomorrow: is it another precision?"
            )
        if self._precision != "s" and 0 <= at < _END_OF_JANUARY_1970:
            raise ValueError(
                f"{stamp} {self._precision} lies in January 1970: is it another precision, or a clock that was not set?"
            )
        return at


def _readings(point: Point) -> Iterator[tuple[str, float]]:
    """Yield the sensor of each field, and its value.

    Raises
    ------
    ValueError
        There is no number, nothing says which sensor it is, or no sensor can have that name.
    """
    if not point.fields:
        raise ValueError("it has no number: texts are no readings")
    names = {key: point.tags[key].strip() for key in SENSOR_NAMES if key in point.tags}
    if len(set(names.values())) > 1:
        named = " and ".join(f"{key}={name}" for key, name in names.items())
        raise ValueError(f"its tags {named[:60]} name two sensors: send one of them")
    name = next(iter(names.values()), None)
    if name is None:
        others = [key for key in point.tags if key != _HOST]
        if others:
            raise ValueError(
                f"its tags ({', '.join(others)[:60]}) do not say which sensor it is: name it by a tag called `tag`"
            )
        name = point.measurement
    name = name.strip()
    for key, value in point.fields.items():
        if abs(value) > MAX_ABS_VALUE:
            raise ValueError(f"{key} lies beyond ±{MAX_ABS_VALUE:g}")
        sensor = name if key == _VALUE else f"{name}.{key}".strip()
        if not name or (is_tag(sensor) and not is_valid_tag(sensor)):
            raise ValueError(f"no sensor can be called {sensor[:_MAX_LINE_SHOWN]!r}: a tag has {TAG_RULE}")
        yield sensor, value


def _store(parsed: ParsedLines, on_unknown: str, detect: bool) -> int:
    """Store the readings of known sensors, let the others wait; name those that cannot; return how many stay."""
    tags = TagNumbers({name for name in parsed.names if is_tag(name)}, on_unknown)
    numbers = [tags.numbers.get(name, 0) if is_tag(name) else _parse_id(name) for name in parsed.names]
    known = manager().sensors.sensors.get_many(tenant(), {number for number in numbers if number > 0})
    is_usable = [number < 0 or number in known for number in numbers]
    for line, name, usable in zip(parsed.lines, parsed.names, is_usable, strict=True):
        if not usable:
            reason = explain_unusable_tag(name) if is_tag(name) else None
            hint = f": {reason}" if reason else ""
            parsed.drop(line, f"there is no sensor {name[:_MAX_LINE_SHOWN]!r}{hint}")
    rows = np.flatnonzero(is_usable)
    block = ReadingBlock(
        np.array(numbers, np.int64)[rows],
        np.array(parsed.times, np.int64)[rows],
        np.array(parsed.values, np.float64)[rows],
    )
    try:
        block, waits = tags.settle(block)
        if tags.created:
            known = manager().sensors.sensors.get_many(tenant(), set(block.sensors.tolist()))
        store_readings(block, known, detect, waits)
    except Conflict as error:  # clients of InfluxDB keep what a server is not ready for, and drop the rest
        raise NotReady(error.message, retry_after=60) from error
    return len(block) + (len(waits.tags) if waits else 0)


def _parse_id(name: str) -> int:
    return number if len(name) < 12 and 0 < (number := int(name)) <= _MAX_SENSOR_ID else 0


def _read_lines() -> Iterator[bytes]:
    """Yield the lines of the body, decompressed as they are read: a small gzip body may hold gigabytes.

    Raises
    ------
    RequestEntityTooLarge
        Together they are larger than a body may be.
    """
    body: IO[bytes] = io.BytesIO(read_body())
    if request.headers.get("Content-Encoding", "identity").lower() == "gzip":
        body = cast("IO[bytes]", gzip.GzipFile(fileobj=body))
    left = request.max_content_length or MAX_UNLIMITED_BYTES
    while line := body.readline(MAX_LINE_BYTES + 1):
        left -= len(line)
        if left < 0:
            raise RequestEntityTooLarge
        yield line
