"""Values of record fields: each is parsed on its own, and a wrong one raises `FieldError` with the reason."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict, TypeGuard

from errors import InvalidContent
from prediction.records.parsing import NumberCell, TimeCell
from storage import times
from storage.placeholders import PLACEHOLDERS
from storage.text.dates import describe_two_days
from storage.text.numbers import AmbiguousNumber, describe_ambiguity, is_missing, parse_simple_number

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MIN_INSTANT: Final = datetime(1900, 1, 1, tzinfo=UTC)
# The last year whose instants fit into int64 nanoseconds, as pandas and Arrow store them.
MAX_INSTANT: Final = datetime(2262, 1, 1, tzinfo=UTC)
# How far a clock or a time zone may be wrong. Later times lie in the future, where nothing is measured.
MAX_CLOCK_ERROR: Final = timedelta(days=1)
# No measurement is larger, and the sum of squares of larger values overflows.
MAX_ABS_VALUE: Final = 1e100

CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# What Excel makes of a long number without being asked: its other digits are lost.
SHORTENED_NUMBER: Final = re.compile(r"\d([.,]\d+)?E\+\d+", re.ASCII | re.IGNORECASE)

_MAX_WARNINGS: Final = 20
_MAX_SHOWN: Final = 40


class RecordFault(TypedDict):
    """A wrong field in the form in which clients get it; ``record`` counts from 1."""

    record: int | None
    field: str | None
    code: str
    value: float | str | bool | None
    message: str


class FieldError(Exception):
    """A field of a record that cannot be used.

    Parameters
    ----------
    field : str or None
        None where the record as a whole is wrong.
    code : str
        The reason, for machines.
    message : str
        The reason, for people.
    """

    def __init__(self, field: str | None, code: str, value: object, message: str) -> None:
        super().__init__(message)
        self.field, self.code, self.value, self.message = field, code, value, message

    def to_dict(self, record: int | None) -> RecordFault:
        """Return the fault of a record; without a number, of the request as a whole."""
        return {
            "record": record,
            "field": self.field,
            "code": self.code,
            "value": self.value if isinstance(self.value, int | float | None) else str(self.value)[:100],
            "message": self.message if record is None else f"Record {record}: {self.message}",
        }


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value of a JSON document is a number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_empty(value: object) -> bool:
    """Return whether a field has no value: it is null, empty, or holds a word that programs write instead."""
    return value is None or (isinstance(value, str) and is_missing(value))


def parse_coverage(raw: object, lowest: float = 0.5, highest: float = 0.99) -> float | None:
    """Return the coverage that a prediction request asks for; None where it asks for none."""
    if raw is None:
        return None
    if not is_number(raw) or not lowest <= raw <= highest:
        raise InvalidContent(f"coverage must be a number from {lowest} to {highest}")
    return float(raw)


def parse_number(field: str, raw: Any) -> float:
    """Return a finite number; a string may have a decimal comma, and a cell of a table any notation."""
    try:
        if isinstance(raw, NumberCell):
            value = raw.number
        else:
            value = parse_simple_number(raw) if isinstance(raw, str) else float(raw)
    except AmbiguousNumber as error:
        raise FieldError(field, "ambiguous", raw, f"{field} {describe_ambiguity(raw)}") from error
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(raw, bool) or not math.isfinite(value):
        code = "missing" if raw is None else "type"
        raise FieldError(field, code, raw, f"{field} must be a finite number, got {_describe(raw)}")
    if abs(value) > MAX_ABS_VALUE:
        message = f"{field} must lie between {-MAX_ABS_VALUE:g} and {MAX_ABS_VALUE:g}"
        raise FieldError(field, "range", raw, message)
    return value


def parse_instant(field: str, raw: Any) -> datetime:
    """Return an RFC 3339 time between the years 1900 and 2262; without an offset it is UTC.

    A cell of a table may also be a date as its file writes it.
    """
    if isinstance(raw, TimeCell):
        if raw.time is None:
            raise FieldError(field, "ambiguous", raw, f"{field} {describe_two_days(raw)}")
        raw = raw.time.isoformat()
    try:
        instant = times.parse_instant(raw)
    except (AttributeError, ValueError, OverflowError) as error:
        message = f"{field} must be a date and time such as 2024-12-05T14:30:22Z, got {_describe(raw)}"
        raise FieldError(field, "missing" if raw is None else "time", raw, message) from error
    if not MIN_INSTANT <= instant <= MAX_INSTANT:
        raise FieldError(field, "range", raw, f"{field} must lie between the years 1900 and 2262")
    return instant


def parse_past_instant(field: str, raw: object, now: datetime) -> datetime:
    """Return an instant that is not more than a day ahead of this computer's clock."""
    instant = parse_instant(field, raw)
    if instant > now + MAX_CLOCK_ERROR:
        clock = now.isoformat(timespec="seconds")
        raise FieldError(field, "future", raw, f"{field} lies in the future: here it is {clock}")
    return instant


def parse_record_time(raw: object, now: datetime, is_single: bool) -> datetime:
    """Return the time of a record: now for a single record without one; in a table it is required."""
    if raw is not None and raw != "":
        return parse_past_instant("timestamp", raw, now)
    if is_single:
        return now
    message = "timestamp is missing: in a table every record says when"
    raise FieldError("timestamp", "missing", None, message)


def to_microseconds(instant: datetime) -> int:
    """Return an aware instant as microseconds since 1970."""
    return (instant - EPOCH) // timedelta(microseconds=1)


def parse_text(field: str, raw: object, max_length: int = 200) -> str:
    """Return a string that is not blank and that a database can store."""
    if not isinstance(raw, str) or not raw.strip() or len(raw) > max_length or "\0" in raw:
        code = "missing" if raw is None else "type"
        raise FieldError(field, code, raw, f"{field} must be a text of 1 to {max_length} characters")
    return raw.strip()


def parse_identifier(field: str, raw: object) -> str:
    """Return the name of a device; words for an empty cell and what a spreadsheet has shortened name none."""
    if is_empty(raw) and any(map(str.isalpha, str(raw))):
        raise FieldError(field, "missing", None, f"{field} is missing")
    text = parse_text(field, raw)
    # They would reach terminals and logs.
    if CONTROL_CHARACTERS.search(str(raw)):
        raise FieldError(field, "character", raw, f"{field} must not contain control characters")
    if SHORTENED_NUMBER.fullmatch(text):
        message = (
            f"{field} {text} is a number that a spreadsheet has shortened, so that different ones share it; "
            "format its column as text and export the table again"
        )
        raise FieldError(field, "shortened", raw, message)
    return text


def count_placeholders(values: Iterable[tuple[str, float]]) -> Counter[tuple[str, float]]:
    """Count the values of each field that often stand for a missing value."""
    return Counter(pair for pair in values if pair[1] in PLACEHOLDERS)


def placeholder_warnings(counts: Counter[tuple[str, float]]) -> list[str]:
    """Describe possible placeholders. The values are stored: only a person knows what they mean."""
    return [
        f"{field[:100]} is {value:.10g} {count:,} times, kept as it is: if that stands for a missing value, "
        "delete these rows, and leave it out"
        for (field, value), count in counts.most_common(_MAX_WARNINGS)
    ]


def _describe(value: object) -> str:
    return "nothing" if value is None else repr(value)[:_MAX_SHOWN]
