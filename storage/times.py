"""Timestamps as people write them, turned into nanoseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from storage.datasets.tables.table import NO_TIME

if TYPE_CHECKING:
    import pyarrow as pa

_DATES: Final = (
    "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%Y%m%d",
    "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%b-%Y", "%d %b %Y",
)  # fmt: skip
_CLOCKS: Final = (" %H:%M:%S", " %H:%M", "", "T%H:%M:%S", "T%H%M%S", " %I:%M:%S %p", " %I:%M %p")
FORMATS: Final = ("ISO 8601", *(date + clock for date in _DATES for clock in _CLOCKS))
_NEEDED: Final = 0.8
"""Share of a sample's cells that must be readable for a column to be the time column."""

_HOUR_OF_ISO: Final = (
    r"^\s*(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2})(:\d{2})?([.,]\d{1,9})?\s*(Z|[+-]\d{2}:?\d{2})?\s*$"
)
_EPOCH_NAMES: Final = {"time", "timestamp", "date", "datetime", "ts", "epoch"}


def detect_format(sample: pa.Array) -> str | None:
    """The format in which most cells of a text column are timestamps; None where they are none.

    Of several that read equally many cells (3/4/2024), the one in which time runs forward most often.
    """
    import pyarrow.compute as pc

    cells = sample.filter(pc.not_equal(pc.utf8_trim_whitespace(sample), "")).drop_null()
    if not len(cells):
        return None
    best, found = (0, 0), None
    for name in FORMATS:
        read = nanoseconds(parse(cells, name))
        known = read[read != NO_TIME]
        if (rank := (len(known), int((np.diff(known) >= 0).sum()))) > best:
            best, found = rank, name
        if best == (len(cells), len(cells) - 1):
            break
    return found if best[0] >= _NEEDED * len(cells) else None


def reads_all(texts: pa.Array, format_name: str | None) -> bool:
    """Whether a format reads every one of these texts."""
    return format_name in FORMATS and parse(texts, str(format_name)).null_count == 0


def detect_format_of_texts(texts: Sequence[str]) -> str | None:
    """`recognise` of texts as Python has them."""
    import pyarrow as pa

    return detect_format(pa.array(texts, pa.string()))


def parse(cells: pa.Array, format_name: str) -> pa.Array:
    """Timestamps (nanoseconds, UTC) of text cells; null where a cell is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if format_name != "ISO 8601":
        read = pc.strptime(pc.utf8_trim_whitespace(cells), format=format_name, unit="ns", error_is_null=True)
        return read.cast(pa.timestamp("ns"))
    return _iso(cells)


def _iso(cells: pa.Array) -> pa.Array:
    """ISO 8601 with or without zone; a time without one counts as UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(cells)
    dates = pc.match_substring_regex(text, r"^\d{4}-\d{2}-\d{2}$")
    moments = pc.match_substring_regex(text, _HOUR_OF_ISO)
    zoned = pc.match_substring_regex(text, r"(Z|[+-]\d{2}:?\d{2})$")
    wanted = pc.or_(dates, moments)
    naive = _cast(
        pc.if_else(pc.and_(wanted, pc.or_(dates, pc.invert(zoned))), text, None), pa.timestamp("ns")
    )
    absolute = _cast(pc.if_else(pc.and_(moments, zoned), text, None), pa.timestamp("ns", tz="UTC")).cast(
        pa.timestamp("ns")
    )
    return pc.coalesce(naive, absolute)


def _cast(text: pa.Array, kind: Any) -> pa.Array:
    """Cast a column; where one cell is no date that exists (30 February), cell by cell."""
    import pyarrow as pa

    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        return pa.concat_arrays([_cell(text.slice(i, 1), kind) for i in range(len(text))])


def _cell(one: pa.Array, kind: Any) -> pa.Array:
    import pyarrow as pa

    try:
        return one.cast(kind)
    except pa.ArrowInvalid:
        return pa.nulls(1, kind)


def nanoseconds(moments: pa.Array) -> NDArray[np.int64]:
    """The int64 times of a timestamp array, `NO_TIME` where null."""
    import pyarrow as pa

    filled: NDArray[np.int64] = moments.cast(pa.int64()).fill_null(NO_TIME).to_numpy(zero_copy_only=False)
    return filled


def epoch_unit(name: str, numbers: NDArray[np.float64]) -> int | None:
    """Nanoseconds of one unit where a numeric column counts the time since 1970; None where it does not."""
    if name.strip().lower() not in _EPOCH_NAMES or not len(numbers) or not np.isfinite(numbers).any():
        return None
    middle = float(np.nanmedian(numbers))
    for digits, unit in ((1e8, 10**9), (1e11, 10**6), (1e14, 10**3), (1e17, 1)):
        if digits <= middle < digits * 100:
            return unit
    return None
