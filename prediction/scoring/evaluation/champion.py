"""Compare a candidate with the champion on the same held-out reports."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Champion, Scores, artefact_errors
from prediction.scoring.data.preparation import ScoringSplit
from prediction.scoring.data.row_cache import Keys
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.evaluation.metrics import evaluate
from prediction.scoring.model.fitting import ScoringModel, fit_held_out
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from prediction.scoring.serving.artefacts import ROW_KEYS_FILE, STATE_FILE, read_hyperparameters


def evaluate_champion(champion: Champion, model: ScoringModel, split: ScoringSplit) -> Scores | None:
    """Fit the champion's hyper-parameters on its training rows, and evaluate on the held-out rows.

    None where the champion was made from other features, which no longer exist, or saw too few of the rows.
    """
    with artefact_errors(f"Version {champion.number}"):
        hyperparameters = read_hyperparameters(json.loads((champion.folder / STATE_FILE).read_bytes()))
    if hyperparameters.format != ScoringHyperparameters.format:
        return None
    rows, boundary = split.training_set, split.boundary
    unseen = unseen_by_champion(champion, rows)[:boundary]
    if hyperparameters == split.hyperparameters and not unseen.any():
        return evaluate(model, split)
    if (~unseen).sum() < boundary // 2:
        return None
    rows = rows.select(np.r_[~unseen, np.ones(len(rows) - boundary, bool)])
    boundary -= int(unseen.sum())
    start = max(boundary - hyperparameters.fitted_rows, 0)
    champion_split = replace(
        split,
        training_set=rows,
        hyperparameters=hyperparameters,
        boundary=boundary,
        start=start,
        features=rows.compute_features(hyperparameters, start),
    )
    return evaluate(fit_held_out(champion_split), champion_split)


def unseen_by_champion(champion: Champion, rows: TrainingSet) -> NDArray[np.bool_]:
    """Return the rows that the champion was not made from."""
    with artefact_errors(f"Version {champion.number}"):
        keys: Keys = np.load(champion.folder / ROW_KEYS_FILE, allow_pickle=False)
    return ~np.isin(rows.keys, keys)
