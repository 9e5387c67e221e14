"""Join dates and times of day that a table has in two columns, as many loggers write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time, timedelta
from itertools import chain, islice
from typing import Final

from prediction.records.parsing import NumberedRecord, TimeCell
from storage.text.csv_headers import has_time_word, is_time_word
from storage.text.table_cells import to_json

_CLOCK: Final = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?: ?(?P<half>[AP])\.?M\.?)?",
    re.ASCII | re.IGNORECASE,
)
_SAMPLE: Final = 500
# What typed tables make of a date is its midnight.
_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\d|\d{8})(?:[T ]00:00(?::00)?)?", re.ASCII)
# What follows a name, such as its unit in "Time [hh:mm:ss]".
_REMARK: Final = re.compile(r"[(\[].*", re.DOTALL)


def join_split_times(records: Iterable[NumberedRecord], notes: list[str]) -> Iterator[NumberedRecord]:
    """Yield records with a date and its time of day in one field, that of the date.

    The first of `_SAMPLE` records that has both decides that there are two such columns.

    Parameters
    ----------
    notes : list of str
        Gets a sentence about the columns that are joined.
    """
    records = iter(records)
    sample = list(islice(records, _SAMPLE))
    found = (_find_columns(record) for _, record in sample if isinstance(record, dict))
    columns = next(filter(None, found), None)
    if columns:
        notes.append(f"{columns[0]!r} and {columns[1]!r} are read as one time column")
    for number, record in chain(sample, records):
        if columns and isinstance(record, dict) and columns[0] in record:
            date, clock = columns
            joined = {name: cell for name, cell in record.items() if name != clock}
            joined[date] = _join(record[date], record.get(clock), clock)
            yield number, joined
        else:
            yield number, record


def _find_columns(record: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the fields of a date without a time of day and of a time of day without a date."""
    clock = next(
        (
            name
            for name, cell in record.items()
            if is_time_word(_REMARK.sub("", name)) and _CLOCK.fullmatch(_to_text(cell))
        ),
        None,
    )
    date = next((name for name, cell in record.items() if has_time_word(name) and _is_date(cell)), None)
    return (date, clock) if date and clock else None


def _join(date: object, clock: object, clock_name: str) -> object:
    """Return the time of both cells; a text that is no time where there is none."""
    text = _to_text(date)
    if not text or not _is_date(date):
        return date
    parts = _CLOCK.fullmatch(_to_text(clock))
    time_of_day = _read_clock(parts) if parts else None
    if time_of_day is None:
        return f"{text} with {clock_name} {_to_text(clock) or 'empty'}"
    if not isinstance(date, TimeCell):
        day = datetime.strptime(text[:10].replace("-", "")[:8], "%Y%m%d")
        return (day + time_of_day).isoformat()
    joined = TimeCell(f"{text} {_to_text(clock)}")
    joined.time = date.time + time_of_day if date.time else None
    return joined


def _read_clock(parts: re.Match[str]) -> timedelta | None:
    hour, half = int(parts["hour"]), (parts["half"] or "").upper()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + 12 * (half == "P")
    fraction = int((parts["fraction"] or "0").ljust(6, "0")[:6])
    minute, second = int(parts["minute"]), int(parts["second"] or 0)
    # Some loggers call the end of a day 24:00.
    if (hour, minute, second, fraction) == (24, 0, 0, 0):
        return timedelta(days=1)
    try:
        time(hour, minute, second)
    except ValueError:
        return None
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=fraction)


def _is_date(cell: object) -> bool:
    if isinstance(cell, TimeCell):
        return ":" not in cell
    return _DATE.fullmatch(_to_text(cell)) is not None


def _to_text(cell: object) -> str:
    return "" if cell is None else " ".join(str(to_json(cell)).split())
