"""Dates in tables as people's programs write them: 03/04/2024 is a day in March or in April.

Uploads are read by ``storage.times``, column by column with Arrow. What web workers read row by row is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Literal

DateOrder = Literal["day", "month"]
DATE_ORDERS: Final[tuple[DateOrder, ...]] = ("day", "month")

_CLOCK: Final = (
    r"(?:[ T]+(?P<hour>\d{1,2}):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,6}))?)?(?: ?(?P<half>[AP])M)?(?: ?(?:UTC|GMT))?)?"
)
_NUMERIC: Final = re.compile(
    # Between dashes, a year of two digits may come first.
    rf"(?P<first>\d{{1,2}})(?P<sign>[/.-])(?P<second_part>\d{{1,2}})(?P=sign)(?P<year>\d{{4}}|(?<!-)\d{{2}}){_CLOCK}",
    re.ASCII | re.IGNORECASE,
)
_YEAR_FIRST: Final = re.compile(
    rf"(?P<year>\d{{4}})(?P<sign>[/.])(?P<month>\d{{1,2}})(?P=sign)(?P<day>\d{{1,2}}){_CLOCK}",
    re.ASCII | re.IGNORECASE,
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:tember)?|oct(?:ober)?|"
    "nov(?:ember)?|dec(?:ember)?"
)
_NAMED: Final = re.compile(
    rf"(?P<day>\d{{1,2}})(?P<sign>[- ])(?P<month>{_MONTH})(?P=sign)(?P<year>\d{{4}}|\d{{2}}){_CLOCK}",
    re.ASCII | re.IGNORECASE,
)
_MOMENT: Final = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}[T ]+\d{1,2}:\d\d", re.ASCII)
# As strptime reads years of two digits.
_CENTURY_TURN: Final = 69


class AmbiguousDate(ValueError):
    """A date whose day and month can be exchanged."""


def parse_local_time(text: str, order: DateOrder | None = None) -> datetime | None:
    """Return the time in a text like 05.12.2024 or 5-Dec-24, without an offset; None where it is no such text.

    Parameters
    ----------
    order : str, optional
        Which comes first in dates with slashes or dashes; before dots it is always the day.

    Raises
    ------
    AmbiguousDate
        Day and month could be exchanged, and ``order`` does not say which is which.
    """
    text = " ".join(text.split())
    if match := _YEAR_FIRST.fullmatch(text):
        return _to_datetime(match, int(match["year"]), int(match["month"]), int(match["day"]))
    if match := _NAMED.fullmatch(text):
        month = _MONTHS.index(match["month"][:3].lower()) + 1
        return _to_datetime(match, _full_year(match["year"]), month, int(match["day"]))
    match = _NUMERIC.fullmatch(text)
    if match is None:
        return None
    first, second, year = int(match["first"]), int(match["second_part"]), _full_year(match["year"])
    order = "day" if match["sign"] == "." else order or _shown_order(first, second)
    if order is None:
        if first != second:
            raise AmbiguousDate(text)
        order = "day"
    day, month = (first, second) if order == "day" else (second, first)
    return _to_datetime(match, year, month, day)


def describe_two_days(text: str) -> str:
    """Return what is doubtful about a date, and the way out, as the end of a sentence about it."""
    return f"{text!r} may be two days: send date_order=day or date_order=month, whichever comes first"


def is_local_time(text: str) -> bool:
    """Return whether a text looks like a date that is not in RFC 3339."""
    text = text.strip()
    return bool(_NUMERIC.fullmatch(text) or _YEAR_FIRST.fullmatch(text) or _NAMED.fullmatch(text))


def is_moment(text: str) -> bool:
    """Return whether a text begins with a date and a time of day: a value, and not the name of a column."""
    return bool(_MOMENT.match(text))


def find_date_order(texts: Iterable[str]) -> DateOrder | None:
    """Return which of day and month comes first in dates with slashes or dashes; None where they disagree."""
    orders = set()
    for text in texts:
        match = _NUMERIC.fullmatch(" ".join(text.split()))
        if match and match["sign"] != ".":
            orders.add(_shown_order(int(match["first"]), int(match["second_part"])))
    orders.discard(None)
    return orders.pop() if len(orders) == 1 else None


def _shown_order(first: int, second: int) -> DateOrder | None:
    if first > 12 >= second:
        return "day"
    return "month" if second > 12 >= first else None


def _full_year(digits: str) -> int:
    if len(digits) == 4:
        return int(digits)
    return int(digits) + (1900 if int(digits) >= _CENTURY_TURN else 2000)


def _to_datetime(match: re.Match[str], year: int, month: int, day: int) -> datetime | None:
    hour, half = int(match["hour"] or 0), (match["half"] or "").upper()
    # Some loggers call the end of a day 24:00.
    is_day_end = (
        hour == 24
        and not half
        and not any(int(match[part] or 0) for part in ("minute", "second", "fraction"))
    )
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half == "P")
    try:
        time = datetime(
            year, month, day, 0 if is_day_end else hour, int(match["minute"] or 0), int(match["second"] or 0),
            int((match["fraction"] or "0").ljust(6, "0")),
        )  # fmt: skip
        return time + timedelta(days=1) if is_day_end else time
    except (ValueError, OverflowError):
        return None
