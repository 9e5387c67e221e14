"""A language model's text: placeholders are filled in, and every number of its own is refused."""

from __future__ import annotations

import pytest

from reports.facts import SessionFacts
from reports.narrative.endpoint import UnusableAnswer
from reports.narrative.placeholders import fill_placeholders, placeholder_values
from tests.reports import example_facts
from tests.reports.examples import EXAMPLES

VALUES = {"model": "rul/pump-7", "model_value": "0.211 mm/s", "held_out_samples": "1,742"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{model} has {model_value}.", "rul/pump-7 has 0.211 mm/s."),
        ("Auf { held_out_samples } Proben: {model_value}.", "Auf 1,742 Proben: 0.211 mm/s."),
        ("没有数字的句子。", "没有数字的句子。"),
        ("", ""),
    ],
)
def test_placeholders_are_filled_in_in_any_language(text: str, filled: str) -> None:
    assert fill_placeholders(text, VALUES) == filled


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("It is 28 % better.", "it wrote the number 2"),
        ("{model_value} and 0.3", "it wrote the number 0"),
        ("half a turn, ½", "it wrote the number ½"),
        ("٣ أخطاء", "it wrote the number ٣"),
        ("mm²", "it wrote the number ²"),
        ("{accuracy}", "it used the unknown placeholder {accuracy}"),
        ("{{model}}", "brace"),
        ("{model", "brace"),
        ("{model:>9}", "brace"),
        ("{Model}", "brace"),
        ("See https://evil.example", "it wrote a link"),
        ("See www.evil.example", "it wrote a link"),
    ],
)
def test_anything_else_is_refused(text: str, reason: str) -> None:
    with pytest.raises(UnusableAnswer, match=reason.replace("{", r"\{")):
        fill_placeholders(text, VALUES)


def test_a_value_is_not_searched_for_placeholders() -> None:
    assert fill_placeholders("{model}", {"model": "{model_value}"}) == "{model_value}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_value_is_a_short_text(name: str) -> None:
    values = placeholder_values(SessionFacts.from_dict(EXAMPLES[name]()))
    assert values["session"] == "12"
    assert all(value and len(value) <= 200 for value in values.values())


def test_values_are_formatted_as_in_the_report() -> None:
    values = placeholder_values(SessionFacts.from_dict(example_facts.good()))
    assert values["model_value"] == "0.2113 mm/s"
    assert values["best_baseline"] == "last value"
    assert values["best_baseline_difference"] == "28\u00a0%"
    assert (values["best_epoch"], values["validation_loss_best"]) == ("28", "0.3247")
