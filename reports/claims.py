"""Whether a text about a training is true as far as it can be checked: its numbers, and its directions.

Every number has to be found in the data, rounded at most. Sentences that say which way something went, or
which of two is better, have to agree with the data. What is in doubt counts as wrong: there is always the
plain text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from reports.directions import Bearings, wrong_direction
from reports.spoken import NUMBER, agrees, value_of

JSON = dict[str, Any]

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?", re.ASCII)
_SHARE = re.compile(r"coverage|accuracy|rate|share|precision|recall|f1|kappa|within", re.IGNORECASE)
_LINK = re.compile(r"https?:|www\.|\bdata:|javascript:", re.IGNORECASE)
_SPELLED = re.compile(
    r"\b(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|"
    r"seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundreds?|thousands?|"
    r"millions?|billions?|dozens?|half|halves|halv(?:ed|es|ing)|thirds?|quarters?|twice|thrice|doubl\w+|tripl\w+|"
    r"\w+fold)\b",
    re.IGNORECASE,
)


@dataclass
class Known:
    """What a text may say.

    Parameters
    ----------
    numbers : list of float
    percentages : list of float
        Numbers that stand before a percent sign somewhere, and shares as percentages.
    texts : list of str
        Every text of the data: names in them may hold digits and number words.
    """

    numbers: list[float] = field(default_factory=list)
    percentages: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def add(self, value: Any) -> None:
        """Take in a piece of data, however deep."""
        if isinstance(value, dict):
            for name, part in value.items():
                self.add(name)
                self.add(part)
                if isinstance(part, float) and _SHARE.search(str(name)):
                    self.percentages.append(100 * part)
        elif isinstance(value, list | tuple):
            for part in value:
                self.add(part)
        elif isinstance(value, str):
            self._add_text(value)
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            self.numbers.append(float(value))

    def _add_text(self, text: str) -> None:
        self.texts.append(text)
        for found in NUMBER.finditer(_DATE.sub(" ", text)):
            (self.percentages if found["percent"] else self.numbers).append(value_of(found))


def known_of(data: JSON) -> Known:
    """Everything that is in the data."""
    known = Known()
    known.add(data)
    return known


def fault(text: str, known: Known, bearings: Bearings) -> str | None:
    """The first thing that is wrong with a text, as the end of a sentence; None where nothing was found."""
    return next(_faults(text, known, bearings), None)


def _faults(text: str, known: Known, bearings: Bearings) -> Iterator[str]:
    if _LINK.search(text):
        yield "it holds a link"
    bare = _without_names(text, known)
    for date in _DATE.findall(bare):
        if not any(date.replace("T", " ") in told.replace("T", " ") for told in known.texts):
            yield f"the date {date} is not in the data"
    bare = _DATE.sub(" ", bare)
    letters = {c for told in known.texts for c in told}
    for character in bare:
        is_number = not character.isascii() and unicodedata.numeric(character, None) is not None
        if is_number and character not in letters:
            yield f"the number {character} is not in the data"
    for found in NUMBER.finditer(bare):
        if not _is_known(found, known):
            yield f"the number {found[0].strip()} is not in the data"
    yield from _misplaced(bare, bearings)
    for word in _SPELLED.findall(bare):
        yield f"the number “{word}” is spelled out and cannot be checked"
    wrong = wrong_direction(text, bearings)
    if wrong is not None:
        yield f"“{wrong}” is not what the data says"


def _misplaced(bare: str, bearings: Bearings) -> Iterator[str]:
    """Numbers whose unit says what they count, and which count something else."""
    for unit, values in bearings.counted.items():
        for found in NUMBER.finditer(bare):
            after = re.match(rf"\s?{unit}(?!\w)", bare[found.end() :], re.IGNORECASE)
            if after and not any(agrees(found, value) for value in values):
                yield f"{found[0].strip()}{after[0]} is not what the data says"


def _without_names(text: str, known: Known) -> str:
    """The text without the names and sentences that it has from the data word for word."""
    names = {told for told in known.texts if any(c.isalpha() for c in told) and not _is_number(told)}
    names |= {told.replace("_", " ") for told in names}
    for told in sorted(names, key=len, reverse=True):
        if len(told) > 1 and (any(c.isdigit() for c in told) or _SPELLED.search(told)):
            text = re.sub(rf"(?<!\w){re.escape(told)}(?!\w)", " ", text)
    return text


def _is_number(told: str) -> bool:
    return NUMBER.fullmatch(told.strip()) is not None


def _is_known(found: re.Match[str], known: Known) -> bool:
    values = known.percentages if found["percent"] else known.numbers
    return any(agrees(found, value) for value in values)
