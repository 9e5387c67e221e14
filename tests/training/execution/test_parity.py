"""A saved model that answers otherwise than the trained one is found out, whatever the difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from errors import ParityFailed
from prediction.contract import ParityProbe
from training.execution.parity import largest_deviation

INPUTS = list(range(64))


def answer(number: int) -> dict[str, Any]:
    return {"score": number / 10, "set": [1, number], "text": "ok", "none": None, "flag": True}


def request(change: Callable[[int, dict[str, Any], int], Any] = lambda n, given, size: given) -> float:
    def predict(inputs: Sequence[Any]) -> list[Any]:
        return [change(number, answer(number), len(inputs)) for number in inputs]

    return largest_deviation(predict, ParityProbe(INPUTS, [answer(n) for n in INPUTS], tolerance=1e-4))


def test_equal_answers_deviate_by_nothing():
    assert request() == 0


def test_a_deviation_within_the_tolerance_is_measured():
    assert request(lambda n, given, size: {**given, "score": given["score"] + 5e-5}) == pytest.approx(5e-5)


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_a_model_that_is_wrong_at_one_batch_size_only_is_found_out(size: int):
    with pytest.raises(ParityFailed, match=f"batch of {size}"):
        request(lambda n, given, asked_size: {**given, "score": 9.0} if asked_size == size else given)


@pytest.mark.parametrize(
    "wrong",
    [
        {"score": float("nan")},
        {"score": float("inf")},
        {"score": "0.1"},
        {"score": True},
        {"set": [1]},
        {"set": [1, 2.5]},
        {"text": "OK"},
        {"none": 0},
        {"flag": 1},
        {"further": 1},
    ],
    ids=str,
)
def test_any_other_shape_text_or_kind_is_found_out(wrong: dict[str, Any]):
    with pytest.raises(ParityFailed):
        request(lambda n, given, size: {**given, **wrong})


def test_a_missing_answer_is_found_out():
    with pytest.raises(ParityFailed, match="1 answers to 2 inputs"):
        largest_deviation(lambda inputs: [answer(0)], ParityProbe(INPUTS, [answer(0)] * 64))
