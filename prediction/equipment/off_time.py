"""The off-time rule: in which rows an asset does not run, such as ``speed < 5 or "oil pressure" <= 0.2``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAX_RULE_LENGTH: Final = 500
_OPERATORS: Final[Mapping[str, Callable[[NDArray[np.float64], float], NDArray[np.bool_]]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_NAME: Final = r'"(?P<quoted>[^"]{1,100})"|(?P<bare>[^\s"<>=!]{1,100})'
_COMPARISON: Final = re.compile(
    rf"\s*(?:{_NAME})\s*(?P<operator><=|>=|==|!=|<|>)\s*"
    r"(?P<number>[+-]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][+-]?\d{1,2})?)\s*"
)
_CONNECTIVE: Final = re.compile(r"(and|or)(?=[\s\"])", re.IGNORECASE)
_EXAMPLE: Final = "write comparisons such as speed < 5, joined by and, or"


@dataclass(frozen=True)
class ChannelComparison:
    """One comparison of a channel with a number."""

    channel: str
    operator: str
    number: float


@dataclass(frozen=True)
class OffRule:
    """A rule in disjunctive form: an asset is off where all comparisons of some group hold."""

    groups: Sequence[Sequence[ChannelComparison]] = ()

    @property
    def channels(self) -> list[str]:
        """Return the channels that the rule reads, in order of their names."""
        return sorted({comparison.channel for group in self.groups for comparison in group})

    def is_off(self, columns: Mapping[str, NDArray[np.float64]], count: int) -> NDArray[np.bool_]:
        """Return which of so many rows are off time. A comparison with a missing value does not hold."""
        off = np.zeros(count, dtype=bool)
        for group in self.groups:
            holds = [
                np.isfinite(columns[c.channel]) & _OPERATORS[c.operator](columns[c.channel], c.number)
                for c in group
            ]
            off |= np.logical_and.reduce(holds)
        return off


def parse_off_rule(text: str | None) -> OffRule:
    """Return the rule that a text states; ``and`` binds stronger than ``or``.

    The text is matched piece by piece and never evaluated.

    Raises
    ------
    ValueError
        It is not a rule; the message names the place.
    """
    if text is None:
        return OffRule()
    if len(text) > MAX_RULE_LENGTH:
        raise ValueError(f"is longer than {MAX_RULE_LENGTH} characters")
    groups: list[list[ChannelComparison]] = [[]]
    position = 0
    while True:
        match = _COMPARISON.match(text, position)
        if match is None:
            raise ValueError(f"cannot be read from {text[position : position + 40]!r} on: {_EXAMPLE}")
        name = match["quoted"] or match["bare"]
        groups[-1].append(ChannelComparison(name.strip(), match["operator"], float(match["number"])))
        position = match.end()
        if position == len(text):
            return OffRule(groups)
        connective = _CONNECTIVE.match(text, position)
        if connective is None:
            raise ValueError(f"cannot be read from {text[position : position + 40]!r} on: {_EXAMPLE}")
        if connective[1].lower() == "or":
            groups.append([])
        position = connective.end()
