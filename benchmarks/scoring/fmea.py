"""Another plant, another language: severity of English failure modes.

``python -m benchmarks.scoring.fmea FILE``

The 330 rows of the mobile-plant FMEA have no times, so they are folded by component: no fold has a component
that was trained on. Severity (1 to 4) stands for process safety. Beside the recipe stands a TF-IDF with a
balanced logistic regression. Mean absolute error and quadratic weighted kappa over all rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline

from benchmarks.measure import table, write_results
from prediction.scoring.evaluation.metrics import quadratic_weighted_kappa
from prediction.scoring.features.encoding import encode_reports
from prediction.scoring.features.history_features import (
    NUM_FEATURES,
    HistoryFeatures,
    ReportTimeline,
    encode_targets,
)
from prediction.scoring.model import logistic, ordinal
from prediction.scoring.model.fitting import compute_row_weights
from prediction.scoring.model.hyperparameters import NUM_TARGETS, ScoringHyperparameters

SAFETY = 2


def main() -> None:
    """Measure all folds, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("file", type=Path)
    rows = pd.read_csv(command.parse_args().file, encoding="utf-8-sig").fillna("")
    groups = rows["Component"] + "/" + rows["Sub-Component"]
    truth = rows["Severity"].to_numpy(int)
    told = {"millwright": np.zeros(len(rows), int), "TF-IDF, balanced logistic": np.zeros(len(rows), int)}
    told["majority"] = np.full(len(rows), np.bincount(truth).argmax())
    for trained, asked in GroupKFold(5, shuffle=True, random_state=0).split(rows, groups=groups):
        told["millwright"][asked] = _millwright(rows.iloc[trained], truth[trained], rows.iloc[asked])
        told["TF-IDF, balanced logistic"][asked] = _tf_idf(
            rows.iloc[trained], truth[trained], rows.iloc[asked]
        )
    figures = {
        name: {
            "mae": float(np.abs(level - truth).mean()),
            "accuracy": float((level == truth).mean()),
            "quadratic_weighted_kappa": quadratic_weighted_kappa(level, truth),
        }
        for name, level in told.items()
    }
    lines = [[name, *(f"{value:.3f}" for value in of.values())] for name, of in figures.items()]
    table("Severity of failure modes, folds by component", ["", "MAE", "share right", "kappa"], lines)
    print(write_results("scoring.fmea", {"rows": len(rows), "figures": figures}))


def _millwright(trained: pd.DataFrame, severity: np.ndarray, asked: pd.DataFrame) -> np.ndarray:
    """Evaluate the hyper-parameters on earlier rows only, each with the rows above it as its past."""
    hyperparameters = ScoringHyperparameters()
    scores = np.full((len(trained), 3), np.nan, np.float32)
    scores[:, SAFETY] = severity
    encoded = encode_reports(_reports(trained))
    known = ReportTimeline(encoded["groups"], scores, encoded)
    features = HistoryFeatures(known, hyperparameters, min_past_count=0).compute(
        encoded, np.arange(len(trained))
    )
    replies = encode_targets(scores)
    cost = np.float32(hyperparameters.penalty) * compute_row_weights(replies, hyperparameters)
    weights = logistic.fit(
        features, replies[:, :NUM_TARGETS], cost, np.zeros((NUM_FEATURES, NUM_TARGETS), np.float32)
    )
    end = np.full(len(asked), len(trained))
    margins = HistoryFeatures(known, hyperparameters).compute(encode_reports(_reports(asked)), end) @ weights
    return ordinal.decode_levels(ordinal.cumulative_probabilities(margins))[:, SAFETY]


def _tf_idf(trained: pd.DataFrame, severity: np.ndarray, asked: pd.DataFrame) -> np.ndarray:
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(class_weight="balanced", max_iter=2_000),
    )
    return model.fit(_texts(trained, everything=True), severity).predict(_texts(asked, everything=True))


def _reports(rows: pd.DataFrame) -> list[dict[str, str]]:
    return [
        {"description": text, "equipment_name": part, "equipment_id": part, "system": system}
        for text, part, system in zip(
            _texts(rows), rows["Component"] + " " + rows["Sub-Component"], rows["Subsystem"], strict=True
        )
    ]


def _texts(rows: pd.DataFrame, everything: bool = False) -> pd.Series:
    text = rows["Potential Failure Mode"] + " " + rows["Potential Effect(s) of Failure"]
    return rows["Subsystem"] + " " + rows["Component"] + " " + text if everything else text


if __name__ == "__main__":
    main()
