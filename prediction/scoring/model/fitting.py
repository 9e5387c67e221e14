"""Fit the scoring model: twelve logistic regressions ("above 1?" … "above 4?" of three scores)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from prediction.scoring.data.preparation import ScoringSplit
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.features.history_features import NUM_FEATURES
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model import conformal, logistic, ordinal
from prediction.scoring.model.hyperparameters import NUM_TARGETS, NUM_THRESHOLDS, ScoringHyperparameters
from prediction.scoring.model.weights_cache import WeightsCache
from prediction.scoring.serving.artefacts import ScoringArtefacts

SHAPE = (NUM_FEATURES, NUM_TARGETS)


@dataclass(frozen=True)
class ScoringModel:
    """Weights, and how they did on the held-out reports.

    Parameters
    ----------
    weights : ndarray of float32, shape (width, 12)
    nonconformity : list of Nonconformity
        For each score, that of the held-out reports.
    artefacts : ScoringArtefacts, optional
        What the refitted model serves from.
    """

    weights: Floats
    nonconformity: list[conformal.Nonconformity]
    artefacts: ScoringArtefacts | None = None


def fit_held_out(split: ScoringSplit) -> ScoringModel:
    """Fit the rows before the boundary; a fit on equal rows comes from the cache."""
    rows = split.training_set
    weights = fit_cached(rows, split.hyperparameters, split.boundary, split.start, split.features)
    above = ordinal.cumulative_probabilities(split.held_out_features @ weights)
    probabilities = ordinal.level_probabilities(above)
    return ScoringModel(
        weights, conformal.compute_nonconformity(probabilities, rows.scores[split.boundary :])
    )


def fit_cached(
    rows: TrainingSet, hyperparameters: ScoringHyperparameters, end: int, start: int, features: Floats
) -> Floats:
    """Return weights fitted from zero on rows ``start`` to ``end``; ``features`` may hold more rows."""

    def fit() -> Floats:
        zeros = np.zeros(SHAPE, np.float32)
        return fit_weights(features, rows, hyperparameters, zeros, start=start, end=end)

    name = f"judged-{hyperparameters.digest}-{start}-{int(rows.prefix_hashes[end - 1]):016x}"
    return weights_cache(rows).get(name, SHAPE, fit)


def refit_all(model: ScoringModel, split: ScoringSplit) -> ScoringModel:
    """Fit all rows: from the held-out weights to the rows before the anchor, and on to the end.

    Each fit starts where the one before ended and the anchor's is cached, so a few new reports cost little.
    The result is a function of rows and hyper-parameters alone, whatever was cached.
    """
    rows, hyperparameters = split.training_set, split.hyperparameters
    start = max(split.anchor - hyperparameters.fitted_rows, split.start)
    features = split.features[start - split.start :]

    def fit_anchor() -> Floats:
        # More exact than later fits need, so that these mostly find nothing left to do.
        tolerance = logistic.TOLERANCE / 3
        return fit_weights(
            features, rows, hyperparameters, model.weights, start=start, end=split.anchor, tolerance=tolerance
        )

    past = int(rows.prefix_hashes[split.anchor - 1])
    name = f"anchor-{hyperparameters.digest}-{start}-{split.boundary}-{past:016x}"
    weights = weights_cache(rows).get(name, SHAPE, fit_anchor)
    return replace(
        model, weights=fit_weights(features, rows, hyperparameters, weights, start=start, end=len(rows))
    )


def fit_weights(
    features: Floats,
    rows: TrainingSet,
    hyperparameters: ScoringHyperparameters,
    initial: Floats,
    *,
    start: int,
    end: int,
    tolerance: float = logistic.TOLERANCE,
) -> Floats:
    """Return weights fitted on rows ``start`` to ``end``; ``features`` begin at row ``start``."""
    targets = rows.targets[start:end]
    cost = np.float32(hyperparameters.penalty) * compute_row_weights(targets, hyperparameters)
    return logistic.fit(features[: end - start], targets[:, :NUM_TARGETS], cost, initial, tolerance)


def compute_row_weights(targets: Floats, hyperparameters: ScoringHyperparameters) -> Floats:
    """Return each row's weight for each target: 0 without the score, falling with age, 1 on average."""
    present = targets[:, NUM_TARGETS:]
    ages = np.arange(len(targets) - 1, -1, -1, dtype=np.float64)
    columns = []
    for score, half_life in enumerate(hyperparameters.recency_rows):
        fading = np.exp2(-ages / half_life) if half_life else np.ones_like(ages)
        weights = np.maximum(fading, hyperparameters.recency_floor)
        columns.append(present[:, score] * weights / weights.mean())
    return np.repeat(np.stack(columns, axis=1), NUM_THRESHOLDS, axis=1).astype(np.float32)


def weights_cache(rows: TrainingSet) -> WeightsCache:
    """Return the cache of fits beside that of rows."""
    return WeightsCache(rows.cache / "fits")
