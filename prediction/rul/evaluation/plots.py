"""What a report draws of a model of remaining useful life: answers beside the truth, and their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from prediction.figures import Figure, confusion, line, scatter
from prediction.rul.data.label import STATUSES, DataLabeler
from prediction.rul.evaluation.intervals import Residuals

Floats = NDArray[np.float64]

PROMISED: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def of_test(truth: Floats, answers: Floats, labeler: DataLabeler, residuals: Residuals) -> Iterator[Figure]:
    """Answers and errors over the truth, statuses told, and how many truths the intervals held."""
    order = np.argsort(truth, kind="stable")
    true, told = truth[order], answers[order]
    yield scatter("Answers on held-out devices", "hours left", "hours predicted", {"rows": (true, told)},
                  diagonal=True)  # fmt: skip
    note = "Above 0 the model promised more life than there was."
    yield scatter("Errors on held-out devices", "hours left", "hours too many", {"rows": (true, told - true)},
                  note=note)  # fmt: skip
    real, said = labeler.status(truth), labeler.status(answers)
    counts = [[int(((real == one) & (said == other)).sum()) for other in STATUSES] for one in STATUSES]
    yield confusion("Health status: true and predicted", STATUSES, counts)
    held = [_share(truth, residuals.interval(answers, share, labeler.horizon_hours)) for share in PROMISED]
    curve = {"measured": (PROMISED, held)}
    yield line("Coverage of the intervals", "promised", "measured", curve, diagonal=True)


def _share(truth: Floats, interval: tuple[Floats, Floats]) -> float:
    low, high = interval
    return float(((truth >= low - 1e-6) & (truth <= high + 1e-6)).mean())
