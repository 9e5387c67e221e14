"""Spellings of report ids that people and spreadsheets change without being asked."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Digits that a spreadsheet keeps of a number; it replaces the others with zeros.
_EXACT_DIGITS: Final = 15
_ROUNDED: Final = re.compile(rf"[1-9]\d{{{_EXACT_DIGITS - 1}}}0+", re.ASCII)
_NUMBER: Final = re.compile(r"(?P<whole>\d+)(?:[.,]0+)?(?:e\+?(?P<exponent>\d))?", re.ASCII)
_MONTHS: Final = (
    "jan|janv|feb|fev|fevr|mar|mars|mrz|apr|avr|may|mai|jun|juin|"
    "jul|juil|aug|aout|sep|sept|oct|okt|nov|dec|dez"
)
_MONTH_AND_NUMBER: Final = re.compile(rf"\d{{1,2}}[-.](?:{_MONTHS})\.?|(?:{_MONTHS})\.?-\d{{2}}", re.ASCII)


def fold_blanks(anomaly_id: str) -> str:
    """Return an id without white space and invisible characters, to find those that differ in nothing else."""
    return "".join(
        letter for letter in anomaly_id if not letter.isspace() and unicodedata.category(letter) != "Cf"
    )


def fold_spelling(anomaly_id: str) -> str:
    """Return an id without what a spreadsheet changes: blanks, case, leading zeros, decimals of whole numbers."""
    text = unicodedata.normalize("NFKC", fold_blanks(anomaly_id)).casefold()
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    return (match["whole"] + "0" * int(match["exponent"] or 0)).lstrip("0") or "0"


def may_stand_for_others(anomaly_id: str) -> bool:
    """Return whether a spreadsheet may have made this of different ids: a rounded number, or a month."""
    decomposed = unicodedata.normalize("NFKD", fold_blanks(anomaly_id).casefold())
    text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return bool(_ROUNDED.fullmatch(text) or _MONTH_AND_NUMBER.fullmatch(text))
