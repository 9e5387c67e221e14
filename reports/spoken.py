"""Numbers as they stand in texts, and whether one of them is a given value."""

from __future__ import annotations

import math
import re

NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)%])[+\-−])?"
    r"(?P<whole>\d{1,3}(?:[,\u00a0\u202f ]\d{3})+(?!\d)|\d+)"
    r"(?P<part>\.\d+)?(?P<power>[eE][+\-−]?\d+)?(?P<percent>[\s\u00a0\u202f]?(?:%|percent\b))?",
    re.ASCII,
)


def agrees(found: re.Match[str], value: float) -> bool:
    """Whether a number is this value, or this value rounded to two digits or more."""
    told = value_of(found)
    if math.isclose(told, value, rel_tol=1e-9):
        return True
    if not found["sign"] and value < 0:
        value = -value
    digits = re.sub(r"\D", "", found["whole"] + (found["part"] or "")).lstrip("0")
    if found["part"] is None and found["power"] is None and not found["percent"]:
        return abs(value) >= 100 and value != int(value) and round(value) == told
    if len(digits) < 2 and not found["percent"]:
        return False
    step = 10.0 ** (int((found["power"] or "e0")[1:].replace("−", "-")) - len((found["part"] or ".")[1:]))
    return abs(told - value) <= 0.5 * step * (1 + 1e-9) and told != 0


def value_of(found: re.Match[str]) -> float:
    """The number that was found in a text."""
    sign = "-" if found["sign"] in ("-", "−") else ""
    whole = re.sub(r"\D", "", found["whole"])
    power = (found["power"] or "").replace("−", "-")
    return float(f"{sign}{whole}{found['part'] or ''}{power}")
