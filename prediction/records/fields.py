"""Fields of records as clients send them: read one by one, a wrong one named with what is wrong."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from prediction.contract import JSON
from storage.placeholders import PLACEHOLDERS

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MIN_INSTANT: Final = datetime(1900, 1, 1, tzinfo=UTC)
MAX_INSTANT: Final = datetime(2262, 1, 1, tzinfo=UTC)
MAX_CLOCK_ERROR: Final = timedelta(days=1)
"""How wrong a clock or a time zone may be; what is later lies in the future, where nothing is measured."""
MAX_ABS_VALUE: Final = 1e100
"""No measurement is larger, and sums of squares of larger ones are no numbers any more."""

_MOST_WARNED: Final = 20

_WRITTEN: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class FieldError(Exception):
    """A field that cannot be used, and why; ``fault`` is how clients are told."""

    def __init__(self, field: str | None, code: str, value: Any, said: str) -> None:
        super().__init__(said)
        self.field, self.code, self.value, self.said = field, code, value, said

    def fault(self, line: int) -> JSON:
        """The fault of the record on that line."""
        shown = self.value if isinstance(self.value, int | float | bool | None) else str(self.value)[:100]
        message = f"Record {line}: {self.said}"
        return {"record": line, "field": self.field, "code": self.code, "value": shown, "message": message}


def parse_number(field: str, said: Any) -> float:
    """A finite number that can be computed with; in a text a decimal comma is understood, too."""
    try:
        value = _number(said) if isinstance(said, str) else float(said)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if isinstance(said, bool) or not math.isfinite(value):
        raise FieldError(
            field, "missing" if said is None else "type", said, f"{field} must be a finite number"
        )
    if abs(value) > MAX_ABS_VALUE:
        raise FieldError(
            field, "range", said, f"{field} must lie between {-MAX_ABS_VALUE:g} and {MAX_ABS_VALUE:g}"
        )
    return value


def _number(said: str) -> float:
    """A number in a text: in the digits 0 to 9, and not 1_000, which Python reads, too."""
    parse_text = said.strip().replace(",", ".")
    if not _WRITTEN.fullmatch(parse_text):
        raise ValueError(said)
    return float(parse_text)


def parse_instant(field: str, said: Any) -> datetime:
    """An RFC 3339 time between the years 1900 and 2262, in UTC where it names no offset."""
    try:
        read = datetime.fromisoformat(said.strip())
        time = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (AttributeError, ValueError, OverflowError) as error:
        wanted = f"{field} must be a date and time such as 2024-12-05T14:30:22Z"
        raise FieldError(field, "missing" if said is None else "time", said, wanted) from error
    if not MIN_INSTANT <= time <= MAX_INSTANT:
        raise FieldError(field, "range", said, f"{field} must lie between the years 1900 and 2262")
    return time


def parse_past_instant(field: str, said: Any, now: datetime) -> datetime:
    """An instant as ``instant`` reads it that is over, or nearly: clocks may be wrong by a day."""
    time = parse_instant(field, said)
    if time > now + MAX_CLOCK_ERROR:
        clock = now.isoformat(timespec="seconds")
        raise FieldError(field, "future", said, f"{field} lies in the future: here it is {clock}")
    return time


def parse_record_time(said: Any, now: datetime, alone: bool) -> datetime:
    """The time of a record: now, where it says none and came alone; in a table every record says when."""
    if said is not None and said != "":
        return parse_past_instant("timestamp", said, now)
    if alone:
        return now
    raise FieldError("timestamp", "missing", None, "timestamp is missing: in a table every record says when")


def to_microseconds(time: datetime) -> int:
    """An aware instant as microseconds since 1970."""
    return (time - EPOCH) // timedelta(microseconds=1)


def count_placeholders(values: Iterable[tuple[str, float]]) -> Counter[tuple[str, float]]:
    """How often each field holds a number that often stands for a missing value."""
    return Counter(told for told in values if told[1] in PLACEHOLDERS)


def placeholder_warnings(found: Counter[tuple[str, float]]) -> list[str]:
    """The same in sentences; the values are kept, for only a person knows what they mean."""
    return [
        f"{field[:100]} is {value:.10g} {count:,} times, kept as it is: if that stands for a missing value, "
        "delete these rows, and leave it out"
        for (field, value), count in found.most_common(_MOST_WARNED)
    ]


def parse_text(field: str, said: Any, longest: int = 200) -> str:
    """A text that is not blank and holds nothing a database cannot store."""
    if not isinstance(said, str) or not said.strip() or len(said) > longest or "\0" in said:
        code = "missing" if said is None else "type"
        raise FieldError(field, code, said, f"{field} must be a text of 1 to {longest} characters")
    return said.strip()
