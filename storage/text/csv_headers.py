"""A CSV file's first line: what separates its names, and the names as people and their tools write them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

_SPELT: Final = {"disponibilite": "disponibilte", "processsafety": "processsafty"}
"""The right spelling of a word → the plant's own, which its files keep."""


def detect_delimiter(first_line: str) -> str:
    """Return the delimiter of a CSV file: of ``,``, ``;`` and tab the one that its first line has most of.

    Names in quotes may hold any of them and are not counted.
    """
    return max(",;\t", key=re.sub(r'"[^"]*"', "", first_line).count)


@lru_cache(4096)
def fold_name(name: str) -> str:
    """A name without case, accents, blanks and punctuation; two spellings of one word become one."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    word = "".join(character for character in plain if character.isalnum())
    return _SPELT.get(word, word)


def match_columns(header: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The header, names that mean one of ``columns`` replaced by it; what is exactly one comes first."""
    wanted = {fold_name(name): name for name in columns if name not in header}
    return [name if name in columns else wanted.pop(fold_name(name), name) for name in header]
