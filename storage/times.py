"""Times: counts since 1970, RFC 3339 text, and the formats in which tables write timestamps.

Python code holds aware ``datetime`` values in UTC; arrays hold int64 nanoseconds, databases microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

# pyarrow costs a web worker 60 MB, so only the functions that read columns import it.
if TYPE_CHECKING:
    import pyarrow as pa

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Bounds of accepted times: int64 nanoseconds overflow in April 2262.
MIN_INSTANT: Final = datetime(1900, 1, 1, tzinfo=UTC)
MAX_INSTANT: Final = datetime(2262, 1, 1, tzinfo=UTC)
# How far ahead of the server a clock or a time zone may be; later times are mistakes.
MAX_CLOCK_ERROR: Final = timedelta(days=1)
DAY_NS: Final = 86_400 * 10**9
# The time of a row whose timestamp is missing or cannot be read.
NO_TIME: Final = np.iinfo(np.int64).min

_DATES: Final = (
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y%m%d",
    "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%d %b %y", "%Y.%m.%d", "%Y-%m",
)  # fmt: skip
_CLOCKS: Final = (" %H:%M:%S", " %H:%M", "", "T%H:%M:%S", "T%H:%M", "T%H%M%S", " %I:%M:%S %p", " %I:%M %p")
# How formats begin in which day and month could be exchanged; before dots, the day comes first.
_ORDERED: Final = ("%d/%m", "%m/%d", "%d-%m", "%m-%d")
ISO: Final = "ISO 8601"
FORMATS: Final = (ISO, *(date + clock for date in _DATES for clock in _CLOCKS))
# Steps from which a missing rhythm is not a coincidence.
_MIN_EVENTS: Final = 20
# Share of a sample's cells that must be readable for a column to be the time column.
_MIN_READABLE_SHARE: Final = 0.8
# Python's own parser also takes weeks, any character before the hour, and an offset behind a date as an hour.
_INSTANT: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d|\d{8})"
    r"(?:[T ](?P<clock>\d\d(?::?\d\d(?::?\d\d(?:[.,]\d{1,9})?)?)?)\s*(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII | re.IGNORECASE,
)
_END_OF_DAY: Final = re.compile(r"24(?::?00(?::?00(?:[.,]0+)?)?)?", re.ASCII)
_ISO_DATE: Final = r"^\d{4}-\d{2}-\d{2}$"
_ISO_TIME: Final = (
    r"^\s*(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2})(:\d{2})?([.,]\d{1,9})?\s*(Z|[+-]\d{2}(:?\d{2})?)?\s*$"
)
# ISO 8601 in which Arrow misses signs, and what it reads; applied in this order.
_ISO_SPELLINGS: Final = (
    (r"^(\d{4})(\d{2})(\d{2})[T ](\d{2})", r"\1-\2-\3T\4"),
    (r"^(\d{4}-\d{2}-\d{2}[T ]\d{2})(\d{2})(\d{2})", r"\1:\2:\3"),
    (r"^(\d{4}-\d{2}-\d{2}[T ]\d{2})(\d{2})", r"\1:\2"),
    (r"^(\d{4}-\d{2}-\d{2}[T ]\d{2})($|[Z+-]|\s+[Z+-])", r"\1:00\2"),
    # A comma before the fraction, and blanks before the offset.
    (r",(\d{1,9}\s*[Z+-]?[\d:]*)$", r".\1"),
    (r"\s+(Z|[+-][\d:]+)$", r"\1"),
)
# Some loggers call the end of a day 24:00, as ISO 8601 allowed.
_DAY_END: Final = r"([T ]+)24:00((?::00(?:[.,]0+)?)?(?:$|[Z+ -]))"
_FRACTION: Final = r"(?i)(:\d{2}:\d{2})[.,](\d{1,9})( ?[AP]M)?$"
_NS_PER_UNIT: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_EPOCH_WORDS: Final = {"time", "timestamp", "date", "datetime", "ts", "epoch", "unix", "unixtime", "t"}
# What names such as epoch_ms, "Time (s)" or time_utc have beside such a word.
_EPOCH_REMARKS: Final = {"s", "sec", "seconds", "ms", "us", "\u00b5s", "\u03bcs", "ns", "utc"}
_NAME_ENDS: Final = re.compile(r"[\W_]+")
# Smallest count that a unit can have from 1973 on, and the unit in nanoseconds.
_EPOCH_UNITS: Final = ((1e8, 10**9), (1e11, 10**6), (1e14, 10**3), (1e17, 1))


def utc_now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def parse_time(text: str) -> datetime:
    """Parse an RFC 3339 time, or a date; without an offset, the result has no time zone.

    Raises
    ------
    ValueError
        The text is no time.
    """
    match = _INSTANT.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    zone = (match["zone"] or "").upper()
    offset = "Z" if zone in ("UTC", "GMT") else zone
    clock = match["clock"] or "00"
    is_day_end = _END_OF_DAY.fullmatch(clock) is not None
    time = datetime.fromisoformat(f"{match['date']}T{'00' if is_day_end else clock}{offset}")
    return time + timedelta(days=1) if is_day_end else time


def parse_instant(text: str) -> datetime:
    """Parse an RFC 3339 time; one without an offset counts as UTC.

    Raises
    ------
    ValueError, OverflowError
        The text is no time, or has none in UTC.
    """
    time = parse_time(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)


def format_instant(time: datetime, timespec: str = "milliseconds") -> str:
    """Format an aware time as RFC 3339 in UTC, with ``Z``."""
    return time.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def to_microseconds(time: datetime) -> int:
    """Count the microseconds from 1970 to an aware time."""
    return (time - EPOCH) // timedelta(microseconds=1)


def from_microseconds(count: int) -> datetime:
    """Return the time so many microseconds after 1970."""
    return EPOCH + timedelta(microseconds=count)


def format_nanoseconds(time_ns: int) -> str | None:
    """Format nanoseconds since 1970 as RFC 3339; None for `NO_TIME`."""
    if time_ns == NO_TIME:
        return None
    seconds, rest = divmod(int(time_ns), 10**9)
    text = str(np.datetime64(seconds, "s"))
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else f"{text}Z"


def most_common_step(times: NDArray[np.int64]) -> int | None:
    """Estimate the step between neighbouring times, in nanoseconds; None of fewer than two.

    Clocks jitter, so steps that differ by less than a tenth count as one: the step is the middle of the largest
    such group, in whole seconds where that is what it is but for the jitter.
    """
    steps = np.sort(np.diff(np.unique(times[times != NO_TIME])))
    if not len(steps):
        return None
    lengths, counts = np.unique(steps, return_counts=True)
    if 2 * counts.max() > len(steps):
        return int(lengths[counts.argmax()])
    # For each step, how many others are up to a tenth longer: the fullest such window is the rhythm.
    ends = np.searchsorted(steps, steps + steps // 10, side="right")
    first = int((ends - np.arange(len(steps))).argmax())
    middle = int(np.median(steps[first : ends[first]]))
    second = 10**9
    # Nobody configures 59.998 s.
    rounded = round(middle / second) * second
    return rounded if rounded and abs(middle - rounded) * 200 <= rounded else middle


def step_tolerance(step_ns: int) -> int:
    """Return by how much a regular step may deviate: an eighth.

    That is more than clocks jitter and calendar months differ, and less than half a missing step.
    """
    return step_ns // 8


def is_event_driven(times: NDArray[np.int64], step_ns: int) -> bool:
    """Tell whether rows follow no rhythm, as where a value is stored when it changes."""
    steps = np.diff(np.unique(times[times != NO_TIME]))
    distance = np.abs(steps - np.maximum(np.round(steps / step_ns), 1) * step_ns)
    return len(steps) >= _MIN_EVENTS and 2 * int((distance <= step_tolerance(step_ns)).sum()) < len(steps)


def detect_format(sample: pa.Array, date_order: str | None = None) -> str | None:
    """Return the format in which most cells of a text column are timestamps; None where they are none.

    Of formats that read equally many cells (3/4/2024), the one wins in which time runs forward most often, and
    of those the one with the most even steps.

    Parameters
    ----------
    date_order : str, optional
        ``"day"`` or ``"month"``: which of the two comes first where both could.
    """
    candidates = _rank_formats(sample, date_order)
    return candidates[0] if candidates else None


def is_date_order_ambiguous(sample: pa.Array) -> bool:
    """Tell whether day and month could be exchanged: both orders read every cell."""
    formats = _rank_formats(sample)
    orders = {format_name.startswith("%d") for format_name in formats if format_name[:5] in _ORDERED}
    return len(orders) == 2


def _rank_formats(sample: pa.Array, date_order: str | None = None) -> list[str]:
    """Return the formats that read most cells, the best one first; none where few cells are times."""
    import pyarrow.compute as pc

    cells = sample.filter(pc.not_equal(pc.utf8_trim_whitespace(sample), "")).drop_null()
    if not len(cells):
        return []
    ranks: dict[str, tuple[int, int, int]] = {}
    for name in FORMATS:
        if date_order and name[:5] in _ORDERED and name.startswith("%d") != (date_order == "day"):
            continue
        times = to_nanoseconds(parse_timestamps(cells, name))
        readable = times[times != NO_TIME]
        if len(readable) < _MIN_READABLE_SHARE * len(cells):
            continue
        steps = np.diff(readable)
        most_even = int(np.unique(steps, return_counts=True)[1].max()) if len(steps) else 0
        ranks[name] = (len(readable), int((steps >= 0).sum()), most_even)
        # ISO 8601 has one order only, so nothing else can be meant.
        if name == ISO:
            break
    most = max((rank[0] for rank in ranks.values()), default=0)
    # sorted() is stable: of equal ranks, the earlier format stays first.
    return sorted((name for name in ranks if ranks[name][0] == most), key=ranks.__getitem__, reverse=True)


def detect_format_of_texts(texts: Sequence[str]) -> str | None:
    """Return `detect_format` of Python strings."""
    import pyarrow as pa

    return detect_format(pa.array(texts, pa.string()))


def format_reads_all(texts: pa.Array, format_name: str | None) -> bool:
    """Tell whether a format reads every one of these texts."""
    return format_name in FORMATS and parse_timestamps(texts, str(format_name)).null_count == 0


def parse_timestamps(cells: pa.Array, format_name: str) -> pa.Array:
    """Parse text cells to timestamps (nanoseconds, UTC); null where a cell is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.replace_substring_regex(pc.utf8_trim_whitespace(cells), r"(?i)\s*(UTC|GMT)$", "")
    is_day_end = pc.match_substring_regex(text, _DAY_END)
    if pc.any(is_day_end).as_py():
        times = parse_timestamps(pc.replace_substring_regex(text, _DAY_END, r"\1" "00:00" r"\2"), format_name)
        return pc.if_else(is_day_end, pc.add(times, pa.scalar(DAY_NS, pa.duration("ns"))), times)
    if format_name != ISO:
        whole = pc.replace_substring_regex(text, _FRACTION, r"\1\3")
        times = pc.strptime(whole, format=format_name, unit="ns", error_is_null=True).cast(pa.timestamp("ns"))
        # strptime has no sign for fractions of a second.
        return times if whole.equals(text) else pc.add(times, _read_fractions(text))
    text = pc.utf8_upper(text)
    for pattern, replacement in _ISO_SPELLINGS:
        text = pc.replace_substring_regex(text, pattern, replacement)
    # It casts texts with and without an offset to different types, so each kind is cast by itself.
    is_date = pc.match_substring_regex(text, _ISO_DATE)
    is_time = pc.match_substring_regex(text, _ISO_TIME)
    has_offset = pc.match_substring_regex(text, r":.*(Z|[+-]\d{2}(:?\d{2})?)$")
    is_naive = pc.and_(pc.or_(is_date, is_time), pc.or_(is_date, pc.invert(has_offset)))
    naive = _cast(pc.if_else(is_naive, text, None), pa.timestamp("ns"))
    zoned = _cast(pc.if_else(pc.and_(is_time, has_offset), text, None), pa.timestamp("ns", tz="UTC"))
    return pc.coalesce(naive, zoned.cast(pa.timestamp("ns")))


