"""Send poisoned and genuine batches through the scoring family's gate.

``python -m benchmarks.scoring.poisoning --data FOLDER [--weeks 55]``

A plant's reports before a cut are the anchor. Then batches come one by one, poisoned or genuine, each judged
beside the anchor like a training does; a batch that is held back is left out from then on. Figures: how many
genuine weeks are held back, and for each poisoning after how many records the first batch is held and what
the model that serves then has lost on the next genuine reports.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measure import table, write_results
from prediction.contract import Champion, Resources
from prediction.scoring.data.preparation import build_split
from prediction.scoring.data.training_set import TrainingSet, build_training_set
from prediction.scoring.evaluation.data_impact import assess_new_data
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.model import ordinal
from prediction.scoring.model.fitting import fit_held_out, refit_all
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from prediction.scoring.serving.artefacts import write_artefacts
from prediction.scoring.serving.build import build_artefacts
from storage.anomaly_reports.csv_store import SCORES, CsvStore
from storage.anomaly_reports.reports import AnomalyReports
from training.impact_checks import describe_harm

TEST_ROWS = 500
ANCHOR_ROWS = 200
POISONED_ROWS = 99
Scorer = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _constant(column: int, level: int) -> Scorer:
    def poison(scores: np.ndarray, _: np.random.Generator) -> np.ndarray:
        scores = scores.copy()
        scores[:, column] = level
        return scores

    return poison


def _one_of_three_raters(scores: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Raise every third report by a level."""
    raised = scores.copy()
    raised[::3] = np.minimum(5, raised[::3] + 1)
    return raised


POISONS: dict[str, Scorer] = {
    "genuine": lambda scores, _: scores,
    "safety always 1": _constant(2, 1),
    "availability always 1": _constant(0, 1),
    "everything one higher": lambda scores, _: np.minimum(5, scores + 1),
    "every third report one higher": _one_of_three_raters,
    "everything one lower": lambda scores, _: np.maximum(1, scores - 1),
    "fiability always 1": _constant(1, 1),
    "availability and safety swapped": lambda scores, _: scores[:, [2, 1, 0]],
    "random scores": lambda scores, chance: chance.integers(1, 6, scores.shape).astype(float),
    "always 3, 3, 3": lambda scores, _: np.full(scores.shape, 3.0),
    "one system always 1, 1, 1": lambda scores, _: np.ones(scores.shape),
}
OF_ONE_SYSTEM = "one system always 1, 1, 1"


@dataclass
class Outcome:
    """What a poisoning did: records until the first hold, records learnt, and errors afterwards."""

    first_hold: int | None
    learnt: int
    errors: list[float]
    recalls: list[float]


