"""How good a scoring model is on held-out reports, beside what needs no model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Scores
from prediction.figures import Figure, confusion, reliability
from prediction.scoring.data.preparation import ScoringSplit
from prediction.scoring.features.history_features import compute_equipment_means
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model import ordinal
from prediction.scoring.model.fitting import ScoringModel
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from storage.anomaly_reports.csv_store import SCORES


def evaluate(model: ScoringModel, study: ScoringSplit) -> Scores:
    """Scores of a judged model on the held-out rows, the labels of earlier reports known as they came in."""
    chance, level = held_out_answers(model.weights, study)
    truth = study.chronicle.scores[study.boundary :]
    metrics = {"mae": mean_error(level, truth)}
    for column, score in enumerate(SCORES):
        known = ~np.isnan(truth[:, column])
        metrics |= {
            f"{score}.{name}": value
            for name, value in _metrics(
                chance[known, column], level[known, column], truth[known, column], study.coverage
            ).items()
        }
    baselines = {"majority": majority_baseline(study), "equipment_mean": equipment_mean_baseline(study)}
    for name, guess in baselines.items():
        for column, score in enumerate(SCORES):
            metrics[f"{score}.mae_{name}"] = mean_error(guess[:, [column]], truth[:, [column]])
    errors = {name: mean_error(guess, truth) for name, guess in baselines.items()}
    return Scores(
        headline=metrics["mae"],
        metrics=metrics,
        baselines=errors,
        held_out=len(truth),
        beats_baselines=all(metrics["mae"] < error for error in errors.values()),
        losses=row_errors(level, truth).tolist(),
        figures=list(_figures(chance, level, truth)),
    )


def _figures(chance: Floats, level: Ints, truth: Floats) -> Iterator[Figure]:
    """Which level was taken for which, and whether the chances are honest."""
    names = [str(place + 1) for place in range(NUM_LEVELS)]
    given, right = [], []
    for column, score in enumerate(SCORES):
        known = ~np.isnan(truth[:, column])
        answers, nearest = level[known, column], _nearest(truth[known, column])
        yield confusion(f"{score.replace('_', ' ')}: level given by experts and by the model", names,
                        _pairs_counted(answers, nearest).astype(int).tolist())  # fmt: skip
        given.append(chance[known, column].max(axis=-1))
        right.append(chance[known, column].argmax(axis=-1) + 1 == nearest)
    if any(map(len, given)):
        yield reliability("Chance of the likeliest level", np.concatenate(given), np.concatenate(right))


def held_out_answers(weights: Floats, study: ScoringSplit) -> tuple[Floats, Ints]:
    """Level probabilities and scores of the held-out rows."""
    above = ordinal.cumulative_probabilities(study.features[study.boundary - study.start :] @ weights)
    return ordinal.level_probabilities(above), ordinal.decode_levels(above)


def row_errors(level: NDArray[Any], truth: Floats) -> Floats:
    """Mean absolute error of each row over the scores that it has."""
    errors = np.abs(level - truth)
    known = ~np.isnan(errors)
    mean: Floats = np.where(known, errors, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return mean


def mean_error(level: NDArray[Any], truth: Floats) -> float:
    """Mean over the scores of their mean absolute errors."""
    errors = np.abs(level - truth)
    of_scores = [column[~np.isnan(column)] for column in errors.T]
    return float(np.mean([column.mean() for column in of_scores if len(column)] or [0.0]))


def quadratic_weighted_kappa(level: Ints, truth: Floats) -> float:
    """Agreement beyond chance with squared distances (Cohen, 1968); 0 where one side never varies."""
    seen = _pairs_counted(level, _nearest(truth))
    places = np.arange(NUM_LEVELS)
    distance = (places[:, None] - places[None, :]) ** 2
    by_chance = np.outer(seen.sum(1), seen.sum(0)) / max(seen.sum(), 1.0)
    expected = float((distance * by_chance).sum())
    return 1.0 - float((distance * seen).sum()) / expected if expected else 0.0


def _nearest(truth: Floats) -> Ints:
    """The level nearest to each score given."""
    level: Ints = np.clip(np.floor(truth + 0.5), 1, NUM_LEVELS).astype(int)
    return level


def _pairs_counted(level: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """How often each true level (row) was answered with each level (column)."""
    seen = np.zeros((NUM_LEVELS, NUM_LEVELS))
    np.add.at(seen, (truth - 1, level - 1), 1)
    return seen


def majority_baseline(study: ScoringSplit) -> NDArray[Any]:
    """The most frequent level of each score in the training part, for every held-out row."""
    trained = np.floor(study.chronicle.scores[: study.boundary] + 0.5)
    frequent = [
        np.bincount(column[~np.isnan(column)].astype(int), minlength=NUM_LEVELS + 1).argmax()
        for column in trained.T
    ]
    return np.tile(np.array(frequent), (len(study.chronicle) - study.boundary, 1))


def equipment_mean_baseline(study: ScoringSplit) -> NDArray[Any]:
    """The rounded mean of the device's earlier scores; the most frequent level for a device never seen."""
    rows = study.chronicle
    means = compute_equipment_means(rows.groups, rows.answers, rows.past_counts, study.boundary)
    guess: NDArray[Any] = np.where(np.isnan(means), majority_baseline(study), np.floor(means + 0.5))
    return guess


def _metrics(chance: Floats, level: Ints, truth: Floats, coverage: float) -> dict[str, float]:
    if not len(truth):
        return {}
    kept, size = _coverage(chance[:, None, :], level[:, None], truth[:, None], coverage)
    return {
        "mae": float(np.abs(level - truth).mean()),
        "quadratic_weighted_kappa": quadratic_weighted_kappa(level, truth),
        "within_one": float((np.abs(level - truth) <= 1).mean()),
        "coverage": kept,
        "set_size": size,
    }


def _coverage(chance: Floats, level: Ints, truth: Floats, promised: float) -> tuple[float, float]:
    """Measured coverage and mean size of conformal sets: limits from the older half, counted on the newer."""
    half = len(truth) // 2
    limits = [
        ordinal.conformal_quantile(s, promised)
        for s in ordinal.compute_nonconformity(chance[:half], truth[:half])
    ]
    sets = ordinal.conformal_sets(chance[half:], level[half:], limits)[:, 0]
    nearest = _nearest(truth[half:, 0])
    held = sets[np.arange(len(nearest)), nearest - 1]
    return float(held.mean()), float(sets.sum(axis=1).mean())
