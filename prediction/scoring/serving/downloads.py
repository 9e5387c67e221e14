"""Write scikit-learn files for people on request; the server never reads them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from prediction.scoring.features.history_features import NUM_FEATURES
from prediction.scoring.model.hyperparameters import NUM_THRESHOLDS
from prediction.scoring.model.ordinal import decision_thresholds
from prediction.scoring.serving.artefacts import read_artefacts
from storage.anomaly_reports.reports import SCORES
from storage.filesystem.checked_write import write_checked

SUFFIXES = (".pkl", ".joblib")
DOWNLOAD_NAMES = {f"{score}_model{suffix}": score for score in SCORES for suffix in SUFFIXES}


def write_download(folder: Path, file_name: str, target: Path) -> bool:
    """Write ``<score>_model.pkl`` or ``.joblib``: a ``MultiOutputClassifier`` of four logistic regressions.

    ``1 + (model.predict(features) * [1, 2, 3, 4]).max(axis=1)`` is the score, where ``features`` are those of
    ``HistoryFeatures.compute``. False where there is no download of that name.
    """
    if file_name not in DOWNLOAD_NAMES:
        return False
    import pickle

    import joblib
    from sklearn.linear_model import LogisticRegression
    from sklearn.multioutput import MultiOutputClassifier

    column = SCORES.index(DOWNLOAD_NAMES[file_name])
    artefacts = read_artefacts(folder)
    weights = artefacts.weights[:, column * NUM_THRESHOLDS : (column + 1) * NUM_THRESHOLDS]
    thresholds = decision_thresholds(artefacts.cost).astype(float)
    classifier = MultiOutputClassifier(LogisticRegression(fit_intercept=False))
    classifier.estimators_ = []
    for coefficients, threshold in zip(weights.T, thresholds, strict=True):
        estimator = LogisticRegression(fit_intercept=False)
        estimator.coef_ = np.ascontiguousarray(coefficients[None, :], np.float64)
        # A threshold below one half is an intercept: predict() compares the margin with zero.
        estimator.intercept_ = np.array([-np.log(threshold / (1 - threshold))])
        estimator.classes_ = np.array([0, 1])
        estimator.n_features_in_ = len(coefficients)
        estimator.n_iter_ = np.array([0])
        classifier.estimators_.append(estimator)
    classifier.classes_ = [estimator.classes_ for estimator in classifier.estimators_]
    classifier.n_features_in_ = weights.shape[0]
    # pickle.load refuses what joblib writes, so a .pkl file has to be a pickle.
    content = io.BytesIO()
    if file_name.endswith(".pkl"):
        pickle.dump(classifier, content)
    else:
        joblib.dump(classifier, content)
    write_checked(target, content.getbuffer())
    return True


def describe_downloads() -> dict[str, object]:
    """Return what the downloads are and how to use them, for ``model_info.json``."""
    return {
        "files": sorted(DOWNLOAD_NAMES),
        "made_with": "scikit-learn, on request; load .joblib with joblib.load and .pkl with pickle.load",
        "what": "four logistic regressions a score: is it above 1, above 2, above 3, above 4?",
        "use": "1 + (model.predict(features) * [1, 2, 3, 4]).max(axis=1)",
        "features": f"{NUM_FEATURES} columns of "
        "prediction.scoring.features.history_features.HistoryFeatures.compute: sketch of the text's n-grams, "
        "past answers of groups, votes of similar reports, evidence of words, a constant",
        "serving": "The server answers from weights.npz and history.npz and reads none of these files.",
    }
