"""The first line of a CSV file: its delimiter, and column names in any spelling."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

DELIMITERS: Final = (",", ";", "\t")

_QUOTED: Final = re.compile(r'"[^"]*"')
_SPELLINGS: Final = {"disponibilite": "disponibilte", "processsafety": "processsafty"}
"""Correct spelling → the plant's own. The plant's files keep theirs."""


def detect_delimiter(first_line: str) -> str:
    """Return the delimiter that occurs most often in a CSV file's first line; a comma where none does.

    Names in quotes may hold any of them and are not counted.
    """
    return max(DELIMITERS, key=_QUOTED.sub("", first_line).count)


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
