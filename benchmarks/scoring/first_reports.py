"""How good the first models of a plant are, trained on 10 to 200 reports.

``python -m benchmarks.scoring.first_reports --data FOLDER [--fmea FILE]``

Trainings at random moments of a plant's reports, each tested on the 100 reports that follow; and, with the file of
the mobile-plant FMEA, on random rows in English, tested on all others (severity stands for process safety). Beside
the model stand the commonest score of the training rows and a balanced linear SVM on TF-IDF features. Mean absolute
error, and how often the model errs more than the commonest score by over .02.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from benchmarks.measure import table, write_results
from benchmarks.scoring.quality import read
from prediction.scoring.data.training_set import TrainingSet, build_training_set
from prediction.scoring.features.history_features import NUM_FEATURES, HistoryFeatures
from prediction.scoring.model import ordinal
from prediction.scoring.model.fitting import fit_weights
from prediction.scoring.model.hyperparameters import NUM_TARGETS, ScoringHyperparameters, choose_cost
from storage.anomaly_reports.reports import SCORES, AnomalyReports

SIZES = (10, 20, 30, 50, 100, 200)
TESTED_ROWS = 100
SAFETY = "process_safety"


@dataclass(frozen=True)
class Draw:
    """Rows that a model learns and those that it is asked about."""

    rows: TrainingSet
    trained: np.ndarray
    tested: np.ndarray

    def errors(self, cost: float | None) -> dict[str, np.ndarray]:
        """Return the mean absolute error of each score by model; the default cost where none is given."""
        mask = np.zeros(len(self.rows), bool)
        mask[self.trained] = True
        part, hyperparameters = self.rows.select(mask), ScoringHyperparameters()
        begin = np.zeros((NUM_FEATURES, NUM_TARGETS), np.float32)
        weights = fit_weights(
            part.compute_features(hyperparameters, 0), part, hyperparameters, begin, start=0, end=len(part)
        )
        asked = self.rows.encoded(self.tested)
        history = HistoryFeatures(part.timeline(), hyperparameters)
        margins = history.compute(asked, np.full(len(self.tested), len(part))) @ weights
        above = ordinal.cumulative_probabilities(margins)
        levels = {
            "Millwright": ordinal.decode_levels(above, cost or choose_cost(len(part))),
            "commonest score": np.stack([_commonest(column) for column in part.scores.T]),
            "balanced SVM": self._svm(part.scores),
        }
        truth = self.rows.scores[self.tested]
        return {name: np.abs(level - truth).mean(axis=0) for name, level in levels.items()}

    def _svm(self, scores: np.ndarray) -> np.ndarray:
        reports, order = self.rows.reports, self.rows.order
        texts = np.array([f"{reports.system[row]} {reports.description[row]}" for row in order.tolist()])
        vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        trained = vectorizer.fit_transform(texts[self.trained])
        asked = vectorizer.transform(texts[self.tested])
        columns = []
        for column in scores.T:
            levels = np.unique(column[~np.isnan(column)])
            if len(levels) < 2:
                columns.append(np.full(len(self.tested), _commonest(column)))
                continue
            model = LinearSVC(C=0.5, class_weight="balanced", random_state=0)
            columns.append(model.fit(trained, column).predict(asked))
        return np.stack(columns, axis=1)


def _commonest(scores: np.ndarray) -> float:
    levels = scores[~np.isnan(scores)].astype(int)
    return float(np.bincount(levels).argmax()) if len(levels) else np.nan


def plant_draws(rows: TrainingSet, size: int, count: int) -> Iterator[Draw]:
    """Yield trainings at random moments, the same ones for every size."""
    moments = np.random.default_rng(1).integers(0, len(rows) - max(SIZES) - TESTED_ROWS, count)
    for moment in moments.tolist():
        trained = np.arange(moment, moment + size)
        yield Draw(rows, trained, np.arange(moment + size, moment + size + TESTED_ROWS))


def fmea_draws(file: Path, cache: Path, size: int, count: int) -> Iterator[Draw]:
    """Yield trainings on random rows of the FMEA; the rest is tested."""
    rows = pd.read_csv(file, encoding="utf-8-sig").fillna("")
    chance = np.random.default_rng(0)
    for _ in range(count):
        shuffled = rows.iloc[chance.permutation(len(rows))]
        reports = _as_reports(shuffled)
        yield Draw(build_training_set(reports, cache), np.arange(size), np.arange(size, len(rows)))


def _as_reports(rows: pd.DataFrame) -> AnomalyReports:
    severity = rows["Severity"].astype(float).tolist()
    days = pd.date_range("2020-01-01", periods=len(rows), freq="D").strftime("%Y-%m-%d 00:00:00").tolist()
    component = (rows["Component"] + " " + rows["Sub-Component"]).tolist()
    texts = rows["Potential Failure Mode"] + " " + rows["Potential Effect(s) of Failure"]
    return AnomalyReports(
        equipment_id=component,
        system=rows["Subsystem"].tolist(),
        description=(rows["Component"] + " " + texts).tolist(),
        detected_at=days,
        equipment_name=component,
        owner_section=[""] * len(rows),
        scores=dict.fromkeys(SCORES, severity),
        anomaly_ids=[None] * len(rows),
        session_ids=[None] * len(rows),
        is_new=[False] * len(rows),
    )


def measure(draws: Iterator[Draw], names: tuple[str, ...], cost: float | None) -> dict[str, list[str]]:
    """Return for each score the mean errors of the three models and how often Millwright is the worse one."""
    columns = [SCORES.index(name) for name in names]
    errors = [draw.errors(cost) for draw in draws]
    figures = {}
    for name, column in zip(names, columns, strict=True):
        by_model = {model: np.array([error[model][column] for error in errors]) for model in errors[0]}
        worse = by_model["Millwright"] > by_model["commonest score"] + 0.02
        figures[name] = [f"{error.mean():.3f}" for error in by_model.values()] + [f"{worse.mean():.2f}"]
    return figures


def main() -> None:
    """Measure all sizes, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the three CSV files")
    command.add_argument("--fmea", type=Path, help="CSV file of the mobile-plant FMEA")
    command.add_argument("--draws", type=int, default=60)
    command.add_argument("--cost", type=float, help="cost instead of the default")
    options = command.parse_args()
    lines = []
    with TemporaryDirectory() as folder:
        rows = read(options.data, Path(folder) / "plant")
        for size in SIZES:
            found = measure(plant_draws(rows, size, options.draws), SCORES, options.cost)
            if options.fmea:
                draws = fmea_draws(options.fmea, Path(folder) / "fmea", size, options.draws // 3)
                found["FMEA severity"] = measure(draws, (SAFETY,), options.cost)[SAFETY]
            lines += [[str(size), name, *figures] for name, figures in found.items()]
    header = ["reports", "score", "Millwright", "commonest score", "balanced SVM", "worse than the commonest"]
    table("First reports, mean absolute error", header, lines)
    print(write_results("scoring.first_reports", {"rows": lines}))


if __name__ == "__main__":
    main()
