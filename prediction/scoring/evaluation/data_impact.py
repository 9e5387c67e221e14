"""Assess what new reports do to answers that were good before: the mark of contradictory scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Champion, DataImpact
from prediction.scoring.data.preparation import ScoringSplit, boundary_step, find_boundary
from prediction.scoring.data.record_store import MIN_RECORDS
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.evaluation.champion import unseen_by_champion
from prediction.scoring.evaluation.metrics import row_errors
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model import ordinal
from prediction.scoring.model.fitting import fit_cached, fit_weights, weights_cache
from storage.anomaly_reports.csv_store import SCORES

MAX_REFERENCE_ROWS = 300
MIN_REFERENCE_ROWS = 20
"""Held-out reports of the champion on which the new ones are judged."""

MIN_ROWS_TO_REFIT = 25
"""Fewer new rows hardly move the weights: only what they add to the history is assessed."""

MAX_REASONS = 5
MAX_TEXT_LENGTH = 60

MAX_ERROR_RATIO, MIN_ERROR_LEVELS = 5.0, 1.0
"""From so many times the usual error, and so many levels, a person must look at the new reports: mistyped
columns, a scale turned round, scores made up."""

RowIndex = NDArray[np.intp]


def assess_new_data(champion: Champion, split: ScoringSplit) -> DataImpact | None:
    """Return errors on held-out reports of the champion, trained without and with the rows it never saw.

    Both models know the older of the champion's rows; one knows the new rows, too, in its weights and in its
    history. None where there is nothing new, or too little to compare.
    """
    rows = split.training_set
    new = unseen_by_champion(champion, rows)
    seen = np.flatnonzero(~new)
    if not new.any() or len(seen) < MIN_RECORDS:
        return None
    boundary = find_boundary(rows.select(~new).past_counts, boundary_step(len(seen)))
    trained, reference = seen[:boundary], seen[boundary:][-MAX_REFERENCE_ROWS:]
    is_trained = np.zeros(len(rows), bool)
    is_trained[trained] = True
    before, after = rows.select(is_trained), rows.select(is_trained | new)
    if len(reference) < MIN_REFERENCE_ROWS or np.isnan(before.usable_scores).all(axis=0).any():
        return None
    weights = _fit_without(before, trained, split)
    keys = np.bitwise_xor.reduce(rows.keys[reference] * np.uint64(0x9E3779B97F4A7C15))
    past = int(before.prefix_hashes[-1])
    without = weights_cache(before).get(
        f"errors-{split.hyperparameters.digest}-{past:016x}-{int(keys):016x}",
        (len(reference),),
        lambda: _reference_errors(before, weights, split, reference),
    )
    weights_with = _fit_with(after, int(new.sum()), weights, split)
    with_new = _reference_errors(after, weights_with, split, reference)
    losses_on_new, reasons = _contradictions(split, new, weights)
    return DataImpact(
        losses_without=without.tolist(),
        losses_with=with_new.tolist(),
        reasons=reasons,
        losses_on_new=losses_on_new,
        max_loss_on_new=max(MAX_ERROR_RATIO * float(without.mean()), MIN_ERROR_LEVELS),
    )


def _fit_without(before: TrainingSet, trained: RowIndex, split: ScoringSplit) -> Floats:
    """Return weights without the new rows; mostly the champion's own held-out fit, from the cache."""
    hyperparameters = split.hyperparameters
    start = max(len(before) - hyperparameters.fitted_rows, 0)
    is_prefix = trained[-1] == len(before) - 1 and start >= split.start
    if is_prefix:
        features = split.features[start - split.start :]
    else:
        features = before.compute_features(hyperparameters, start)
    return fit_cached(before, hyperparameters, len(before), start, features)


def _fit_with(after: TrainingSet, new_rows: int, weights: Floats, split: ScoringSplit) -> Floats:
    if new_rows < MIN_ROWS_TO_REFIT:
        return weights
    start = max(len(after) - split.hyperparameters.fitted_rows, 0)
    features = after.compute_features(split.hyperparameters, start)
    return fit_weights(features, after, split.hyperparameters, weights, start=start, end=len(after))


def _reference_errors(rows: TrainingSet, weights: Floats, split: ScoringSplit, reference: RowIndex) -> Floats:
    """Return the errors on the reference rows, with ``rows`` as their history."""
    history = HistoryFeatures(rows.timeline(), split.hyperparameters)
    reports = split.training_set.encoded(reference)
    features = history.compute(reports, np.full(len(reports), len(rows)))
    levels = ordinal.decode_levels(ordinal.cumulative_probabilities(features @ weights))
    return row_errors(levels, split.training_set.scores[reference]).astype(np.float32)


def _contradictions(
    split: ScoringSplit, new: NDArray[np.bool_], weights: Floats
) -> tuple[list[float], list[str]]:
    """Return how far each new report is from what earlier ones suggest, and the farthest as sentences."""
    rows = split.training_set
    index = np.flatnonzero(new & (np.arange(len(rows)) >= split.start))
    margins = split.features[index - split.start] @ weights
    levels = ordinal.decode_levels(ordinal.cumulative_probabilities(margins))
    errors = np.nan_to_num(np.abs(levels - rows.scores[index]))
    worst = np.argsort(-errors.sum(axis=1), kind="stable")[:MAX_REASONS]
    reasons = [
        _describe(rows, int(index[row]), levels[row].tolist())
        for row in worst.tolist()
        if errors[row].max() >= 1
    ]
    return errors.mean(axis=1).tolist(), reasons


def _describe(rows: TrainingSet, row: int, expected: list[int]) -> str:
    report = int(rows.order[row])
    text = rows.reports.description[report]
    short = text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 3] + "…"
    differences = [
        f"{score} {rows.scores[row, column]:g} where earlier reports suggest {expected[column]}"
        for column, score in enumerate(SCORES)
        if abs(rows.scores[row, column] - expected[column]) >= 1
    ]
    return f"{rows.reports.anomaly_ids[report] or 'A report'} ({short!r}): {'; '.join(differences)}"
