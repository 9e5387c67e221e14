"""Sets of levels that hold the true one with a promised probability, whichever level it is.

Split conformal prediction with a limit for each level (Angelopoulos & Bates, "A gentle introduction to
conformal prediction", 2021, sections 1.1 and 4.2): one limit for all covers the common levels at the expense
of the rare ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.model.ordinal import round_scores


@dataclass(frozen=True)
class Nonconformity:
    """How unlikely a model finds the true levels of held-out reports, for one score.

    Parameters
    ----------
    values : ndarray, shape (reports,)
        One minus the probability of the true level.
    levels : ndarray of int, shape (reports,)
        The true levels; all 0 in versions that did not record them.
    """

    values: Floats
    levels: Ints

    def limits(self, coverage: float) -> tuple[list[float], list[int]]:
        """Return the largest value of each level in a set, and the levels without a limit of their own.

        A level of which too few reports were held out is limited by all reports together: that covers all
        levels together, not each of them.
        """
        shared = conformal_quantile(self.values, coverage)
        limits, uncovered = [], []
        for level in range(1, NUM_LEVELS + 1):
            limit = conformal_quantile(self.values[self.levels == level], coverage)
            if limit is None:
                uncovered.append(level)
            # Without any limit the set holds all levels.
            limits.append(limit if limit is not None else 1.0 if shared is None else shared)
        return limits, uncovered


def compute_nonconformity(probabilities: Floats, scores: Floats) -> list[Nonconformity]:
    """Return the nonconformity of the reports that have a score, for each of the scores."""
    nonconformity = []
    for column in range(scores.shape[1]):
        present = ~np.isnan(scores[:, column])
        levels = round_scores(scores[present, column])
        true = probabilities[present, column][np.arange(len(levels)), levels - 1]
        nonconformity.append(Nonconformity(1.0 - true, levels))
    return nonconformity


def conformal_quantile(values: Floats, coverage: float) -> float | None:
    """Return the ``ceil((n + 1) * coverage)``-th smallest value; None where there are too few."""
    rank = math.ceil((len(values) + 1) * coverage)
    return float(np.sort(values)[rank - 1]) if 1 <= rank <= len(values) else None


def conformal_sets(
    probabilities: Floats, levels: Ints, limits: Sequence[Sequence[float]]
) -> NDArray[np.bool_]:
    """Return whether each level is in the set, shape (reports, 3, 5): one gapless run with the score in it.

    ``limits`` has five values for each score.
    """
    inside = 1.0 - probabilities <= np.array(limits)[None] + 1e-12
    inside |= np.arange(1, NUM_LEVELS + 1) == levels[:, :, None]
    rising = np.maximum.accumulate(inside, axis=2)
    falling = np.maximum.accumulate(inside[:, :, ::-1], axis=2)[:, :, ::-1]
    run: NDArray[np.bool_] = rising & falling
    return run
