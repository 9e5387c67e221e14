"""How good the three scores are on reports that come later.

``python -m benchmarks.scoring.quality --data FOLDER``

Rolling origin: train on the first 50, 60, 70, 80, 90 % of the reports in time order, score the next 10 %,
five times. "Millwright" knows the labels of all strictly earlier reports in the history of devices, words and
texts, while its weights stay as they were fitted; with "history frozen" it knows the training part only.
Beside the recipe stand four baselines on the same folds. Mean absolute error and quadratic weighted kappa.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC

from benchmarks.measure import table, write_results
from benchmarks.server.guide_baseline import FIELDS, Averages, text_features
from prediction.scoring.data.training_set import TrainingSet, build_training_set
from prediction.scoring.evaluation.metrics import quadratic_weighted_kappa
from prediction.scoring.features.history_features import (
    NUM_FEATURES,
    HistoryFeatures,
    ReportTimeline,
    compute_equipment_means,
)
from prediction.scoring.model import ordinal
from prediction.scoring.model.fitting import fit_weights
from prediction.scoring.model.hyperparameters import DEFAULT_COST, NUM_TARGETS, ScoringHyperparameters
from storage.anomaly_reports.csv_store import SCORES, CsvStore

SHARES = (50, 60, 70, 80, 90)
# Predicted levels of a fold by the name of who predicts, each of shape (reports, 3).
Scored = dict[str, np.ndarray]


class Folds:
    """The reports with their features, and what each competitor says of a fold."""

    def __init__(self, rows: TrainingSet, competitors: list[str]) -> None:
        self.rows, self.hyperparameters = rows, ScoringHyperparameters()
        self.features = rows.compute_features(self.hyperparameters, 0)
        self.table = _table(rows)
        everybody: dict[str, Callable[[int, int], np.ndarray]] = {
            "millwright": self.kept_up_to_date,
            "millwright, history frozen": self.frozen,
            "majority": self.majority,
            "equipment mean": self.equipment_mean,
            "TF-IDF + one-hot, LinearSVC": self.linear_svc,
            "guide: RandomForest(100)": self.guide_forest,
        }
        self.competitors = {name: everybody[name] for name in competitors or everybody}

    def __iter__(self) -> Iterator[tuple[int, int]]:
        count = len(self.rows)
        for share in SHARES:
            yield count * share // 100, count * (share + 10) // 100

    def scored(self, start: int, end: int) -> Scored:
        """Return every competitor's predictions for reports ``start`` to ``end``, trained on those before."""
        return {name: says(start, end) for name, says in self.competitors.items()}

    def kept_up_to_date(self, start: int, end: int) -> np.ndarray:
        return _decoded(self.features[start:end] @ self._weights(start))

    def frozen(self, start: int, end: int) -> np.ndarray:
        known: ReportTimeline = self.rows.timeline().until(start)
        asked = self.rows.encoded(slice(start, end))
        features = HistoryFeatures(known, self.hyperparameters).compute(asked, np.full(end - start, start))
        return _decoded(features @ self._weights(start))

    def majority(self, start: int, end: int) -> np.ndarray:
        frequent = [np.bincount(column.astype(int)).argmax() for column in self.rows.scores[:start].T]
        return np.tile(frequent, (end - start, 1))

    def equipment_mean(self, start: int, end: int) -> np.ndarray:
        rows = self.rows
        means = compute_equipment_means(rows.groups[:end], rows.targets[:end], rows.past_counts[:end], start)
        return np.where(np.isnan(means), self.majority(start, end), np.floor(means + 0.5)).astype(int)

    def linear_svc(self, start: int, end: int) -> np.ndarray:
        features, asked = _tf_idf(self.table[:start], self.table[start:end])
        columns = []
        for column in self.rows.scores[:start].T:
            model = LinearSVC(C=0.5, random_state=0).fit(features, column.astype(int))
            columns.append(model.predict(asked))
        return np.stack(columns, axis=1)

    def guide_forest(self, start: int, end: int) -> np.ndarray:
        trained, asked = self.table[:start], self.table[start:end]
        columns = []
        for score in SCORES:
            averages = Averages(trained, score)
            both = [pd.concat([text_features(r), averages.features(r)], axis=1) for r in (trained, asked)]
            forest = RandomForestRegressor(100, random_state=0).fit(both[0].fillna(0), trained[score])
            columns.append(forest.predict(both[1].fillna(0)))
        return np.stack(columns, axis=1)

    def _weights(self, end: int) -> np.ndarray:
        begin = np.zeros((NUM_FEATURES, NUM_TARGETS), np.float32)
        return fit_weights(self.features, self.rows, self.hyperparameters, begin, start=0, end=end)


