"""Spectrograms given as CSV: a row a moment, a column a frequency band, named by its frequency."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from errors import InvalidContent

WAVEFORMS: Final = "waveforms"
SPECTROGRAMS: Final = "spectrograms"
CONTENT_KINDS: Final = (WAVEFORMS, SPECTROGRAMS)
MAX_BANDS: Final = 2048
MIN_BANDS: Final = 4
_BAND: Final = re.compile(
    r"(?i)\s*(?:(?P<channel>.*?\S)[\s_:]+)?(?P<number>\d+(?:\.\d+)?)\s*(?P<kilo>k?)hz\s*"
)


def detect_content(columns: Sequence[str], said: str | None = None) -> str:
    """What columns of such names hold: spectrograms where they are frequencies, or where the sender says so.

    Raises
    ------
    InvalidContent
        Some columns are named by a frequency and others are not, or they cannot be put together to images.
    """
    named = [name for name in columns if _BAND.fullmatch(name)]
    if not named and said != SPECTROGRAMS:
        return WAVEFORMS
    if named and len(named) < len(columns):
        other = next(name for name in columns if name not in named)
        raise InvalidContent(f"column {other[:60]!r} is no frequency, and others ({named[0][:60]!r}) are")
    if len(columns) < MIN_BANDS:
        raise InvalidContent(f"a spectrogram of {len(columns)} bands; {MIN_BANDS} are the fewest")
    count_images(columns)
    return SPECTROGRAMS


def count_images(columns: Sequence[str]) -> int:
    """How many images the columns are: one a channel before the frequency (``x 50 Hz``), else one.

    Raises
    ------
    InvalidContent
        Channels have different numbers of bands, stand mixed, or their frequencies do not rise.
    """
    told = [match for name in columns if (match := _BAND.fullmatch(name))]
    if not told:
        return 1
    channels = [match["channel"] or "" for match in told]
    hertz = [float(match["number"]) * (1000 if match["kilo"] else 1) for match in told]
    counts = Counter(channels)
    if len(set(counts.values())) > 1:
        sizes = ", ".join(f"{channel or 'without a name'} {count}" for channel, count in counts.items())
        raise InvalidContent(f"channels have different numbers of bands: {sizes[:200]}")
    for place in range(1, len(told)):
        same = channels[place] == channels[place - 1]
        if same and hertz[place] <= hertz[place - 1]:
            raise InvalidContent(f"frequencies do not rise at column {columns[place][:60]!r}")
        if not same and channels[place] in channels[:place]:
            raise InvalidContent(f"the bands of a channel must stand together: {columns[place][:60]!r}")
    return len(counts)
