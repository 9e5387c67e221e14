"""Probabilities of the five levels, the score they stand for, and the levels that cannot be ruled out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model.hyperparameters import NUM_LEVELS, NUM_THRESHOLDS


def cumulative_probabilities(margins: Floats) -> Floats:
    """P(score > 1) … P(score > 4) for each score, never rising, shape (reports, 3, 4)."""
    above = 1.0 / (1.0 + np.exp(-np.clip(margins.astype(np.float64), -30.0, 30.0)))
    steps = above.reshape(len(margins), -1, NUM_THRESHOLDS)
    falling: Floats = np.minimum.accumulate(steps, axis=2)
    return falling


def level_probabilities(above: Floats) -> Floats:
    """Probability of each level, shape (reports, 3, 5), summing to 1."""
    ends = (*above.shape[:2], 1)
    bounds = np.concatenate([np.ones(ends), above, np.zeros(ends)], axis=2)
    chance: Floats = bounds[:, :, :-1] - bounds[:, :, 1:]
    return chance


def decode_levels(above: Floats) -> Ints:
    """The median level, which makes the expected absolute error smallest, shape (reports, 3)."""
    level: Ints = 1 + (above > 0.5).sum(axis=2)
    return level


def compute_nonconformity(chance: Floats, scores: Floats) -> list[Floats]:
    """For each score, one minus the probability of the true level of each scored report, ascending."""
    found = []
    for column in range(scores.shape[1]):
        known = ~np.isnan(scores[:, column])
        levels = np.clip(np.floor(scores[known, column] + 0.5), 1, NUM_LEVELS).astype(int)
        found.append(np.sort(1.0 - chance[known, column][np.arange(len(levels)), levels - 1]))
    return found


def conformal_quantile(strange: Floats, coverage: float) -> float:
    """The strangeness up to which a level stays in a conformal set; 1 keeps all five.

    Split conformal prediction: the ``ceil((n + 1) * coverage)``-th smallest of n held-out reports
    (Angelopoulos & Bates, "A gentle introduction to conformal prediction", 2021, section 1.1).
    """
    rank = math.ceil((len(strange) + 1) * coverage)
    return float(strange[rank - 1]) if 1 <= rank <= len(strange) else 1.0


def conformal_sets(chance: Floats, level: Ints, limits: Sequence[float]) -> NDArray[np.bool_]:
    """Whether each level belongs to the set, shape (reports, 3, 5): one gapless run that holds the score."""
    kept = 1.0 - chance <= np.array(limits)[None, :, None] + 1e-12
    kept |= np.arange(1, NUM_LEVELS + 1) == level[:, :, None]
    rising = np.maximum.accumulate(kept, axis=2)
    falling = np.maximum.accumulate(kept[:, :, ::-1], axis=2)[:, :, ::-1]
    run: NDArray[np.bool_] = rising & falling
    return run
