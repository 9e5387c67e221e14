"""How numbers, times and names are written in a report: the same everywhere."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import datetime
from typing import Any

ABSENT = "–"
_BETWEEN_WORDS = re.compile(r"(?<=\w)\.(?=[^\W\d])")
_WRITTEN = {"mae": "MAE", "mse": "MSE", "rmse": "RMSE", "r2": "R²", "f1": "F1", "rul": "RUL", "nasa": "NASA",
            "fft": "FFT", "sha256": "SHA-256", "val": "validation", "num": "number of"}  # fmt: skip
"""How a word of a machine's name is written."""
_UNITS = {"_hz": "Hz", "_seconds": "s", "_hours": "h", "_pct": "%"}
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}
"""Categories of characters that show nothing, or turn the text around them."""


def format_number(value: Any) -> str:
    """A number with four significant digits, whole ones in full; what is no number as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return ABSENT if value is None else clean(value)
    if not math.isfinite(value):
        return ABSENT
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.3e}"


def format_quantity(value: Any, unit: str = "") -> str:
    """A number with its unit."""
    return f"{format_number(value)} {unit}".strip() if value is not None else ABSENT


def format_share(value: float) -> str:
    """A share as a percentage without needless digits."""
    return f"{100 * value:.1f}\u00a0%" if abs(value) < 0.1 else f"{100 * value:.0f}\u00a0%"


def format_duration(seconds: float | None) -> str:
    """A time span in the unit a person would choose."""
    if seconds is None:
        return ABSENT
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def format_time(told: str | None) -> str:
    """An RFC 3339 time to the second, in UTC as it is stored; any other text as it is."""
    if not told:
        return ABSENT
    try:
        return f"{datetime.fromisoformat(told):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return clean(told)


def format_day(told: str) -> str:
    """A time to the minute, and without the hour at midnight."""
    return format_time(told).removesuffix(" 00:00:00").removesuffix(":00")


def humanize(told: str) -> str:
    """A machine's name as words: ``pump.mean_error`` is *pump: mean error*, ``step_3.mae`` *step 3: MAE*."""
    words = _BETWEEN_WORDS.sub(": ", told.replace("_", " "))
    return clean(re.sub(r"[a-z]+\d*", lambda word: _WRITTEN.get(word[0], word[0]), words))


def humanize_title(told: str) -> str:
    """The same with a capital at its beginning."""
    words = humanize(told)
    return words[:1].upper() + words[1:]


def unit_of(told: str) -> tuple[str, str]:
    """A machine's name without the unit at its end, and the unit: ``rate_hz`` is *rate* in Hz."""
    for ending, unit in _UNITS.items():
        if told.endswith(ending) and len(told) > len(ending):
            return told.removesuffix(ending), unit
    return told, ""


def format_count(count: int, word: str) -> str:
    """A number of things: *1 epoch*, *2 epochs*."""
    return f"{format_number(count)} {word}{'' if count == 1 else 's'}"


def clean(told: Any, longest: int = 2_000) -> str:
    """Text without characters that show nothing or turn the reading direction, cut where it is endless."""
    text = "".join(" " if c in "\n\r\t" else c for c in str(told) if c in "\n\r\t" or _is_seen(c))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _is_seen(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN


def shorten(told: Any, longest: int = 28) -> str:
    """Text for a label."""
    return clean(told, longest)
