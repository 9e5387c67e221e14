"""Measure what the conformal sets cover, by level, after trainings on few and on many reports.

``python -m benchmarks.scoring.coverage --data FOLDER``

Each training reads so many reports before a cut; the sets of its refitted model are tested on the reports that follow.
The cuts are spread over the whole history, so that the figures are means over its changes. Levels for which a training
promises nothing (``uncovered_levels``) are counted apart.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import table, write_results
from benchmarks.scoring.poisoning import Plant
from errors import NotEnoughData
from prediction.scoring.data.preparation import build_split
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.model import conformal, ordinal
from prediction.scoring.model.fitting import fit_held_out, refit_all
from prediction.scoring.model.hyperparameters import NUM_LEVELS, ScoringHyperparameters
from storage.anomaly_reports.csv_store import SCORES, CsvStore

COVERAGE = 0.9
# Reports that train → number of cuts, reports tested after each.
SIZES = {100: (40, 100), 300: (30, 150), 1000: (20, 200), 4400: (3, 600)}

Hits = defaultdict[str, list[bool]]


def measure(plant: Plant, rows: np.ndarray, asked: np.ndarray, hits: dict[str, Hits], sizes: Hits) -> None:
    """Train on some rows and record which of those asked about have their level in the set."""
    training_set = plant.rows(rows, plant.scores[rows], np.zeros(len(rows)))
    split = build_split(training_set, ScoringHyperparameters(), {"coverage": COVERAGE}, plant.resources)
    model = refit_all(fit_held_out(split), split)
    encoded = plant.rows(asked, plant.scores[asked], np.zeros(len(asked))).recent
    history = HistoryFeatures(training_set.timeline(), split.hyperparameters)
    features = history.compute(encoded, np.full(len(encoded), history.end))
    above = ordinal.cumulative_probabilities(features @ model.weights)
    limits, uncovered = zip(*(part.limits(COVERAGE) for part in model.nonconformity), strict=True)
    levels = ordinal.decode_levels(above, split.cost)
    sets = conformal.conformal_sets(ordinal.level_probabilities(above), levels, limits)
    truth = ordinal.round_scores(plant.scores[asked])
    for column, score in enumerate(SCORES):
        covered = sets[np.arange(len(asked)), column, truth[:, column] - 1]
        hits[score]["all"] += covered.tolist()
        sizes[score] += sets[:, column].sum(axis=1).tolist()
        for level in range(1, NUM_LEVELS + 1):
            name = f"({level})" if level in uncovered[column] else str(level)
            hits[score][name] += covered[truth[:, column] == level].tolist()


def main() -> None:
    """Measure all sizes, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the three CSV files")
    options = command.parse_args()
    figures: dict[str, dict[str, object]] = {}
    with TemporaryDirectory() as folder:
        plant = Plant(CsvStore(options.data).read(), Path(folder))
        for size, (cuts, tested) in SIZES.items():
            hits: dict[str, Hits] = {score: defaultdict(list) for score in SCORES}
            sizes: Hits = defaultdict(list)
            last = len(plant.scores) - tested
            first = min(size, last - (cuts - 1) * tested)
            for cut in np.linspace(max(first, 100), last, cuts).astype(int).tolist():
                try:
                    rows = np.arange(max(cut - size, 0), cut)
                    measure(plant, rows, np.arange(cut, cut + tested), hits, sizes)
                except NotEnoughData:
                    continue  # a score that no training report has
            for score in SCORES:
                figures[f"{size} {score}"] = {
                    "set_size": round(float(np.mean(sizes[score])), 2),
                    **{
                        name: [round(float(np.mean(values)), 3), len(values)]
                        for name, values in sorted(hits[score].items())
                        if values
                    },
                }
                print(size, score, figures[f"{size} {score}"], flush=True)
    cells = [[name, str(figure["set_size"]), str(figure)] for name, figure in figures.items()]
    table("Coverage", ["reports, score", "levels in a set", "covered share and reports"], cells)
    print(write_results("scoring_coverage", figures))


if __name__ == "__main__":
    main()
