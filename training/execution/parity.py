"""Check that a saved model, loaded afresh, answers like the trained model it came from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence

from errors import ParityFailed
from prediction.contract import ParityProbe
from prediction.records.fields import is_number

PredictFunction = Callable[[Sequence[object]], Sequence[object]]

# First input and size of each batch that is checked.
#
# A model can be right for one example and wrong for two (a recurrent network exported with a batch of
# one), so the first inputs are predicted one by one, then in batches of each size.
BATCHES = ((0, 1), (1, 1), (2, 1), (0, 2), (0, 7), (0, 64))


def largest_deviation(predict: PredictFunction, probe: ParityProbe) -> float:
    """Return the largest difference between two numbers of expected and actual answers, over all batches.

    Raises
    ------
    ParityFailed
        An answer has another shape, another text, a number that is not finite, or one that deviates by more
        than the probe's tolerance; the message names batch size, input and field.
    """
    return max(_check_batch(predict, probe, start, size) for start, size in BATCHES)


def _check_batch(predict: PredictFunction, probe: ParityProbe, start: int, size: int) -> float:
    inputs, expected = probe.inputs[start : start + size], probe.expected[start : start + size]
    answers = predict(inputs)
    batch = f"batch of {len(inputs)}"
    if len(answers) != len(expected):
        raise ParityFailed(f"{batch}: {len(answers)} answers to {len(expected)} inputs")
    largest = 0.0
    for position, (answer, wanted) in enumerate(zip(answers, expected, strict=True)):
        if _is_identical(answer, wanted):
            continue
        for field, deviation in differences(answer, wanted, f"{batch}, input {start + position + 1}"):
            if not deviation <= probe.tolerance:
                raise ParityFailed(
                    f"The saved model does not answer like the trained one: {field} is off by "
                    f"{deviation:.3g} (allowed {probe.tolerance:.3g}). Nothing has changed."
                )
            largest = max(largest, deviation)
    return largest


def differences(answer: object, wanted: object, field: str) -> Iterator[tuple[str, float]]:
    """Yield each number of a nested answer with its difference; infinity where shape, text or type differ."""
    if is_number(answer) and is_number(wanted):
        deviation = abs(answer - wanted)
        yield field, deviation if math.isfinite(deviation) else math.inf
    elif isinstance(answer, dict) and isinstance(wanted, dict) and answer.keys() == wanted.keys():
        for name in wanted:
            yield from differences(answer[name], wanted[name], f"{field}, {name}")
    elif isinstance(answer, list | tuple) and isinstance(wanted, list | tuple) and len(answer) == len(wanted):
        for position, (part, wanted_part) in enumerate(zip(answer, wanted, strict=True)):
            yield from differences(part, wanted_part, f"{field}[{position}]")
    else:
        yield field, 0.0 if answer == wanted and type(answer) is type(wanted) else math.inf


def _is_identical(answer: object, wanted: object) -> bool:
    """Return whether two answers are equal to the last digit.

    Most are, and comparing their JSON is many times faster than walking them.
    """
    try:
        return json.dumps(answer, allow_nan=False) == json.dumps(wanted, allow_nan=False)
    except (TypeError, ValueError):
        return False
