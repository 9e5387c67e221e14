"""Numbers in tables as people's programs write them: decimal commas, and signs between groups of three digits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal

DecimalSign = Literal[".", ","]

# Texts that stand for an empty cell, in small letters; the last ones are errors of Excel and LibreOffice.
MISSING_WORDS: Final = frozenset(
    (
        "",
        "na",
        "n/a",
        "nan",
        "null",
        "none",
        "nil",
        "-",
        "--",
        "?",
        "<na>",
        "#n/a",
        "#nv",
        "#div/0!",
        "#value!",
    )
)

_MINUS: Final = "\u2212"
_SPACES: Final = " \u00a0\u2009\u202f'’"
_PLAIN: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_COMMA: Final = re.compile(r"[+-]?(\d+,\d*|,\d+)([eE][+-]?\d+)?", re.ASCII)
# Groups by spaces or apostrophes leave no doubt, nor do several groups, nor groups before the other sign.
_GROUPED: Final = re.compile(
    rf"[+-]?[1-9]\d{{0,2}}(?:([{_SPACES}])\d{{3}}(?:\1\d{{3}})*(?:(?P<sign>[.,])\d+)?"
    r"|(?:,\d{3})+(?P<point>\.)\d+|(?:\.\d{3})+(?P<comma>,)\d+|(?:,\d{3}){2,}(?P<no_comma>)|(?:\.\d{3}){2,}(?P<no_point>))",
    re.ASCII,
)
# Either three decimals or a group of thousands.
_DOUBTFUL: Final = re.compile(r"[+-]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)


class AmbiguousNumber(ValueError):
    """A text that is one number with a decimal comma, and another with a comma between thousands."""


def parse_number_text(text: str, decimal_sign: DecimalSign | None = None) -> float:
    """Return the number in a text.

    Parameters
    ----------
    decimal_sign : str, optional
        What the file of the text puts before decimals; None where that is not known. A lone point is then a
        decimal point, as in every programming language.

    Raises
    ------
    AmbiguousNumber
        ``1,234`` where the sign is not known.
    ValueError
        The text is no number.
    """
    text = text.strip()
    if text.startswith(_MINUS):
        text = f"-{text[1:]}"
    if decimal_sign != "," and _PLAIN.fullmatch(text):
        return float(text)
    if _DOUBTFUL.fullmatch(text):
        if decimal_sign is None:
            raise AmbiguousNumber(text)
        return float(text.replace(",", ".") if decimal_sign in text else re.sub("[.,]", "", text))
    if _PLAIN.fullmatch(text):
        return float(text)
    if _COMMA.fullmatch(text):
        return float(text.replace(",", "."))
    match = _GROUPED.fullmatch(text)
    if match is None:
        raise ValueError(text)
    decimals = match["sign"] or match["point"] or match["comma"]
    whole, _, fraction = text.rpartition(decimals) if decimals else (text, "", "")
    return float(re.sub(rf"[{_SPACES}.,]", "", whole) + (f".{fraction}" if fraction else ""))


def parse_simple_number(text: str) -> float:
    """Return the number in a text that stands alone: it may have a decimal comma, but nothing between thousands.

    Raises
    ------
    AmbiguousNumber
        The comma may stand before decimals or between thousands.
    ValueError
        The text is no number.
    """
    text = text.strip()
    if not _PLAIN.fullmatch(text) and _GROUPED.fullmatch(text) and not _DOUBTFUL.fullmatch(text):
        raise ValueError(text)
    return parse_number_text(text)


def find_decimal_sign(cells: Iterable[str]) -> DecimalSign | None:
    """Return the sign before decimals that the cells of a table agree on; None where they do not show one."""
    signs = {sign for cell in cells if (sign := _shown_sign(cell.strip()))}
    return signs.pop() if len(signs) == 1 else None


def find_doubtful(cells: Iterable[str], sign: DecimalSign) -> str | None:
    """Return the first cell with this sign that may be a number with decimals or one with thousands."""
    return next((cell for cell in cells if sign in cell and _DOUBTFUL.fullmatch(cell.strip())), None)


def is_missing(text: str) -> bool:
    """Return whether a cell is empty, or holds a word that programs write instead."""
    return text.strip().lower() in MISSING_WORDS


def is_number_text(text: str) -> bool:
    """Return whether a text is a number in any notation."""
    try:
        parse_number_text(text)
    except AmbiguousNumber:
        return True
    except ValueError:
        return False
    return True


def describe_ambiguity(text: str) -> str:
    """Return what a doubtful number may be, and the way out, as the end of a sentence about it."""
    text = text.strip()
    whole, decimals = text.replace(",", ""), text.replace(",", ".")
    return (
        f"{text!r} may be {whole} or {decimals}: write it with a decimal point, and nothing between thousands"
    )


def _shown_sign(text: str) -> DecimalSign | None:
    if _DOUBTFUL.fullmatch(text):
        return None
    if "." in text and _PLAIN.fullmatch(text):
        return "."
    if _COMMA.fullmatch(text):
        return ","
    match = _GROUPED.fullmatch(text)
    if match is None:
        return None
    if (match["sign"] or match["point"]) == "." or match["no_comma"] is not None:
        return "."
    return "," if match["sign"] or match["comma"] or match["no_point"] is not None else None
