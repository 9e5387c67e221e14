"""Metrics of a scoring model on held-out reports, beside two baselines.

Computed here, not by scikit-learn: the figures are equal, but importing it would double the time of a small
training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Scores
from prediction.figures import Figure, bars, confusion, reliability
from prediction.scoring.data.preparation import ScoringSplit
from prediction.scoring.features.history_features import compute_equipment_means
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model import conformal, ordinal
from prediction.scoring.model.fitting import ScoringModel
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.model.ordinal import round_scores
from storage.anomaly_reports.csv_store import SCORES
from storage.models.figures import BarFigure

Levels: TypeAlias = Ints | Floats
# Held-out scores that are listed as most wrong, and the error from which on one is wrong.
MAX_ERRORS: Final = 12
MIN_ERROR: Final = 1.5


def evaluate(model: ScoringModel, split: ScoringSplit) -> Scores:
    """Return the scores on the held-out rows, where the scores of earlier reports are known."""
    above = ordinal.cumulative_probabilities(split.held_out_features @ model.weights)
    probabilities, levels = ordinal.level_probabilities(above), ordinal.decode_levels(above, split.cost)
    truth = split.training_set.scores[split.boundary :]
    metrics = {"mae": mean_error(levels, truth)}
    for column, score in enumerate(SCORES):
        present = ~np.isnan(truth[:, column])
        measured = _measure_score(
            probabilities[present, column], levels[present, column], truth[present, column], split.coverage
        )
        metrics |= {f"{score}.{name}": value for name, value in measured.items()}
    baselines = {"majority": majority_baseline(split), "equipment_mean": equipment_mean_baseline(split)}
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
        losses=row_errors(levels, truth).tolist(),
        figures=[*build_figures(probabilities, levels, truth), *find_largest_errors(levels, truth, split)],
    )


def build_figures(probabilities: Floats, levels: Ints, truth: Floats) -> Iterator[Figure]:
    """Yield a confusion matrix for each score, and the reliability of the probabilities."""
    labels = [str(level) for level in range(1, NUM_LEVELS + 1)]
    highest, correct = [], []
    for column, score in enumerate(SCORES):
        present = ~np.isnan(truth[:, column])
        predicted, true = levels[present, column], round_scores(truth[present, column])
        title = f"{score.replace('_', ' ')}: level given by experts and by the model"
        yield confusion(title, labels, _confusion_counts(predicted, true).astype(int).tolist())
        highest.append(probabilities[present, column].max(axis=-1))
        correct.append(probabilities[present, column].argmax(axis=-1) + 1 == true)
    if any(map(len, highest)):
        yield reliability("Chance of the likeliest level", np.concatenate(highest), np.concatenate(correct))


def find_largest_errors(levels: Levels, truth: Floats, split: ScoringSplit) -> Iterator[BarFigure]:
    """Yield the held-out scores that the model gets most wrong, with the numbers of their reports."""
    rows, errors = split.training_set, np.nan_to_num(np.abs(levels - truth))
    # Stable, and the newest first: of equal errors the newest report is the one to look at.
    worst = np.argsort(-errors[::-1], axis=None, kind="stable")[:MAX_ERRORS].tolist()
    places = [(len(errors) - 1 - place // len(SCORES), place % len(SCORES)) for place in worst]
    places = [place for place in places if errors[place] >= MIN_ERROR]
    if places:
        reports = [int(rows.order[split.boundary + row]) for row, _ in places]
        labels = [
            f"{rows.reports.excerpt(report)} ({SCORES[column].replace('_', ' ')})"
            for report, (_, column) in zip(reports, places, strict=True)
        ]
        values = {
            "experts": [float(truth[place]) for place in places],
            "model": [float(levels[place]) for place in places],
        }
        figure = bars("Reports with the largest errors", "score", labels, values)
        figure["records"] = [rows.reports.anomaly_ids[report] for report in reports]
        yield figure


def row_errors(levels: Levels, truth: Floats) -> Floats:
    """Return the mean absolute error of each row over the scores that it has."""
    errors = np.abs(levels - truth)
    present = ~np.isnan(errors)
    mean: Floats = np.where(present, errors, 0.0).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return mean


def mean_error(levels: Levels, truth: Floats) -> float:
    """Return the mean over the scores of their mean absolute errors."""
    errors = np.abs(levels - truth)
    columns = [column[~np.isnan(column)] for column in errors.T]
    return float(np.mean([column.mean() for column in columns if len(column)] or [0.0]))


def quadratic_weighted_kappa(levels: Ints, truth: Floats) -> float:
    """Return the agreement beyond chance with squared distances (Cohen, 1968).

    0, unlike scikit-learn's NaN, where one side never varies.
    """
    counts = _confusion_counts(levels, round_scores(truth))
    index = np.arange(NUM_LEVELS)
    distance = (index[:, None] - index[None, :]) ** 2
    by_chance = np.outer(counts.sum(1), counts.sum(0)) / max(counts.sum(), 1.0)
    expected = float((distance * by_chance).sum())
    return 1.0 - float((distance * counts).sum()) / expected if expected else 0.0


def majority_baseline(split: ScoringSplit) -> Levels:
    """Return the most frequent level of each score in the training rows, for every held-out row."""
    trained = np.floor(split.training_set.scores[: split.boundary] + 0.5)
    most_frequent = [
        np.bincount(column[~np.isnan(column)].astype(int), minlength=NUM_LEVELS + 1).argmax()
        for column in trained.T
    ]
    return np.tile(np.array(most_frequent), (len(split.training_set) - split.boundary, 1))


def equipment_mean_baseline(split: ScoringSplit) -> Levels:
    """Return the rounded mean of the device's earlier scores; the majority's level without earlier ones."""
    rows = split.training_set
    means = compute_equipment_means(rows.groups, rows.targets, rows.past_counts, split.boundary)
    guess: Levels = np.where(np.isnan(means), majority_baseline(split), np.floor(means + 0.5))
    return guess


def _measure_score(probabilities: Floats, levels: Ints, truth: Floats, coverage: float) -> dict[str, float]:
    """Return the metrics of one score on the reports that have it."""
    if not len(truth):
        return {}
    # Limits of the sets from the older half, measured on the newer half.
    half = len(truth) // 2
    nonconformity = conformal.compute_nonconformity(probabilities[:half, None], truth[:half, None])
    limits = [nonconformity[0].limits(coverage)[0]]
    sets = conformal.conformal_sets(probabilities[half:, None], levels[half:, None], limits)[:, 0]
    true = round_scores(truth[half:])
    covered = sets[np.arange(len(true)), true - 1]
    measured_coverage, set_size = float(covered.mean()), float(sets.sum(axis=1).mean())
    return {
        "mae": float(np.abs(levels - truth).mean()),
        "quadratic_weighted_kappa": quadratic_weighted_kappa(levels, truth),
        "within_one": float((np.abs(levels - truth) <= 1).mean()),
        "coverage": measured_coverage,
        "set_size": set_size,
        **_severe_recalls(levels, truth),
    }


def _severe_recalls(levels: Ints, truth: Floats) -> dict[str, float]:
    """Return the share of reports scored 4 or 5, and 5, that the model scores as high; none without any."""
    recalls = {}
    for level in (NUM_LEVELS - 1, NUM_LEVELS):
        severe = round_scores(truth) >= level
        if severe.any():
            recalls[f"recall_{level}"] = float((levels[severe] >= level).mean())
    return recalls


def _confusion_counts(levels: Ints, true: Ints) -> NDArray[np.float64]:
    """Return how often each true level (row) was answered with each level (column)."""
    counts = np.zeros((NUM_LEVELS, NUM_LEVELS))
    np.add.at(counts, (true - 1, levels - 1), 1)
    return counts
