"""Field types decide what is a name, and need no longer for a hostile text than for a common one."""

from __future__ import annotations

import pytest
from marshmallow import ValidationError

from api.http.fields import PRINTABLE

# A check whose time rises with the square of the length would take hours for each.
_LONG = 1_000_000


@pytest.mark.parametrize(
    "text",
    ["x", "Pump 7", " Pump 7", "\u00a0x ", "Straße\u2003№ 5", "x" * _LONG, " " * _LONG + "x"],
    ids=lambda text: repr(text[:8]),
)
def test_a_printable_name_is_taken(text: str) -> None:
    assert PRINTABLE(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "\u00a0\u2003", "x\n", "\nx", "x\x00", "a\tb", "\x1b[31m", "\x85x", "x\x7f", "\x1c"),
        *("x" * _LONG + "\n", " " * _LONG, " x" * _LONG + "\x00", " " * _LONG + "\x00"),
    ],
    ids=lambda text: repr(text[:8]),
)
def test_a_blank_name_and_one_with_control_characters_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="must not be blank or have control characters"):
        PRINTABLE(text)
