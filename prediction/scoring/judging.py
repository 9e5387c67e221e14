"""The gate's two questions: is the recipe as good as the champion's, and do the new rows do harm?"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Champion, Harm, Scores
from prediction.scoring import levels
from prediction.scoring.chronicle import Chronicle
from prediction.scoring.history import History
from prediction.scoring.intake import FEWEST_RECORDS
from prediction.scoring.model import ScoringModel, fitted, judged, judged_weights, store
from prediction.scoring.past import Floats
from prediction.scoring.prepare import Study, boundary_step, held_out_from
from prediction.scoring.quality import measured, row_errors
from prediction.scoring.recipe import Recipe
from prediction.scoring.row_cache import Keys
from prediction.scoring.served import ROW_KEYS_FILE, STATE_FILE
from storage.csv_store import SCORES

MOST_WITNESSES = 300
FEWEST_WITNESSES = 20
"""Vetted reports that testify for or against the new rows."""

FEWEST_ROWS_REFITTED = 25
"""Fewer new rows cannot move the weights noticeably: only what they add to the history is examined."""

MOST_NAMED = 5

STRANGE_TIMES, STRANGE_LEVELS = 5.0, 1.0
"""New reports whose scores are so many times as far off as usual, and so many levels, are for a person to
see: mistyped columns, a scale turned round, scores made up."""


def champion_scores(champion: Champion, model: ScoringModel, study: Study) -> Scores | None:
    """The champion's recipe on the champion's training rows, measured on the candidate's held-out rows.

    None where the champion was made from other features, which no longer exist.
    """
    recipe = _recipe(champion)
    if recipe is None:
        return None
    late = unvetted(champion, study.chronicle)[: study.boundary]
    if recipe == study.recipe and not late.any():
        return measured(model, study)
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
    return measured(judged(beside), beside)


def harm_of_new_rows(champion: Champion, study: Study) -> Harm | None:
    """Errors on reports held out of what the champion knew, learnt without and with the rows it never saw.

    Both sides know the older vetted rows; one knows the new rows besides, in its weights and in its history.
    A batch of contradictory scores shows as larger errors on the newest vetted rows, the witnesses.
    """
    rows, new = study.chronicle, unvetted(champion, study.chronicle)
    vetted = np.flatnonzero(~new)
    if not new.any() or len(vetted) < FEWEST_RECORDS:
        return None
    boundary = held_out_from(rows.chosen(~new).moments, boundary_step(len(vetted)))
    known, witnesses = vetted[:boundary], vetted[boundary:][-MOST_WITNESSES:]
    before = rows.chosen(_marked(known, len(rows)))
    if len(witnesses) < FEWEST_WITNESSES or np.isnan(before.trusted).all(axis=0).any():
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
    return Harm(
        without.tolist(),
        with_new.tolist(),
        suspects,
        contradiction,
        max(STRANGE_TIMES * float(without.mean()), STRANGE_LEVELS),
    )


def unvetted(champion: Champion, rows: Chronicle) -> NDArray[np.bool_]:
    """Rows that are not among those the champion was made from."""
    known: Keys = np.load(champion.folder / ROW_KEYS_FILE, allow_pickle=False)
    return ~np.isin(rows.keys, known)


def _recipe(champion: Champion) -> Recipe | None:
    kept = json.loads((champion.folder / STATE_FILE).read_bytes())["recipe"]
    if kept["format"] != Recipe().format:
        return None
    return Recipe(**{**kept, "recency_rows": tuple(kept["recency_rows"])})


def _marked(rows: NDArray[np.intp], count: int) -> NDArray[np.bool_]:
    marks = np.zeros(count, bool)
    marks[rows] = True
    return marks


def _weights_without(before: Chronicle, known: NDArray[np.intp], study: Study) -> Floats:
    """Weights learnt from the vetted rows; mostly they are the champion's judged ones, kept on disk."""
    start = max(len(before) - study.recipe.fitted_rows, 0)
    leading = known[-1] == len(before) - 1 and start >= study.start
    features = study.features[start - study.start :] if leading else before.features(study.recipe, start)
    return judged_weights(before, study.recipe, len(before), start, features)


def _weights_with(after: Chronicle, count: int, weights: Floats, study: Study) -> Floats:
    """The weights moved by the new rows, unless those are too few to move them."""
    if count < FEWEST_ROWS_REFITTED:
        return weights
    start = max(len(after) - study.recipe.fitted_rows, 0)
    features = after.features(study.recipe, start)
    return fitted(features, after, study.recipe, weights, start=start, end=len(after))


def _testimony(before: Chronicle, study: Study, witnesses: NDArray[np.intp]) -> str:
    told = np.bitwise_xor.reduce(study.chronicle.keys[witnesses] * np.uint64(0x9E3779B97F4A7C15))
    return f"errors-{study.recipe.digest}-{int(before.chain[-1]):016x}-{int(told):016x}"


def _errors(rows: Chronicle, weights: Floats, study: Study, witnesses: NDArray[np.intp]) -> Floats:
    """Errors on the witnesses, all of them asked at the end of ``rows``."""
    history = History(rows.timeline(), study.recipe)
    asked = study.chronicle.encoded(witnesses)
    features = history.features(asked, np.full(len(asked), len(rows)))
    level = levels.decoded(levels.chances_above(features @ weights))
    return row_errors(level, study.chronicle.scores[witnesses]).astype(np.float32)


def _suspects(study: Study, new: NDArray[np.bool_], weights: Floats) -> tuple[list[float], list[str]]:
    """How far each new report is from what similar reports of the past say, and the farthest in words."""
    rows = study.chronicle
    asked = np.flatnonzero(new & (np.arange(len(rows)) >= study.start))
    level = levels.decoded(levels.chances_above(study.features[asked - study.start] @ weights))
    contradiction = np.nan_to_num(np.abs(level - rows.scores[asked]))
    worst = np.argsort(-contradiction.sum(axis=1), kind="stable")[:MOST_NAMED]
    told = [
        _sentence(rows, int(asked[place]), level[place])
        for place in worst.tolist()
        if contradiction[place].max() >= 1
    ]
    return contradiction.mean(axis=1).tolist(), told


def _sentence(rows: Chronicle, row: int, expected: NDArray[np.generic]) -> str:
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
