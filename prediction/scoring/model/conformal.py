"""Sets of levels that hold the true one with a promised probability (split conformal prediction).

See Angelopoulos & Bates, "A gentle introduction to conformal prediction" (2021), section 1.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.model.ordinal import round_scores


def compute_nonconformity(probabilities: Floats, scores: Floats) -> list[Floats]:
    """Return, for each score, one minus the probability of each report's true level, ascending."""
    nonconformity = []
    for column in range(scores.shape[1]):
        present = ~np.isnan(scores[:, column])
        levels = round_scores(scores[present, column])
        true = probabilities[present, column][np.arange(len(levels)), levels - 1]
        nonconformity.append(np.sort(1.0 - true))
    return nonconformity


def conformal_quantile(nonconformity: Floats, coverage: float) -> float:
    """Return the largest nonconformity of a level in the set: the ``ceil((n + 1) * coverage)``-th smallest.

    1, which keeps all levels, where there are too few held-out reports for the coverage.
    """
    rank = math.ceil((len(nonconformity) + 1) * coverage)
    return float(nonconformity[rank - 1]) if 1 <= rank <= len(nonconformity) else 1.0


def conformal_sets(probabilities: Floats, levels: Ints, limits: Sequence[float]) -> NDArray[np.bool_]:
    """Return whether each level is in the set, shape (reports, 3, 5): one gapless run with the score in it."""
    inside = 1.0 - probabilities <= np.array(limits)[None, :, None] + 1e-12
    inside |= np.arange(1, NUM_LEVELS + 1) == levels[:, :, None]
    rising = np.maximum.accumulate(inside, axis=2)
    falling = np.maximum.accumulate(inside[:, :, ::-1], axis=2)[:, :, ::-1]
    run: NDArray[np.bool_] = rising & falling
    return run
