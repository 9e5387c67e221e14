"""Spectrograms as CSV: a row a moment, a column a frequency band, named by its frequency."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from errors import InvalidContent
from storage.datasets.facts import SPECTROGRAMS, WAVEFORMS

MIN_BANDS: Final = 4
MAX_BANDS: Final = 2048
# A channel ends before its separators, and blanks before it are taken once: otherwise the time for a name that is no
# band rises with the cube of its length.
_BAND: Final = re.compile(
    r"(?i)\s*+(?:(?P<channel>.*?[^\s_:]|[_:])[\s_:]+)?(?P<number>\d+(?:\.\d+)?)\s*(?P<kilo>k?)hz\s*"
)


def detect_input_kind(columns: Sequence[str], stated: str | None = None) -> str:
    """Return what columns of such names hold: spectrograms where they are frequencies or the sender says so.

    Raises
    ------
    InvalidContent
        Some columns are named by a frequency and others are not, or they cannot be put together to images.
    """
    bands = [name for name in columns if _BAND.fullmatch(name)]
    if not bands and stated != SPECTROGRAMS:
        return WAVEFORMS
    if bands and len(bands) < len(columns):
        stray = next(name for name in columns if name not in bands)
        raise InvalidContent(f"column {stray[:60]!r} is no frequency, and others ({bands[0][:60]!r}) are")
    if len(columns) < MIN_BANDS:
        raise InvalidContent(f"a spectrogram of {len(columns)} bands; it needs {MIN_BANDS} or more")
    count_images(columns)
    return SPECTROGRAMS


def count_images(columns: Sequence[str]) -> int:
    """Count the images of these columns: one a channel before the frequency (``x 50 Hz``), else one.

    Raises
    ------
    InvalidContent
        Channels have different numbers of bands or are mixed, or their frequencies do not rise.
    """
    bands = [match for name in columns if (match := _BAND.fullmatch(name))]
    if not bands:
        return 1
    channels = [band["channel"] or "" for band in bands]
    hertz = [float(band["number"]) * (1000 if band["kilo"] else 1) for band in bands]
    # Images of one model have one shape.
    counts = Counter(channels)
    if len(set(counts.values())) > 1:
        sizes = ", ".join(f"{channel or 'without a name'} {count}" for channel, count in counts.items())
        raise InvalidContent(f"channels have different numbers of bands: {sizes[:200]}")
    for column in range(1, len(bands)):
        is_same = channels[column] == channels[column - 1]
        if is_same and hertz[column] <= hertz[column - 1]:
            raise InvalidContent(f"frequencies do not rise at column {columns[column][:60]!r}")
        if not is_same and channels[column] in channels[:column]:
            raise InvalidContent(f"the bands of a channel must stand together: {columns[column][:60]!r}")
    return len(counts)