def _read_fractions(text: pa.Array) -> pa.Array:
    """Return the fractions of seconds behind the clocks of texts as durations."""
    import pyarrow as pa
    import pyarrow.compute as pc

    has_fraction = pc.match_substring_regex(text, _FRACTION)
    digits = pc.replace_substring_regex(text, "(?i)^.*" + _FRACTION.removeprefix("(?i)"), r"\2")
    digits = pc.utf8_rpad(pc.if_else(has_fraction, digits, "0"), 9, "0")
    return digits.cast(pa.int64()).cast(pa.duration("ns"))


def _cast(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """Cast a column; where one cell is no date that exists (30 February), halve until it stands alone."""
    import pyarrow as pa

    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        if len(text) == 1:
            return pa.nulls(1, kind)
        middle = len(text) // 2
        return pa.concat_arrays([_cast(text.slice(0, middle), kind), _cast(text.slice(middle), kind)])


def to_nanoseconds(times: pa.Array) -> NDArray[np.int64]:
    """Return the int64 nanoseconds of dates or timestamps.

    `NO_TIME` where null, or beyond the years 1677 to 2262 that nanoseconds can count.
    """
    import pyarrow as pa

    if pa.types.is_date(times.type):
        times = times.cast(pa.timestamp("ms"))
    factor = _NS_PER_UNIT[times.type.unit]
    counts: NDArray[np.int64] = times.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    if factor == 1:
        return counts
    is_within = np.abs(counts.astype(np.float64)) < np.iinfo(np.int64).max / factor
    return np.where(is_within, np.where(is_within, counts, 0) * factor, NO_TIME)


def _is_epoch_name(column: str) -> bool:
    words = {word for word in _NAME_ENDS.split(column.lower()) if word}
    return bool(words & _EPOCH_WORDS) and words <= _EPOCH_WORDS | _EPOCH_REMARKS


def epoch_unit(column: str, numbers: NDArray[np.float64]) -> int | None:
    """Return the unit, in nanoseconds, of a column that counts the time since 1970; None where none does."""
    if not _is_epoch_name(column) or not len(numbers) or not np.isfinite(numbers).any():
        return None
    middle = float(np.nanmedian(numbers))
    return next((unit for least, unit in _EPOCH_UNITS if least <= middle < least * 100), None)
