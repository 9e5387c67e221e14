"""Whether a saved model, loaded afresh, answers like the model it came from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from errors import ParityFailed
from prediction.contract import ParityProbe

Answers = Callable[[Sequence[Any]], Sequence[Any]]
BATCHES = ((0, 1), (1, 1), (2, 1), (0, 2), (0, 7), (0, 64))
"""First input and size of each batch that is asked."""


def largest_deviation(predict: Answers, probe: ParityProbe) -> float:
    """The largest difference between two numbers of expected and given answers, over all batches.

    A model can be right for one example and wrong for two (a recurrent network exported with a batch of one),
    so the first inputs are asked one by one, then in batches of each size.

    Raises
    ------
    ParityFailed
        An answer has another shape, another text, a number that is not finite, or one that is further off
        than the probe's tolerance; the message names batch size, input and field.
    """
    return max(_compare(predict, probe, start, size) for start, size in BATCHES)


def _compare(predict: Answers, probe: ParityProbe, start: int, size: int) -> float:
    inputs, expected = probe.inputs[start : start + size], probe.expected[start : start + size]
    given = predict(inputs)
    where = f"batch of {len(inputs)}"
    if len(given) != len(expected):
        raise ParityFailed(f"{where}: {len(given)} answers to {len(expected)} inputs")
    worst = 0.0
    for position, (answer, wanted) in enumerate(zip(given, expected, strict=True)):
        if _same(answer, wanted):
            continue
        for field, off in differences(answer, wanted, f"{where}, input {start + position + 1}"):
            if not off <= probe.tolerance:
                raise ParityFailed(
                    f"The saved model does not answer like the trained one: {field} is off by {off:.3g} "
                    f"(allowed {probe.tolerance:.3g}). Nothing has changed."
                )
            worst = max(worst, off)
    return worst


def differences(given: Any, wanted: Any, field: str) -> Iterator[tuple[str, float]]:
    """Each number of a nested answer with its difference; infinite where shape, text or kind differ."""
    if _is_number(given) and _is_number(wanted):
        off = abs(given - wanted)
        yield field, off if math.isfinite(off) else math.inf
    elif isinstance(given, dict) and isinstance(wanted, dict) and given.keys() == wanted.keys():
        for name in wanted:
            yield from differences(given[name], wanted[name], f"{field}, {name}")
    elif _is_row(given) and _is_row(wanted) and len(given) == len(wanted):
        for position, (one, other) in enumerate(zip(given, wanted, strict=True)):
            yield from differences(one, other, f"{field}[{position}]")
    else:
        yield field, 0.0 if given == wanted and type(given) is type(wanted) else math.inf


def _same(given: Any, wanted: Any) -> bool:
    """Whether two answers are the same to the last digit: most are, and this is many times quicker to see."""
    try:
        return json.dumps(given, allow_nan=False) == json.dumps(wanted, allow_nan=False)
    except (TypeError, ValueError):
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple)
