"""The gate's two questions: is the recipe as good as the champion's, and do the new rows do harm?"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Champion, DataImpact, Scores
from prediction.scoring.data.preparation import ScoringSplit, boundary_step, find_boundary
from prediction.scoring.data.row_cache import Keys
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.evaluation.metrics import evaluate, row_errors
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.features.point_in_time import Floats
from prediction.scoring.model import ordinal
from prediction.scoring.model.fitting import (
    ScoringModel,
    fit_cached_weights,
    fit_held_out,
    fit_weights,
    store,
)
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from prediction.scoring.requests.intake import MIN_RECORDS
from prediction.scoring.serving.artefacts import ROW_KEYS_FILE, STATE_FILE
from storage.anomaly_reports.csv_store import SCORES

MAX_REFERENCE_ROWS = 300
MIN_REFERENCE_ROWS = 20
"""Vetted reports that testify for or against the new rows."""

MIN_ROWS_TO_REFIT = 25
"""Fewer new rows cannot move the weights noticeably: only what they add to the history is examined."""

MAX_REASONS = 5

STRANGE_TIMES, STRANGE_LEVELS = 5.0, 1.0
"""New reports whose scores are so many times as far off as usual, and so many levels, are for a person to
see: mistyped columns, a scale turned round, scores made up."""


def evaluate_champion(champion: Champion, model: ScoringModel, study: ScoringSplit) -> Scores | None:
    """The champion's recipe on the champion's training rows, measured on the candidate's held-out rows.

    None where the champion was made from other features, which no longer exist.
    """
    recipe = _recipe(champion)
    if recipe is None:
        return None
    late = unseen_by_champion(champion, study.chronicle)[: study.boundary]
    if recipe == study.recipe and not late.any():
        return evaluate(model, study)
    kept = np.r_[~late, np.ones(len(study.chronicle) - study.boundary, bool)]
    if kept[: study.boundary].sum() < study.boundary // 2:
        return None
    rows = study.chronicle.chosen(kept)
    boundary = study.boundary - int(late.sum())
    start = max(boundary - recipe.fitted_rows, 0)
    beside = replace(
        study,
        chronicle=rows,
        recipe=recipe,
        boundary=boundary,
        start=start,
        features=rows.features(recipe, start),
    )
    return evaluate(fit_held_out(beside), beside)


def assess_new_data(champion: Champion, study: ScoringSplit) -> DataImpact | None:
    """Errors on reports held out of what the champion knew, learnt without and with the rows it never saw.

    Both sides know the older vetted rows; one knows the new rows besides, in its weights and in its history.
    A batch of contradictory scores shows as larger errors on the newest vetted rows, the witnesses.
    """
    rows, new = study.chronicle, unseen_by_champion(champion, study.chronicle)
    vetted = np.flatnonzero(~new)
    if not new.any() or len(vetted) < MIN_RECORDS:
        return None
    boundary = find_boundary(rows.chosen(~new).past_counts, boundary_step(len(vetted)))
    known, witnesses = vetted[:boundary], vetted[boundary:][-MAX_REFERENCE_ROWS:]
    before = rows.chosen(_marked(known, len(rows)))
    if len(witnesses) < MIN_REFERENCE_ROWS or np.isnan(before.usable_scores).all(axis=0).any():
        return None
    after = rows.chosen(_marked(known, len(rows)) | new)
    weights = _weights_without(before, known, study)
    without = store(before).get(
        _testimony(before, study, witnesses),
        (len(witnesses),),
        lambda: _errors(before, weights, study, witnesses),
    )
    with_new = _errors(after, _weights_with(after, int(new.sum()), weights, study), study, witnesses)
    contradiction, suspects = _suspects(study, new, weights)
    return DataImpact(
        without.tolist(),
        with_new.tolist(),
        suspects,
        contradiction,
        max(STRANGE_TIMES * float(without.mean()), STRANGE_LEVELS),
    )


def unseen_by_champion(champion: Champion, rows: TrainingSet) -> NDArray[np.bool_]:
    """Rows that are not among those the champion was made from."""
    known: Keys = np.load(champion.folder / ROW_KEYS_FILE, allow_pickle=False)
    return ~np.isin(rows.keys, known)


def _recipe(champion: Champion) -> ScoringHyperparameters | None:
    kept = json.loads((champion.folder / STATE_FILE).read_bytes())["recipe"]
    if kept["format"] != ScoringHyperparameters().format:
        return None
    return ScoringHyperparameters(**{**kept, "recency_rows": tuple(kept["recency_rows"])})


def _marked(rows: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    marks = np.zeros(count, bool)
    marks[rows] = True
    return marks


def _weights_without(before: TrainingSet, known: NDArray[np.intp], study: ScoringSplit) -> Floats:
    """Weights learnt from the vetted rows; mostly they are the champion's judged ones, kept on disk."""
    start = max(len(before) - study.recipe.fitted_rows, 0)
    leading = known[-1] == len(before) - 1 and start >= study.start
    features = study.features[start - study.start :] if leading else before.features(study.recipe, start)
    return fit_cached_weights(before, study.recipe, len(before), start, features)


