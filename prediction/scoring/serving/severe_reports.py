"""Severe anomaly reports, and what a version answers to them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from prediction.contract import Rating, Resources, SevereCase, SevereCaseReader, TrainingSource
from prediction.scoring.features.encoding import encode_reports
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.model import ordinal
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.serving.artefacts import read_comparable
from storage.anomaly_reports.csv_store import CsvStore
from storage.anomaly_reports.reports import COLUMNS, SCORES, AnomalyReports

# Experts' scores from here on are severe.
MIN_SEVERE_SCORE = 4.0

# Newest reports with the highest score that are looked at, for each score. In a plant's reports the serving version
# is sure of nine in ten of them, so that these are enough for 20 locks.
MAX_NEWEST = 30

_ID_DIGITS = 16


class SevereReports(SevereCaseReader):
    """The reports in a plant's CSV files that experts scored 4 or 5.

    A locked report is learnt from, too: what is asked is whether a new version still answers the same about a report
    that the plant knows, not whether it generalises.
    """

    def list_cases(self, source: TrainingSource, chosen: Sequence[str] | None) -> list[SevereCase]:
        return list_severe(CsvStore(Path(source["folder"])).read(), chosen)

    def rate(
        self, folder: Path, cases: Sequence[SevereCase], resources: Resources
    ) -> list[Mapping[str, Rating]] | None:
        artefacts = read_comparable(folder)
        if artefacts is None:
            return None
        history = HistoryFeatures(artefacts.timeline, artefacts.hyperparameters)
        encoded = encode_reports([case.inputs for case in cases])
        features = history.compute(encoded, np.full(len(encoded), history.end))
        above = ordinal.cumulative_probabilities(features @ artefacts.weights)
        levels = ordinal.decode_levels(above, artefacts.cost)
        return [
            {
                score: Rating(float(levels[row, column]), float(above[row, column, -1]))
                for column, score in enumerate(SCORES)
                if score in case.scores
            }
            for row, case in enumerate(cases)
        ]


def list_severe(reports: AnomalyReports, chosen: Sequence[str] | None) -> list[SevereCase]:
    """Return the severe reports of these ids, or without ids the newest ones, the newest first."""
    newest_first = sorted(range(len(reports)), key=lambda row: (reports.detected_at[row][:19], row))[::-1]
    if chosen is None:
        return list(_list_newest(reports, newest_first))
    wanted, cases = set(chosen), []
    for row in newest_first:
        scores = _scores_of(reports, row, MIN_SEVERE_SCORE)
        if scores and (case := _build_case(reports, row, scores)).id in wanted:
            wanted.discard(case.id)
            cases.append(case)
    return cases


def _list_newest(reports: AnomalyReports, newest_first: Sequence[int]) -> Iterator[SevereCase]:
    """Yield the newest reports with the highest level, as many as are looked at for each score."""
    counts = dict.fromkeys(SCORES, 0)
    ids = set()
    for row in newest_first:
        scores = _scores_of(reports, row, NUM_LEVELS - 0.5)
        scores = {score: value for score, value in scores.items() if counts[score] < MAX_NEWEST}
        if not scores:
            continue
        case = _build_case(reports, row, scores)
        if case.id in ids:
            continue  # some plants store a report several times
        ids.add(case.id)
        for score in scores:
            counts[score] += 1
        yield case


def _scores_of(reports: AnomalyReports, row: int, minimum: float) -> dict[str, float]:
    """Return the scores of a report that are at least so high."""
    values = {score: reports.scores[score][row] for score in SCORES}
    return {score: value for score, value in values.items() if value is not None and value >= minimum}


def _build_case(reports: AnomalyReports, row: int, scores: Mapping[str, float]) -> SevereCase:
    inputs = {name: getattr(reports, name)[row] for name in COLUMNS}
    # Reports that the plant stored itself have no id: their content names them.
    content = "\x1f".join(inputs.values()).encode()
    digest = hashlib.sha256(content).hexdigest()[:_ID_DIGITS]
    return SevereCase(reports.anomaly_ids[row] or f"report-{digest}", reports.excerpt(row), inputs, scores)
