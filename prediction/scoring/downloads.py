"""scikit-learn files for people: written on request, never read by the server."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prediction.contract import JSON
from prediction.scoring import history, served
from prediction.scoring.past import Floats
from prediction.scoring.recipe import STEPS
from storage.csv_store import SCORES

SUFFIXES = (".pkl", ".joblib")
NAMES = {f"{score}_model{suffix}": score for score in SCORES for suffix in SUFFIXES}


def write_download(folder: Path, file_name: str, target: Path) -> bool:
    """Write ``<score>_model.pkl`` or ``.joblib``: a ``MultiOutputClassifier`` of four logistic regressions.

    ``1 + model.predict(features).sum(axis=1)`` is the score, where ``features`` are those of
    ``prediction.scoring.history.History.features``. False where there is no download of that name.
    """
    if file_name not in NAMES:
        return False
    import joblib

    column = SCORES.index(NAMES[file_name])
    weights = served.read(folder).weights[:, column * STEPS : (column + 1) * STEPS]
    joblib.dump(_classifier(weights), target)
    return True


def description() -> JSON:
    """What the downloads are and how to use them, for ``model_info.json``."""
    return {
        "files": sorted(NAMES),
        "made_with": "scikit-learn, on request; load with joblib.load or pickle.load",
        "what": "four logistic regressions a score: is it above 1, above 2, above 3, above 4?",
        "use": "1 + model.predict(features).sum(axis=1)",
        "features": f"{history.WIDTH} columns of prediction.scoring.history.History.features: sketch of the "
        "text's n-grams, past answers of groups, votes of similar reports, evidence of words, a constant",
        "serving": "The server answers from weights.npz and history.npz and reads none of these files.",
    }


def _classifier(weights: Floats) -> object:
    from sklearn.linear_model import LogisticRegression
    from sklearn.multioutput import MultiOutputClassifier

    estimators = []
    for column in weights.T:
        estimator = LogisticRegression(fit_intercept=False)
        estimator.coef_ = np.ascontiguousarray(column[None, :], np.float64)
        estimator.intercept_ = np.zeros(1)
        estimator.classes_ = np.array([0, 1])
        estimator.n_features_in_ = len(column)
        estimator.n_iter_ = np.array([0])
        estimators.append(estimator)
    made = MultiOutputClassifier(LogisticRegression(fit_intercept=False))
    made.estimators_ = estimators
    made.classes_ = [estimator.classes_ for estimator in estimators]
    made.n_features_in_ = weights.shape[0]
    return made
