"""A number reads the same in every notation, and what may be two numbers is refused."""

import pytest

from storage.text.numbers import AmbiguousNumber, find_decimal_sign, is_missing, parse_number_text

CLEAR = {
    "1": 1, "-1.5": -1.5, ".5": 0.5, "1.": 1, "1e3": 1000, "+2,5E-1": 0.25, "1,5": 1.5, "0,123": 0.123,
    "1234,567": 1234.567,
    "1,2345": 1.2345, "1.234": 1.234, "1,234.5": 1234.5, "1.234,5": 1234.5, "1 234": 1234, "1 234,5": 1234.5,
    "1\u202f234,567": 1234.567, "1\u00a0234.5": 1234.5, "1'234.5": 1234.5, "1’234’567.25": 1234567.25,
    "1,234,567": 1234567, "1.234.567": 1234567, "-12 345 678": -12345678,
    "\u22122.5": -2.5, "\u22121,234.5": -1234.5,
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), CLEAR.items())
def test_a_number_that_leaves_no_doubt_is_read(text: str, value: float) -> None:
    assert parse_number_text(f" {text} ") == value


NO_NUMBERS = (
    "", "x", "1_000", "1,2,3", "1 23", "12 34 567", "1,234.5.6", "1.234,567,8", "١", "0,123,456", "1,,5", "nan",
    "inf", "1 234'567", "1e", "--1", "1,234,56",
)  # fmt: skip


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*") as refusal:
        parse_number_text(text)
    assert not isinstance(refusal.value, AmbiguousNumber)


def test_what_may_be_two_numbers_is_decided_by_its_file_only() -> None:
    with pytest.raises(AmbiguousNumber):
        parse_number_text("1,234")
    assert [parse_number_text(text, ".") for text in ("1,234", "1.234")] == [1234, 1.234]
    assert [parse_number_text(text, ",") for text in ("1,234", "1.234")] == [1.234, 1234]


@pytest.mark.parametrize(
    ("cells", "sign"),
    [
        (["1", "2,5", "1,234"], ","),
        (["1.5", "1,234"], "."),
        (["1,234.5"], "."),
        (["1.234,5"], ","),
        (["1 234,5", "text", ""], ","),
        (["1,234,567"], "."),
        (["1.234.567"], ","),
        (["1,234", "1.234", "1", "1 234"], None),
        (["1,5", "1.5"], None),
    ],
)
def test_a_table_shows_its_decimal_sign(cells: list[str], sign: str | None) -> None:
    assert find_decimal_sign(cells) == sign


def test_words_for_no_value_are_known_in_any_case() -> None:
    assert all(map(is_missing, ["", " ", "NaN", "n/a", "NULL", "#N/A", "-", "?"]))
    assert not any(map(is_missing, ["0", "x", "-1"]))
