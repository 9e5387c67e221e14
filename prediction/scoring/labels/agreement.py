"""Measure how the scores of each rater agree with those that others gave the most similar reports."""

from __future__ import annotations

import numpy as np

from prediction.contract import RaterAgreement, ScoreAgreement
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.labels.raters import KINDS, MIN_SIMILARITY, RatedRecords, read_rated_records
from prediction.scoring.labels.similar_rows import find_similar
from storage.anomaly_reports.reports import SCORES

# Newest records of a rater that are compared.
MAX_COMPARED = 500
# Raters and sources with the most records.
MAX_RATERS = 100


def measure_agreement(rows: TrainingSet, waiting: TrainingSet | None = None) -> list[RaterAgreement]:
    """Return the agreement of each rater and each source, those with the most records first.

    Parameters
    ----------
    waiting : TrainingSet, optional
        Records in quarantine: their raters are compared, and nobody is compared with them.
    """
    records = read_rated_records(rows, waiting)
    agreement = []
    for kind in KINDS:
        groups = sorted(records.group(kind).items(), key=lambda group: (-len(group[1]), group[0]))
        agreement += [
            _compare(rows, records.select(positions), kind, name) for name, positions in groups[:MAX_RATERS]
        ]
    return agreement


def _compare(rows: TrainingSet, own: RatedRecords, kind: str, name: str) -> RaterAgreement:
    """Compare the newest records of a rater with the most similar ones of others."""
    newest = own.select(np.arange(len(own.ids))[-MAX_COMPARED:])
    reference = rows.has_usable_score.copy()
    reference[own.index[own.index < len(rows)]] = False
    similar = find_similar(rows, newest.reports, newest.index, reference)
    if similar.similarity.shape[1]:
        compared = np.flatnonzero(similar.similarity[:, 0] >= MIN_SIMILARITY)
        differences = newest.scores[compared] - rows.usable_scores[similar.rows[compared, 0]]
    else:
        differences = np.zeros((0, len(SCORES)), np.float32)
    scores = {}
    for column, score in enumerate(SCORES):
        present = differences[~np.isnan(differences[:, column]), column]
        scores[score] = ScoreAgreement(
            compared=len(present),
            same=float((np.abs(present) < 0.5).mean()) if len(present) else None,
            mean_difference=float(present.mean()) if len(present) else None,
        )
    quarantined = int((own.index == len(rows)).sum())
    return RaterAgreement(kind, name, len(own.ids), quarantined, scores)
