"""Format numbers, times and names for a report, in one way everywhere."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import datetime

ABSENT = "–"
_SPELLINGS = {"mae": "MAE", "mse": "MSE", "rmse": "RMSE", "r2": "R²", "f1": "F1", "rul": "RUL", "nasa": "NASA",
              "fft": "FFT", "sha256": "SHA-256", "val": "validation", "num": "number of"}  # fmt: skip
_UNITS = {"_hz": "Hz", "_seconds": "s", "_hours": "h", "_pct": "%"}
# Control, format, surrogate, private and unassigned characters: invisible, or they reverse the reading direction.
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn"}


def format_number(value: object) -> str:
    """Format a float with four significant digits and an int in full; anything else becomes text."""
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


def format_quantity(value: object, unit: str = "") -> str:
    """Format a number with its unit."""
    return f"{format_number(value)} {unit}".strip() if value is not None else ABSENT


def format_share(value: float) -> str:
    """Format a share of 1 as a percentage, with a decimal only below 10 %."""
    return f"{100 * value:.1f}\u00a0%" if abs(value) < 0.1 else f"{100 * value:.0f}\u00a0%"


def format_duration(seconds: float | None) -> str:
    """Format a duration in seconds, minutes or hours, whichever reads best."""
    if seconds is None:
        return ABSENT
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def format_time(text: str | None) -> str:
    """Format an RFC 3339 time to the second, in UTC as it is stored; return any other text unchanged."""
    if not text:
        return ABSENT
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return clean(text)


def format_day(text: str) -> str:
    """Format a time to the minute, without the hour at midnight."""
    return format_time(text).removesuffix(" 00:00:00").removesuffix(":00")


def format_count(count: int, noun: str) -> str:
    """Format a number of things: *1 epoch*, *2 epochs*."""
    return f"{format_number(count)} {noun}{'' if count == 1 else 's'}"


def humanize(identifier: str) -> str:
    """Spell out an identifier: ``pump.mean_error`` is *pump: mean error*, ``step_3.mae`` is *step 3: MAE*."""
    words = re.sub(r"(?<=\w)\.(?=[^\W\d])", ": ", identifier.replace("_", " "))
    return clean(re.sub(r"[a-z]+\d*", lambda word: _SPELLINGS.get(word[0], word[0]), words))


def humanize_title(identifier: str) -> str:
    """Spell out an identifier with a capital first letter."""
    words = humanize(identifier)
    return words[:1].upper() + words[1:]


def split_unit(identifier: str) -> tuple[str, str]:
    """Split an identifier from the unit at its end: ``rate_hz`` is ``rate`` in Hz."""
    for ending, unit in _UNITS.items():
        if identifier.endswith(ending) and len(identifier) > len(ending):
            return identifier.removesuffix(ending), unit
    return identifier, ""


def clean(text: object, max_length: int = 2_000) -> str:
    """Return text without invisible characters, on one line, cut where it is too long."""
    visible = "".join(
        " " if character in "\n\r\t" else character
        for character in str(text)
        if character in "\n\r\t" or unicodedata.category(character) not in _INVISIBLE
    )
    return visible if len(visible) <= max_length else f"{visible[: max_length - 1]}…"