def read(folder: Path, cache: Path) -> TrainingSet:
    """Return the reports of a folder with the plant's three CSV files."""
    return build_training_set(CsvStore(folder).read(), cache)


def main() -> None:
    """Measure all folds, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the three CSV files")
    command.add_argument("--only", nargs="*", default=[], help="names of competitors")
    asked = command.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    with TemporaryDirectory() as cache:
        folds = Folds(read(asked.data, Path(cache)), asked.only)
    figures: dict[str, dict[str, Any]] = {name: {} for name in folds.competitors}
    for start, end in folds:
        truth = folds.rows.scores[start:end]
        for name, level in folds.scored(start, end).items():
            _note(figures[name], level, truth)
    _show(figures)
    print(
        write_results("scoring.quality", {"reports": len(folds.rows), "shares": SHARES, "figures": figures})
    )


def _note(figures: dict[str, Any], level: np.ndarray, truth: np.ndarray) -> None:
    nearest = np.clip(np.floor(level + 0.5), 1, 5).astype(int)
    for column, score in enumerate(SCORES):
        of = figures.setdefault(score, {"mae": [], "quadratic_weighted_kappa": []})
        of["mae"].append(float(np.abs(level[:, column] - truth[:, column]).mean()))
        of["quadratic_weighted_kappa"].append(quadratic_weighted_kappa(nearest[:, column], truth[:, column]))


def _show(figures: dict[str, Any]) -> None:
    for score in SCORES:
        rows = []
        for name, of in figures.items():
            errors, kappas = of[score]["mae"], of[score]["quadratic_weighted_kappa"]
            folds = [f"{error:.3f} / {kappa:.2f}" for error, kappa in zip(errors, kappas, strict=True)]
            rows.append([name, f"{np.mean(errors):.3f} / {np.mean(kappas):.2f}", *folds])
        header = ["MAE / kappa", "mean", *(f"{share} %" for share in SHARES)]
        table(score, header, rows)


def _decoded(margins: np.ndarray) -> np.ndarray:
    return ordinal.decode_levels(ordinal.cumulative_probabilities(margins), DEFAULT_COST)


def _table(rows: TrainingSet) -> pd.DataFrame:
    """Return the reports in time order with the guide's column names, the scores beside them."""
    reports = rows.reports
    cells = {column: [getattr(reports, field)[p] for p in rows.order] for column, field in FIELDS.items()}
    return pd.DataFrame({**cells, **{score: rows.scores[:, i] for i, score in enumerate(SCORES)}})


def _tf_idf(trained: pd.DataFrame, asked: pd.DataFrame) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Characters 2 to 5, words and pairs, and one column each for device, system and section."""
    parts = []
    for maker in (
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2),
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
    ):
        parts.append((maker.fit_transform(trained["Description"]), maker.transform(asked["Description"])))
    groups = ["Num_equipement", "Systeme", "Section propriétaire"]
    one_hot = OneHotEncoder(handle_unknown="ignore")
    parts.append((one_hot.fit_transform(trained[groups]), one_hot.transform(asked[groups])))
    return sparse.hstack([p[0] for p in parts]).tocsr(), sparse.hstack([p[1] for p in parts]).tocsr()


if __name__ == "__main__":
    main()
