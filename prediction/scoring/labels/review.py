"""Review the scores of a session's new records, and put what is odd into sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from prediction.contract import Champion
from prediction.scoring.data.preparation import ScoringSplit
from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.features.history_features import HistoryFeatures
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.labels.doubtful_scores import DoubtfulScore, find_doubtful_scores
from prediction.scoring.labels.raters import RaterShift, find_rater_shifts, read_rated_records
from prediction.scoring.model import ordinal
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from prediction.scoring.serving.artefacts import read_comparable
from storage.anomaly_reports.reports import SCORES

MAX_SENTENCES: Final = 50
MAX_EVIDENCE: Final = 3
MAX_IDS: Final = 20


def review_new_records(split: ScoringSplit, weights: Floats, champion: Champion | None) -> list[str]:
    """Return warnings about doubtful scores of new records, default scores, and raters that drift.

    Parameters
    ----------
    weights : ndarray
        Fitted to the rows before the boundary.
    champion : Champion, optional
        The version that serves, which has not learnt the new records.
    """
    rows = split.training_set
    first = len(rows) - len(rows.recent)
    new = np.flatnonzero(rows.is_new & ~np.isnan(rows.scores).all(axis=1))
    new = new[new >= first]
    if not len(new):
        return []
    usable = new[~rows.default_scored[new]]
    artefacts = None if champion is None else read_comparable(champion.folder)
    if artefacts is not None:
        judged = usable
        probabilities = expected_probabilities(rows, judged, artefacts.weights, artefacts.hyperparameters)
    else:
        # Of the held-out rows alone it is known that the weights have not learnt them.
        judged = usable[usable >= split.boundary]
        margins = split.features[judged - split.start] @ weights
        probabilities = ordinal.level_probabilities(ordinal.cumulative_probabilities(margins))
    others = np.setdiff1d(usable, judged)
    doubts = find_doubtful_scores(rows, judged, probabilities)
    doubts += find_doubtful_scores(rows, others, None)
    shifts = find_rater_shifts(rows, read_rated_records(rows, split.quarantined))
    warnings = [*_describe_doubts(rows, doubts), *map(_describe_shift, shifts)]
    default_scored = new[rows.default_scored[new]].tolist()
    if default_scored:
        names = [_name(rows, row) for row in default_scored]
        warnings.append(
            f"{len(names)} records have the same three scores as most reports before them, whatever they say, and "
            f"are not learnt from: {', '.join(names)}"
        )
    return warnings


def expected_probabilities(
    rows: TrainingSet, index: Ints, weights: Floats, hyperparameters: ScoringHyperparameters
) -> Floats:
    """Return the probability of each level for some rows, with the stored rows alone as their history.

    Parameters
    ----------
    weights : ndarray
        Of a model that has learnt stored rows only.

    Returns
    -------
    ndarray, shape (rows, 3, 5)
    """
    history = HistoryFeatures(rows.select(~rows.is_new).timeline(), hyperparameters)
    features = history.compute(rows.encoded(index), np.full(len(index), history.end))
    return ordinal.level_probabilities(ordinal.cumulative_probabilities(features @ weights))


def _describe_doubts(rows: TrainingSet, doubts: Sequence[DoubtfulScore]) -> Iterator[str]:
    for doubt in doubts[:MAX_SENTENCES]:
        score = f"Record {_name(rows, doubt.row)}: {_describe_score(rows, doubt)}"
        if not len(doubt.evidence):
            yield f"{score} is doubtful: no similar report has it"
            continue
        evidence = ", ".join([_name(rows, row) for row in doubt.evidence[:MAX_EVIDENCE].tolist()])
        if doubt.is_conflict:
            yield f"{score} contradicts nearly the same report with {doubt.level} ({evidence})"
        else:
            yield f"{score} is doubtful: similar reports have {doubt.level} ({evidence})"
    if rest := doubts[MAX_SENTENCES:]:
        names = [f"{_name(rows, doubt.row)} ({_describe_score(rows, doubt)})" for doubt in rest]
        yield f"{len(rest)} further scores are doubtful: {', '.join(names)}"


def _describe_score(rows: TrainingSet, doubt: DoubtfulScore) -> str:
    return f"{SCORES[doubt.column].replace('_', ' ')} {rows.scores[doubt.row, doubt.column]:g}"


def _describe_shift(shift: RaterShift) -> str:
    ids = shift.ids[-MAX_IDS:]
    more = f" and {len(shift.ids) - len(ids)} earlier ones" if len(shift.ids) > len(ids) else ""
    return (
        f"{shift.kind.capitalize()} {shift.name!r}: in the newest {len(shift.ids)} records {shift.rule}, as far as "
        f"similar reports tell: {', '.join(ids)}{more}"
    )


def _name(rows: TrainingSet, row: int) -> str:
    """Return the id of a report, or for one of the plant's own its date and its first words."""
    reports, report = rows.reports, int(rows.order[row])
    if (anomaly_id := reports.anomaly_ids[report]) is not None:
        return anomaly_id
    return f"{reports.excerpt(report)!r} of {reports.detected_at[report][:10]}"
