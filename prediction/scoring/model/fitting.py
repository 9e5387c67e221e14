"""What learns: twelve logistic regressions ("above 1?" … "above 4?" of three scores) on texts and history."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from prediction.scoring.data.preparation import ScoringSplit
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.features import history_features
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model import logistic, ordinal
from prediction.scoring.model.hyperparameters import NUM_TARGETS, NUM_THRESHOLDS, ScoringHyperparameters
from prediction.scoring.model.weights_cache import WeightsCache
from prediction.scoring.serving.artefacts import ScoringArtefacts

SHAPE = (history_features.NUM_FEATURES, NUM_TARGETS)


@dataclass(frozen=True)
class ScoringModel:
    """Weights, and what the held-out reports said about them.

    Parameters
    ----------
    weights : ndarray of float32, shape (width, 12)
    strangeness : list of ndarray
        For each score, how unlikely the judged model thought the true held-out levels, ascending.
    served : Served
        What the refitted model serves.
    """

    weights: Floats
    strangeness: list[Floats]
    served: ScoringArtefacts | None = None


def fit_held_out(study: ScoringSplit) -> ScoringModel:
    """The recipe on the rows before the boundary; a fit made before on equal rows is taken from the disk."""
    weights = fit_cached_weights(study.chronicle, study.recipe, study.boundary, study.start, study.features)
    above = ordinal.cumulative_probabilities(study.features[study.boundary - study.start :] @ weights)
    held_out = study.chronicle.scores[study.boundary :]
    return ScoringModel(weights, ordinal.compute_nonconformity(ordinal.level_probabilities(above), held_out))


def fit_cached_weights(
    rows: TrainingSet, recipe: ScoringHyperparameters, end: int, start: int, features: Floats
) -> Floats:
    """Weights fitted from scratch on rows ``start`` to ``end``, whose features are given (or more)."""
    name = f"judged-{recipe.digest}-{start}-{int(rows.prefix_hashes[end - 1]):016x}"
    zeros = np.zeros(SHAPE, np.float32)
    return store(rows).get(
        name, SHAPE, lambda: fit_weights(features, rows, recipe, zeros, start=start, end=end)
    )


def refit_all(model: ScoringModel, study: ScoringSplit) -> ScoringModel:
    """The judged recipe on all rows: from the judged weights to the anchor, and on to the end.

    Each fit starts where the last one stands and the anchor's is kept, so a few new reports cost little. The
    result is a function of the rows and the recipe alone, whatever was kept.
    """
    rows, recipe = study.chronicle, study.recipe
    start = max(study.anchor - recipe.fitted_rows, study.start)
    features = study.features[start - study.start :]

    def anchored() -> Floats:
        return fit_weights(features, rows, recipe, model.weights, start=start, end=study.anchor, exactly=True)

    prefix_hashes = rows.prefix_hashes
    name = f"anchor-{recipe.digest}-{start}-{study.boundary}-{int(prefix_hashes[study.anchor - 1]):016x}"
    weights = store(rows).get(name, SHAPE, anchored)
    return replace(model, weights=fit_weights(features, rows, recipe, weights, start=start, end=len(rows)))


def fit_weights(
    features: Floats,
    rows: TrainingSet,
    recipe: ScoringHyperparameters,
    begin: Floats,
    *,
    start: int,
    end: int,
    exactly: bool = False,
) -> Floats:
    """Weights fitted on rows ``start`` to ``end``; ``features`` begin at row ``start``.

    A fit that others go on from is made more exactly than they need, so that most of them have nothing to do.
    """
    replies = rows.answers[start:end]
    cost = np.float32(recipe.penalty) * compute_row_weights(replies, recipe)
    tolerance = logistic.TOLERANCE / 3 if exactly else logistic.TOLERANCE
    asked = replies[:, :NUM_TARGETS]
    return logistic.fit(features[: end - start], asked, cost, begin, tolerance)


def compute_row_weights(replies: Floats, recipe: ScoringHyperparameters) -> Floats:
    """What each row counts for each question: nothing without the score, less with age; 1 on average."""
    present = replies[:, NUM_TARGETS:]
    ages = np.arange(len(replies) - 1, -1, -1, dtype=np.float64)
    columns = []
    for score, half_life in enumerate(recipe.recency_rows):
        faded = np.exp2(-ages / half_life) if half_life else np.ones_like(ages)
        counted = np.maximum(faded, recipe.recency_floor)
        columns.append(present[:, score] * counted / counted.mean())
    return np.repeat(np.stack(columns, axis=1), NUM_THRESHOLDS, axis=1).astype(np.float32)


def store(rows: TrainingSet) -> WeightsCache:
    """Where fits are kept."""
    return WeightsCache(rows.cache / "fits")
