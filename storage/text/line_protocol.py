"""InfluxDB line protocol: one point a line, ``measurement,tag=a field=1.5,other=2i 1700000000000000000``.

Own code, because the parsers for Python are no longer maintained. Specification:
https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

# Divisors and factors from a precision to microseconds; nanoseconds are rounded down.
PRECISIONS: Final = {"ns": (1, 1_000), "us": (1, 1), "ms": (1_000, 1), "s": (1_000_000, 1)}
_KEY: Final = r"(?:\\.|[^\\ ,=])+"
_SERIES: Final = re.compile(rf"((?:\\.|[^\\ ,])+)((?:,{_KEY}={_KEY})*) +")
_TAG: Final = re.compile(rf",({_KEY})=({_KEY})")
_FIELD: Final = re.compile(rf'({_KEY})=("(?:\\.|[^"\\])*"|[^ ,"]+)(,|$| +)')
_TIME: Final = re.compile(r"[+-]?[0-9]{1,19}$")
_FLOAT: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$")
_INTEGER: Final = re.compile(r"(?:[+-]?[0-9]{1,19}i|[0-9]{1,20}u)$")
_BOOLEANS: Final = dict.fromkeys(("t", "T", "true", "True", "TRUE"), 1.0) | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), 0.0
)
_ESCAPED: Final = re.compile(r"\\([ ,=])")


@dataclass(frozen=True)
class Point:
    """One line. ``fields`` holds the numbers and, as 1 and 0, the booleans; ``time`` is in the line's own unit."""

    measurement: str
    tags: Mapping[str, str]
    fields: Mapping[str, float]
    time: int | None


def parse_point(line: str) -> Point:
    """Return what a line says; its text fields are left out.

    Raises
    ------
    ValueError
        It is no line of the protocol, or has two values for one name; the message says where.
    """
    series = _SERIES.match(line)
    if series is None:
        raise ValueError(
            "a measurement, with tags such as ,host=a, and a space before the fields are expected"
        )
    pairs = (
        [(_unescape(key), _unescape(value)) for key, value in _TAG.findall(series[2])] if series[2] else []
    )
    tags = dict(pairs)
    if len(tags) < len(pairs):
        raise ValueError(f"it has the tag {_find_repeated(key for key, _ in pairs)!r} twice")
    fields: dict[str, float] = {}
    keys: list[str] = []
    position, separator = series.end(), ","
    while separator == ",":
        match = _FIELD.match(line, position)
        if match is None:
            raise ValueError(f"a field such as value=1.5 is expected at character {position + 1}")
        key, text, separator = match.groups()
        keys.append(_unescape(key))
        if not text.startswith('"'):
            fields[keys[-1]] = _parse_value(text)
        position = match.end()
    if len(set(keys)) < len(keys):
        raise ValueError(f"it has the field {_find_repeated(keys)!r} twice")
    rest = line[position:].strip(" ")
    if rest and not _TIME.match(rest):
        raise ValueError(f"the timestamp {rest[:30]!r} is no whole number")
    return Point(_unescape(series[1]), tags, fields, int(rest) if rest else None)


def _parse_value(text: str) -> float:
    if _FLOAT.match(text):
        return float(text)
    if _INTEGER.match(text):
        return float(text[:-1])
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    raise ValueError(f"{text[:30]!r} is no number, boolean or quoted text")


def _find_repeated(names: Iterable[str]) -> str:
    (name, _), *_ = Counter(names).most_common(1)
    return name


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text
