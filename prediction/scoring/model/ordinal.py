"""Turn the margins of ordinal targets into probabilities of levels and into scores."""

from __future__ import annotations

import math

import numpy as np

from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model.hyperparameters import NUM_LEVELS, NUM_THRESHOLDS


def cumulative_probabilities(margins: Floats) -> Floats:
    """Return P(score > 1) … P(score > 4) for each score, never rising, shape (reports, 3, 4)."""
    above = 1.0 / (1.0 + np.exp(-np.clip(margins.astype(np.float64), -30.0, 30.0)))
    # Not -1: of no reports NumPy cannot infer the number of scores.
    thresholds = above.reshape(len(margins), margins.shape[1] // NUM_THRESHOLDS, NUM_THRESHOLDS)
    # Twelve independent regressions may cross; the lower threshold wins.
    falling: Floats = np.minimum.accumulate(thresholds, axis=2)
    return falling


def level_probabilities(above: Floats) -> Floats:
    """Return the probability of each level, shape (reports, 3, 5), summing to 1."""
    ends = (*above.shape[:2], 1)
    bounds = np.concatenate([np.ones(ends), above, np.zeros(ends)], axis=2)
    probabilities: Floats = bounds[:, :, :-1] - bounds[:, :, 1:]
    return probabilities


def decision_thresholds(cost: float) -> Floats:
    """Return the probability from which on a score counts as above 1, 2, 3 and 4, shape (4,).

    ``cost`` is how many times worse it is to score a severe report too low than a mild one too high. At 1
    the score is the median, which minimises the expected absolute error.
    """
    return np.array([0.5, 0.5, 1 / (1 + math.sqrt(cost)), 1 / (1 + cost)], np.float32)


def decode_levels(above: Floats, cost: float = 1.0) -> Ints:
    """Return the highest level whose threshold is passed, shape (reports, 3)."""
    passed = above > decision_thresholds(cost)
    levels: Ints = np.where(passed, np.arange(2, NUM_LEVELS + 1), 1).max(axis=2)
    return levels


def round_scores(scores: Floats) -> Ints:
    """Return the level nearest to each score; scores between two levels round up."""
    levels: Ints = np.clip(np.floor(scores + 0.5), 1, NUM_LEVELS).astype(int)
    return levels


def to_levels(scores: Floats) -> Ints:
    """Return the level nearest to each score; 0 where there is none."""
    levels: Ints = np.where(np.isnan(scores), 0, round_scores(np.nan_to_num(scores, nan=1.0)))
    return levels


def share_levels(levels: Ints) -> Floats:
    """Return the share of each level, shape (5,): each counts once more than it occurs, so that no share is 0."""
    counts = np.bincount(levels, minlength=NUM_LEVELS + 1)[1:] + 1.0
    shares: Floats = counts / counts.sum()
    return shares