def _weights_with(after: TrainingSet, count: int, weights: Floats, study: ScoringSplit) -> Floats:
    """The weights moved by the new rows, unless those are too few to move them."""
    if count < MIN_ROWS_TO_REFIT:
        return weights
    start = max(len(after) - study.recipe.fitted_rows, 0)
    features = after.features(study.recipe, start)
    return fit_weights(features, after, study.recipe, weights, start=start, end=len(after))


def _testimony(before: TrainingSet, study: ScoringSplit, witnesses: NDArray[np.intp]) -> str:
    told = np.bitwise_xor.reduce(study.chronicle.keys[witnesses] * np.uint64(0x9E3779B97F4A7C15))
    return f"errors-{study.recipe.digest}-{int(before.prefix_hashes[-1]):016x}-{int(told):016x}"


def _errors(rows: TrainingSet, weights: Floats, study: ScoringSplit, witnesses: NDArray[np.intp]) -> Floats:
    """Errors on the witnesses, all of them asked at the end of ``rows``."""
    history = HistoryFeatures(rows.timeline(), study.recipe)
    asked = study.chronicle.encoded(witnesses)
    features = history.features(asked, np.full(len(asked), len(rows)))
    level = ordinal.decode_levels(ordinal.cumulative_probabilities(features @ weights))
    return row_errors(level, study.chronicle.scores[witnesses]).astype(np.float32)


def _suspects(study: ScoringSplit, new: NDArray[np.bool_], weights: Floats) -> tuple[list[float], list[str]]:
    """How far each new report is from what similar reports of the past say, and the farthest in words."""
    rows = study.chronicle
    asked = np.flatnonzero(new & (np.arange(len(rows)) >= study.start))
    level = ordinal.decode_levels(
        ordinal.cumulative_probabilities(study.features[asked - study.start] @ weights)
    )
    contradiction = np.nan_to_num(np.abs(level - rows.scores[asked]))
    worst = np.argsort(-contradiction.sum(axis=1), kind="stable")[:MAX_REASONS]
    told = [
        _sentence(rows, int(asked[place]), level[place])
        for place in worst.tolist()
        if contradiction[place].max() >= 1
    ]
    return contradiction.mean(axis=1).tolist(), told


def _sentence(rows: TrainingSet, row: int, expected: NDArray[np.generic]) -> str:
    place = int(rows.order[row])
    name = rows.reports.anomaly_ids[place]
    told = rows.reports.description[place]
    short = told if len(told) <= 60 else told[:57] + "…"
    differing = [
        f"{score} {rows.scores[row, column]:g} where earlier reports suggest {int(expected[column])}"
        for column, score in enumerate(SCORES)
        if abs(rows.scores[row, column] - expected[column]) >= 1
    ]
    return f"{name or 'A report'} ({short!r}): {'; '.join(differing)}"
