"""Dates in tables as people's programs write them: 03/04/2024 is a day in March or in April.

Uploads are read by ``storage.times``, column by column with Arrow. What web workers read row by row is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

DateOrder = Literal["day", "month"]
DATE_ORDERS: Final[tuple[DateOrder, ...]] = ("day", "month")

_CLOCK: Final = (
    r"(?:[ T]+(?P<hour>\d{1,2}):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,6}))?)?(?: ?(?P<half>[AP])M)?)?"
)
_NUMERIC: Final = re.compile(
    rf"(?P<first>\d{{1,2}})(?P<sign>[/.])(?P<second_part>\d{{1,2}})(?P=sign)(?P<year>\d{{4}}|\d{{2}}){_CLOCK}",
    re.ASCII | re.IGNORECASE,
)
_YEAR_FIRST: Final = re.compile(
    rf"(?P<year>\d{{4}})(?P<sign>[/.])(?P<month>\d{{1,2}})(?P=sign)(?P<day>\d{{1,2}}){_CLOCK}",
    re.ASCII | re.IGNORECASE,
)
# As strptime reads years of two digits.
_CENTURY_TURN: Final = 69


class AmbiguousDate(ValueError):
    """A date whose day and month can be exchanged."""


def parse_local_time(text: str, order: DateOrder | None = None) -> datetime | None:
    """Return the time in a text with slashes or dots, without an offset; None where it is no such text.

    Parameters
    ----------
    order : str, optional
        Which comes first in dates with slashes; before dots it is always the day.

    Raises
    ------
    AmbiguousDate
        Day and month could be exchanged, and ``order`` does not say which is which.
    """
    text = " ".join(text.split())
    if match := _YEAR_FIRST.fullmatch(text):
        return _to_datetime(match, int(match["year"]), int(match["month"]), int(match["day"]))
    match = _NUMERIC.fullmatch(text)
    if match is None:
        return None
    first, second, year = int(match["first"]), int(match["second_part"]), int(match["year"])
    if len(match["year"]) == 2:
        year += 1900 if year >= _CENTURY_TURN else 2000
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
    """Return whether a text looks like a date with slashes or dots."""
    text = text.strip()
    return bool(_NUMERIC.fullmatch(text) or _YEAR_FIRST.fullmatch(text))


def find_date_order(texts: Iterable[str]) -> DateOrder | None:
    """Return which of day and month comes first in dates with slashes; None where they do not agree on one."""
    orders = set()
    for text in texts:
        match = _NUMERIC.fullmatch(" ".join(text.split()))
        if match and match["sign"] == "/":
            orders.add(_shown_order(int(match["first"]), int(match["second_part"])))
    orders.discard(None)
    return orders.pop() if len(orders) == 1 else None


def _shown_order(first: int, second: int) -> DateOrder | None:
    if first > 12 >= second:
        return "day"
    return "month" if second > 12 >= first else None


def _to_datetime(match: re.Match[str], year: int, month: int, day: int) -> datetime | None:
    hour, half = int(match["hour"] or 0), (match["half"] or "").upper()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half == "P")
    try:
        return datetime(
            year, month, day, hour, int(match["minute"] or 0), int(match["second"] or 0),
            int((match["fraction"] or "0").ljust(6, "0")),
        )  # fmt: skip
    except ValueError:
        return None
