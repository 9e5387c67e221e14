"""Write wrong scores into real reports, and measure which of them the label review finds.

``python -m benchmarks.scoring.label_errors --data FOLDER [--batch 50] [--fit]``

The reports come in batches in the order of their dates, each after everything before it is known and learnt, as
with ``POST /train``. In each batch some scores are replaced: by a random other level, by a neighbouring level, or
severe ones (4, 5) by 1 or 2; in the mix each record draws one of the three. A warning is right if it names a
score that was replaced. Thresholds and weights come from the older reports (``--fit`` prints them); the figures
are those of the newer ones, from row 3,200 on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import table, write_results
from benchmarks.scoring.poisoning import Plant
from prediction.scoring.data.preparation import build_split
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.labels.doubtful_scores import describe, find_doubtful_scores
from prediction.scoring.labels.review import expected_probabilities
from prediction.scoring.labels.similar_rows import find_similar
from prediction.scoring.model.fitting import fit_held_out, refit_all
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from storage.anomaly_reports.csv_store import CsvStore

FIRST_ROW = 1_250
# Older reports choose, newer ones report.
FIRST_NEWER_ROW = 3_200
ROWS_PER_FIT = 250
SHARE = 0.05
SEVERE = 4
KINDS = ("mixed", "other level", "one level", "severe hidden")


@dataclass
class Batch:
    """Reports that come together: their rows, what a model without them expects, and which of them count."""

    known: np.ndarray
    index: np.ndarray
    probabilities: np.ndarray


@dataclass
class Counts:
    """Flipped, flagged and rightly flagged scores; the same by record."""

    flipped: int = 0
    flagged: int = 0
    right: int = 0
    records: list[int] = field(default_factory=lambda: [0, 0, 0])

    def add(self, flipped: np.ndarray, flagged: np.ndarray) -> None:
        for counts, (true, found) in (
            ("cell", (flipped, flagged)),
            ("row", (flipped.any(1), flagged.any(1))),
        ):
            numbers = int(true.sum()), int(found.sum()), int((true & found).sum())
            if counts == "cell":
                self.flipped, self.flagged, self.right = (
                    a + b for a, b in zip((self.flipped, self.flagged, self.right), numbers, strict=True)
                )
            else:
                self.records = [a + b for a, b in zip(self.records, numbers, strict=True)]

    @property
    def figures(self) -> dict[str, float]:
        """Precision and recall by score and by record."""
        return {
            "precision": self.right / max(self.flagged, 1),
            "recall": self.right / max(self.flipped, 1),
            "record_precision": self.records[2] / max(self.records[1], 1),
            "record_recall": self.records[2] / max(self.records[0], 1),
            "flipped": self.flipped,
            "flagged": self.flagged,
        }


def flip(scores: np.ndarray, kind: str, every_score: bool, chance: np.random.Generator) -> np.ndarray:
    """Return scores with 5 % replaced: of all scores, or one score in 5 % of the records."""
    severe = scores >= SEVERE
    eligible = severe if kind == "severe hidden" else np.ones_like(severe)
    if not every_score:
        eligible = np.asarray(eligible.any(axis=1, keepdims=True))
    share = SHARE * eligible.size / max(eligible.sum(), 1)
    drawn = eligible & (chance.random(eligible.shape) < share)
    flipped = scores.copy()
    for row, column in np.argwhere(drawn).tolist():
        if kind == "mixed":
            applies = severe[row, column] if every_score else severe[row].any()
            kinds = KINDS[1:] if applies else KINDS[1:-1]
            flip_score(flipped[row], chance.choice(kinds), column if every_score else None, chance)
        else:
            flip_score(flipped[row], kind, column if every_score else None, chance)
    return flipped


def flip_score(scores: np.ndarray, kind: str, column: int | None, chance: np.random.Generator) -> None:
    """Replace one score of a record, a random one that the kind applies to where no column is given."""
    if column is None:
        columns = np.flatnonzero(scores >= SEVERE) if kind == "severe hidden" else np.arange(len(scores))
        column = int(chance.choice(columns))
    level = int(scores[column])
    if kind == "severe hidden":
        levels = [1, 2]
    elif kind == "one level":
        levels = [other for other in (level - 1, level + 1) if 1 <= other <= 5]
    else:
        levels = [other for other in range(1, 6) if other != level]
    scores[column] = chance.choice(levels)


class Stream:
    """The reports of a plant in batches, with the scores that are stored: genuine, or 5 % wrong."""

    def __init__(self, plant: Plant, batch_size: int, stored_flips: bool) -> None:
        self.plant = plant
        self.batch_size = batch_size
        chance = np.random.default_rng(0)
        self.stored = flip(plant.scores, "mixed", False, chance) if stored_flips else plant.scores

    def batches(self, first: int, end: int) -> Iterator[Batch]:
        for cut in range(first, end, ROWS_PER_FIT):
            rows = self.plant.rows(np.arange(cut), self.stored[:cut], np.zeros(cut))
            split = build_split(rows, ScoringHyperparameters(), {"coverage": 0.9}, self.plant.resources)
            weights = refit_all(fit_held_out(split), split).weights
            hyperparameters = split.hyperparameters
            for start in range(cut, min(cut + ROWS_PER_FIT, end), self.batch_size):
                index = np.arange(start, min(start + self.batch_size, end))
                rows = self.rows(np.arange(start), index, self.plant.scores[index])
                new = np.flatnonzero(rows.is_new)
                yield Batch(
                    np.arange(start), index, expected_probabilities(rows, new, weights, hyperparameters)
                )

    def rows(self, known: np.ndarray, index: np.ndarray, scores: np.ndarray) -> TrainingSet:
        """Return the stored reports and a batch of new ones."""
        return self.plant.rows(
            np.r_[known, index],
            np.vstack([self.stored[known], scores]),
            np.r_[np.zeros(len(known)), np.full(len(index), -1)],
        )


def measure(stream: Stream, batches: Sequence[Batch], seeds: int) -> dict[str, dict[str, float]]:
    """Return precision and recall for each kind of wrong scores."""
    figures = {}
    for every_score in (False, True):
        for kind in KINDS:
            counts = Counts()
            for seed in range(seeds):
                chance = np.random.default_rng(1_000 + seed)
                for batch in batches:
                    genuine = stream.plant.scores[batch.index]
                    scores = flip(genuine, kind, every_score, chance)
                    rows = stream.rows(batch.known, batch.index, scores)
                    new = np.flatnonzero(rows.is_new)
                    new = new[~rows.default_scored[new]]
                    position = rows.order[new] - len(batch.known)
                    flagged = np.zeros(scores.shape, bool)
                    for doubt in find_doubtful_scores(rows, new, batch.probabilities[position]):
                        flagged[rows.order[doubt.row] - len(batch.known), doubt.column] = True
                    counts.add((scores != genuine)[position], flagged[position])
            share = "of all scores" if every_score else "of records, one score"
            figures[f"{kind}, 5 % {share}"] = counts.figures
            print(kind, share, {k: round(v, 3) for k, v in counts.figures.items()}, flush=True)
    return figures


def fit(stream: Stream, batches: Sequence[Batch], seeds: int) -> None:
    """Print intercept, weights and threshold that the older reports give."""
    from sklearn.linear_model import LogisticRegression

    features, targets, groups = [], [], []
    for seed in range(seeds):
        for every_score in (False, True):
            chance = np.random.default_rng(seed)
            for number, batch in enumerate(batches):
                genuine = stream.plant.scores[batch.index]
                scores = flip(genuine, "mixed", every_score, chance)
                rows = stream.rows(batch.known, batch.index, scores)
                new = np.flatnonzero(rows.is_new)
                new = new[~rows.default_scored[new]]
                position = rows.order[new] - len(batch.known)
                similar = find_similar(rows, rows.encoded(new), new, rows.has_usable_score)
                columns = describe(rows, similar, batch.probabilities[position])
                features.append(columns.reshape(-1, columns.shape[-1]))
                targets.append((scores != genuine)[position].ravel())
                groups.append(np.full(targets[-1].shape, number * 4 // len(batches)))
    x, y, group = np.concatenate(features), np.concatenate(targets), np.concatenate(groups)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-9
    odds = np.zeros(len(y))
    for part in range(4):
        model = LogisticRegression(C=0.3, max_iter=2_000).fit(
            ((x - mean) / deviation)[group != part], y[group != part]
        )
        odds[group == part] = model.decision_function(((x - mean) / deviation)[group == part])
    order = np.argsort(-odds)
    precision = np.cumsum(y[order]) / np.arange(1, len(y) + 1)
    for target in (0.8, 0.85, 0.9):
        last = np.flatnonzero(precision >= target)[-1]
        print(
            f"precision {target}: log odds {odds[order][last]:.2f}, recall {y[order][: last + 1].sum() / y.sum():.3f}"
        )
    model = LogisticRegression(C=0.3, max_iter=2_000).fit((x - mean) / deviation, y)
    weights = model.coef_[0] / deviation
    print("INTERCEPT", round(float(model.intercept_[0] - (weights * mean).sum()), 3))
    print("WEIGHTS", [round(float(weight), 3) for weight in weights])


def main() -> None:
    """Measure, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the three CSV files")
    command.add_argument("--batch", type=int, default=50, help="records a request")
    command.add_argument("--seeds", type=int, default=5)
    command.add_argument(
        "--stored-flips", action="store_true", help="5 % of the stored scores are wrong, too"
    )
    command.add_argument("--fit", action="store_true", help="print the weights that the older reports give")
    options = command.parse_args()
    with TemporaryDirectory() as folder:
        plant = Plant(CsvStore(options.data).read(), Path(folder))
        stream = Stream(plant, options.batch, options.stored_flips)
        if options.fit:
            fit(stream, list(stream.batches(FIRST_ROW, FIRST_NEWER_ROW)), options.seeds)
            return
        figures = measure(stream, list(stream.batches(FIRST_NEWER_ROW, len(plant.scores))), options.seeds)
    rows = [
        [name, *(f"{values[k]:.2f}" for k in ("precision", "recall", "record_precision", "record_recall"))]
        for name, values in figures.items()
    ]
    table(
        "Wrong scores found",
        ["wrong scores", "precision", "recall", "precision by record", "recall by record"],
        rows,
    )
    print(write_results("scoring.label_errors", {"batch": options.batch, "figures": figures}))


if __name__ == "__main__":
    main()