class Plant:
    """The reports of a folder, judged from some cut on."""

    def __init__(self, reports: AnomalyReports, folder: Path) -> None:
        order = np.argsort(np.array(reports.detected_at), kind="stable")
        self.columns = {
            name: [getattr(reports, name)[row] for row in order]
            for name in (
                "equipment_id",
                "system",
                "description",
                "detected_at",
                "equipment_name",
                "owner_section",
            )
        }
        self.scores = np.array([reports.scores[score] for score in SCORES], float).T[order]
        self.folder = folder
        self.resources = Resources(folder / "cache", "none")

    def rows(self, index: np.ndarray, scores: np.ndarray, sessions: np.ndarray) -> TrainingSet:
        """Return rows with given scores; a session of -1 is the present one, 0 none."""
        columns = {name: [column[row] for row in index.tolist()] for name, column in self.columns.items()}
        reports = AnomalyReports(
            **columns,
            scores={score: scores[:, i].tolist() for i, score in enumerate(SCORES)},
            anomaly_ids=[None] * len(index),
            session_ids=[int(session) if session > 0 else None for session in sessions],
            is_new=[bool(session < 0) for session in sessions],
        )
        return build_training_set(reports, self.folder / "cache")

    def anchor(self, cut: int) -> Champion:
        """Return a version fitted on the reports before the cut."""
        folder = self.folder / f"anchor-{cut}"
        if not folder.exists():
            rows = self.rows(np.arange(cut), self.scores[:cut], np.zeros(cut))
            split = build_split(rows, ScoringHyperparameters(), {"coverage": 0.9}, self.resources)
            model = refit_all(fit_held_out(split), split)
            folder.mkdir()
            write_artefacts(build_artefacts(model, split), rows.keys, folder)
        return Champion(1, folder, {})

    def judge(
        self,
        anchor: Champion,
        index: np.ndarray,
        scores: np.ndarray,
        sessions: np.ndarray,
        waiting: TrainingSet | None = None,
    ) -> bool:
        """Return whether the gate holds the present batch back, with the reports in quarantine known."""
        rows = self.rows(index, scores, sessions)
        split = build_split(rows, ScoringHyperparameters(), {"coverage": 0.9}, self.resources)
        impact = assess_new_data(anchor, replace(split, quarantined=waiting))
        return impact is not None and describe_harm(impact) is not None

    def test(
        self, index: np.ndarray, scores: np.ndarray, asked: np.ndarray
    ) -> tuple[list[float], list[float]]:
        """Return mean errors and recalls of severe reports of the model that these rows give."""
        rows = self.rows(index, scores, np.zeros(len(index)))
        split = build_split(rows, ScoringHyperparameters(), {"coverage": 0.9}, self.resources)
        model = refit_all(fit_held_out(split), split)
        encoded = self.rows(asked, self.scores[asked], np.zeros(len(asked))).recent
        history = HistoryFeatures(rows.timeline(), split.hyperparameters)
        features = history.compute(encoded, np.full(len(encoded), history.end))
        levels = ordinal.decode_levels(ordinal.cumulative_probabilities(features @ model.weights), split.cost)
        truth = self.scores[asked]
        errors = np.abs(levels - truth).mean(axis=0)
        recalls = [float((levels[truth[:, c] == 5, c] == 5).mean()) for c in range(len(SCORES))]
        return errors.round(3).tolist(), np.round(recalls, 3).tolist()

    def poison(self, kind: str, cut: int, batch_size: int) -> Outcome:
        """Send poisoned batches after the cut, and test the model that serves at last."""
        chance = np.random.default_rng(cut)
        anchor = self.anchor(cut)
        index, scores = np.arange(cut), self.scores[:cut]
        sessions = np.zeros(cut)
        first_hold = None
        held: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        coming = self.coming_rows(kind, cut)
        for number, batch in enumerate(np.split(coming, range(batch_size, len(coming), batch_size)), 1):
            bad = POISONS[kind](self.scores[batch], chance)
            new_index, new_scores = np.r_[index, batch], np.vstack([scores, bad])
            new_sessions = np.r_[sessions, np.full(len(batch), -1)]
            waiting = self.rows(*(np.concatenate(part) for part in zip(*held, strict=True))) if held else None
            if self.judge(anchor, new_index, new_scores, new_sessions, waiting):
                first_hold = first_hold or (number - 1) * batch_size + len(batch)
                held.append((batch, bad, np.full(len(batch), number)))
            else:
                index, scores, sessions = new_index, new_scores, np.r_[sessions, np.full(len(batch), number)]
        asked = np.setdiff1d(np.arange(cut + POISONED_ROWS, len(self.scores)), coming)[:TEST_ROWS]
        return Outcome(first_hold, len(index) - cut, *self.test(index, scores, asked))

    def coming_rows(self, kind: str, cut: int) -> np.ndarray:
        """Return the rows that are poisoned: the next ones, or the next of the busiest system."""
        if kind != OF_ONE_SYSTEM:
            return np.arange(cut, cut + POISONED_ROWS)
        systems = np.array(self.columns["system"][cut:], str)
        names, counts = np.unique(systems, return_counts=True)
        return cut + np.flatnonzero(systems == names[counts.argmax()])[:POISONED_ROWS]

    def genuine_weeks(self, weeks: int) -> list[str]:
        """Return which of the newest weekly batches are held back; each anchor is at least 200 reports old.

        A week that is held back stays in quarantine.
        """
        days = np.array([time[:10] for time in self.columns["detected_at"]], "datetime64[D]")
        number = (days.astype(int)) // 7
        waiting = np.zeros(len(days), bool)
        held = []
        for week in np.unique(number)[-weeks:]:
            batch = np.flatnonzero(number == week)
            cut = int(batch[0]) - ANCHOR_ROWS
            cut -= cut % 50
            sessions = np.where(np.arange(len(days)) < cut, 0, number + 1)
            index = np.flatnonzero(~waiting[: batch[-1] + 1])
            left_out = np.flatnonzero(waiting[: batch[-1] + 1])
            quarantined = (
                self.rows(left_out, self.scores[left_out], sessions[left_out]) if len(left_out) else None
            )
            sessions[batch] = -1
            if self.judge(self.anchor(cut), index, self.scores[index], sessions[index], quarantined):
                held.append(str(days[batch[0]]))
                waiting[batch] = True
        return held


def main() -> None:
    """Measure all scenarios, print and keep."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with the three CSV files")
    command.add_argument("--weeks", type=int, default=55)
    command.add_argument("--cuts", type=int, nargs="*", default=[3000, 4000, 4400])
    command.add_argument("--batches", type=int, nargs="*", default=[3, 9, 33, 99], help="records in a batch")
    command.add_argument("--only", nargs="*", default=list(POISONS))
    options = command.parse_args()
    figures = {}
    with TemporaryDirectory() as folder:
        plant = Plant(CsvStore(options.data).read(), Path(folder))
        for cut, kind, batch in product(options.cuts, options.only, options.batches):
            outcome = plant.poison(kind, cut, batch)
            figures[f"{cut}, {kind}, batches of {batch}"] = outcome.__dict__
            print(cut, kind, batch, json.dumps(outcome.__dict__), flush=True)
        held = plant.genuine_weeks(options.weeks) if options.weeks else []
    rows = [[name, *map(str, figure.values())] for name, figure in figures.items()]
    table(
        "Poisonings", ["reports before, kind, batches", "held after", "learnt", "errors", "recall of 5"], rows
    )
    print(f"{len(held)} of {options.weeks} genuine weeks held back: {held}")
    print(write_results("scoring_poisoning", {"figures": figures, "weeks": options.weeks, "held": held}))


if __name__ == "__main__":
    main()
