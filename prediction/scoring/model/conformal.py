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

# Held-out reports from which on a level has a promise of its own. From nine on a limit of .9 exists, but what it
# covers varies by .09 from one training to the next (the standard deviation of a beta distribution), with twenty by
# .06. On a plant's reports, 300 of them known, promises from nine on were kept in .80 of cases for one level.
MIN_LEVEL_REPORTS = 20


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
        """Return the largest value of each level in a set, and the levels without a promise of their own.

        A level of which too few reports were held out shares the limit of all such levels: that covers them
        together, and so all reports together, but not each level. Where even these are too few, the largest
        known limit counts.
        """
        own = {level: self.values[self.levels == level] for level in range(1, NUM_LEVELS + 1)}
        limits = {
            level: limit
            for level, values in own.items()
            if len(values) >= MIN_LEVEL_REPORTS
            and (limit := conformal_quantile(values, coverage)) is not None
        }
        uncovered = [level for level in own if level not in limits]
        if uncovered:
            rare = conformal_quantile(np.concatenate([own[level] for level in uncovered]), coverage)
            shared = conformal_quantile(self.values, coverage)
            known = [limit for limit in (shared, *limits.values()) if limit is not None]
            # Without any limit the set holds all levels.
            limits |= dict.fromkeys(uncovered, max(known, default=1.0) if rare is None else rare)
        return [limits[level] for level in own], uncovered


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
