"""Texts about a training: what is true passes, a wrong number or a wrong direction is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reports.claims import fault, known_of
from reports.directions import bearings_of
from reports.narrative import rules as rules_module
from reports.narrative.language_model import prompt_data
from tests.reports import stories

STORIES: dict[str, Callable[[], Any]] = {
    "good": stories.good,
    "rejected": stories.rejected,
    "failed": lambda: stories.ended_badly("failed"),
    "cancelled": lambda: stories.ended_badly("cancelled"),
    "interrupted": lambda: stories.ended_badly("interrupted"),
    "fleet": stories.fleet,
    "forgotten": stories.forgotten,
}


def wrong(text: str, story: str = "good") -> str | None:
    facts = STORIES[story]()
    return fault(text, known_of(prompt_data(facts, rules_module.write_narrative(facts))), bearings_of(facts))


@pytest.mark.parametrize("story", STORIES)
def test_the_plain_text_itself_is_true(story: str) -> None:
    words = rules_module.write_narrative(STORIES[story]())
    for sentence in [*words.summary, *words.dynamics, *words.steps]:
        assert wrong(sentence, story) is None


@pytest.mark.parametrize(
    "text",
    [
        "Version 7 was promoted and now answers predictions.",
        "The mae of 0.211 mm/s on 1,742 samples is 28 % better than the rule last value (0.293 mm/s).",
        "It improves on the previous model, which had 0.2205 mm/s, by 4.2 %.",
        "The model was trained on 17,420 rows from 2024-01-01 to 2025-12-26 19:00.",
        "The validation loss fell from 1.004 to 0.325 in epoch 28 and rose by 41 % after it.",
        "The training loss fell from 0.87 to 0.086; the training ended after 40 epochs.",
        "Accuracy improved from 0.498 to 0.838 on the validation part.",
        "The network began to overfit after epoch 28.",
        "At step 24 the error is 0.33, higher than 0.10 at step 1.",
        "The intervals held 89 % of the true values.",
        "The session took 62.4 s with a BiGRU and a learning rate of 0.001.",
        "The model did not fail and should be watched; a further training could be rejected.",
    ],
)
def test_true_sentences_pass(text: str) -> None:
    assert wrong(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "The mae is 0.198 mm/s.",
        "It was measured on 1,743 samples.",
        "It is 29 % better than the rule last value.",
        "The error is 12 %.",
        "It was trained until 2025-12-27.",
        "It was trained for 50 epochs.",
        "The mae is 0.3 mm/s.",
        "The mae is .198 mm/s.",
        "The mae is 0.001 mm/s.",
        "It was trained for 24 epochs.",
        "It was trained on 1,742 rows.",
        "It was measured on 12 held-out samples.",
        "It was trained on 17420.5 rows.",
        "It costs 1e6 € a year.",
        "It is twice as good.",
        "It was trained on seventeen thousand rows.",
        "It needs ½ of the time, and ٣ epochs.",
        "It needs ３ epochs.",
        "See https://evil.example for more.",
    ],
)
def test_a_number_that_is_not_in_the_data_is_found(text: str) -> None:
    assert wrong(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "Version 7 was not promoted.",
        "The candidate was rejected by the gate.",
        "The session failed.",
        "The training was not successful.",
        "The new model is worse than the previous one.",
        "It does not outperform the champion.",
        "It does not beat the simple rules.",
        "It is inferior to last value.",
        "The validation loss rose from 0.325 to 1.004.",
        "The training loss increased from 0.086 to 0.874.",
        "The training loss fell from 0.086 to 0.874.",
        "The training loss rose steadily.",
        "Accuracy improved from 0.838 to 0.498.",
        "There was no overfitting at all.",
        "With 0.2934 mm/s last value is lower than 0.2113 mm/s of this model.",
        "With 0.2113 mm/s this model is worse than the 0.2934 mm/s of last value.",
    ],
)
def test_a_wrong_direction_is_found(text: str) -> None:
    assert wrong(text) is not None


@pytest.mark.parametrize(
    ("text", "story"),
    [
        ("Version 7 was promoted.", "rejected"),
        ("It beats the baselines.", "rejected"),
        ("The new model is better than the champion.", "rejected"),
        ("The session completed successfully.", "failed"),
        ("The training was successful.", "cancelled"),
        ("The new version is better than the previous one.", "failed"),
        ("The new version now answers predictions.", "interrupted"),
    ],
)
def test_a_bad_end_is_not_told_as_a_good_one(text: str, story: str) -> None:
    assert wrong(text, story) is not None


def test_names_from_the_data_may_hold_digits_but_lend_them_to_nothing_else() -> None:
    facts = stories.good()
    facts["session"]["model"] = "forecasting/kiln-98765"
    known = known_of({"model": "forecasting/kiln-98765", "rows": 17_420})
    assert fault("forecasting/kiln-98765 was trained on 17,420 rows.", known, bearings_of(facts)) is None
    assert fault("It has 98 units.", known, bearings_of(facts)) is not None
