"""The first line of a CSV file: its delimiter, and column names in any spelling."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

DELIMITERS: Final = (",", ";", "\t")

# Names of a time column in English, French, German and Spanish.
_TIME_NAMES: Final = (
    "time clock date datetime timestamp ts when at moment heure uhrzeit dateheure horodatage jour zeit datum zeitpunkt "
    "zeitstempel fecha hora eventtime measuredat recordedat createdat"
)
_TIME_WORDS: Final = frozenset(_TIME_NAMES.split())
_WORD_ENDS: Final = re.compile(r"[\W_]+")
# What pandas calls a column without a name when it reads and saves a table.
_UNNAMED: Final = re.compile(r"Unnamed: \d+(?:\.\d+)*(?:_level_\d+)?", re.ASCII)
_QUOTED: Final = re.compile(r'"[^"]*"')
# Correct spelling → the plant's own. The plant's files keep theirs.
_SPELLINGS: Final = {"disponibilite": "disponibilte", "processsafety": "processsafty"}


def detect_delimiter(first_line: str) -> str:
    """Return the delimiter that occurs most often in a CSV file's first line; a comma where none does.

    Names in quotes may hold any of them and are not counted.
    """
    return max(DELIMITERS, key=_QUOTED.sub("", first_line).count)


def is_unnamed(name: str) -> bool:
    """Return whether a column has no name of its own: none at all, or the one that pandas gives it."""
    return not name or _UNNAMED.fullmatch(name) is not None


def is_time_word(name: str) -> bool:
    """Return whether a name is a word for a time, in any spelling."""
    return fold_name(name) in _TIME_WORDS


def has_time_word(name: str) -> bool:
    """Return whether a word of the name is one of a time, as in ``Date de mesure``."""
    return any(map(is_time_word, _WORD_ENDS.split(name)))


@lru_cache(4096)
def fold_name(name: str) -> str:
    """Return a column name without case, accents, blanks and punctuation, to compare spellings."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    word = "".join(character for character in decomposed if character.isalnum())
    return _SPELLINGS.get(word, word)


def match_columns(header: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return the header with every name that means one of ``columns`` replaced by it.

    Exact names win: a second spelling of a column that is there already stays as it is.
    """
    missing = {fold_name(name): name for name in columns if name not in header}
    return [name if name in columns else missing.pop(fold_name(name), name) for name in header]
