"""Find single scores that are more likely slips than opinions.

Odds decide: a logistic regression weighs how the score fits the model's expectation, the similar reports, the
equipment, and the other two scores of the report. A score that is merely unexpected is common; one that nobody
ever gave to anything similar, in a combination that hardly occurs, is mostly a slip. Lower odds are enough where
a report on the same equipment has nearly the same text and another score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.features.encoding import EQUIPMENT
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.labels.similar_rows import SimilarRows, find_similar
from prediction.scoring.model.hyperparameters import NUM_LEVELS
from prediction.scoring.model.ordinal import share_levels, to_levels
from storage.anomaly_reports.reports import SCORES

# Fewer known reports say too little about a single score; twins are compared all the same.
MIN_KNOWN_ROWS: Final = 200

# Reports on the same equipment with texts so similar are twins. Where their scores differ, the one with higher
# odds is doubtful, if these reach the limit: of such scores in a plant's older reports, .7 to 1 were wrong.
TWIN_SIMILARITY: Final = 0.85
MIN_TWIN_LOG_ODDS: Final = -0.5
# Equal texts. Of a plant's reports 8 % have such a twin, and .3 % of these differ from it by two levels or more.
EQUAL_SIMILARITY: Final = 0.99
# Without odds, a difference of two levels or more is a conflict from this similarity on.
CLEAR_SIMILARITY: Final = 0.9
# From here on an equal score of another report speaks for a score by itself.
SAME_TEXT_SIMILARITY: Final = 0.9

MARGINAL_ROWS: Final = 1_000
EQUIPMENT_ROWS: Final = 30

# Intercept and weights of `describe`'s columns, from `python -m benchmarks.scoring.label_errors --fit`: random
# other levels, single steps and hidden severe scores were written into the older 63 % of a plant's reports.
INTERCEPT: Final = -6.289
WEIGHTS: Final = np.array([1.742, 1.321, -6.088, 2.746, 2.432, -0.606, -0.609, 0.336, 0.681, -1.925])
# Log odds from which on a score is doubtful. With one wrong score in 5 % of the records, more than .9 of the scores
# above it were wrong in the same older reports. A limit of 1 (.86 there) gave .78 on the newer ones.
MIN_LOG_ODDS: Final = 1.5


@dataclass(frozen=True)
class DoubtfulScore:
    """A score that does not fit.

    Parameters
    ----------
    row, column : int
        The row of the training set, and the score.
    level : int
        The score that similar reports suggest.
    evidence : sequence of int
        Rows of similar reports that have it, the nearest first.
    is_conflict : bool
        Whether a report on the same equipment with nearly the same text contradicts it.
    """

    row: int
    column: int
    level: int
    evidence: Ints
    is_conflict: bool


def find_doubtful_scores(rows: TrainingSet, index: Ints, probabilities: Floats | None) -> list[DoubtfulScore]:
    """Return the doubtful scores among some rows, in their order.

    Parameters
    ----------
    index : ndarray of int
        Rows to examine: new ones that are held in full.
    probabilities : ndarray, shape (rows, 3, 5), optional
        What a model that has not learnt these rows expects of them.
    """
    usable = rows.has_usable_score
    similar = find_similar(rows, rows.encoded(index), index, usable)
    given = to_levels(rows.scores[index])
    neighbours = to_levels(rows.usable_scores)[similar.rows]
    log_odds = None
    if probabilities is not None and usable.sum() - len(index) >= MIN_KNOWN_ROWS:
        log_odds = describe(rows, similar, probabilities) @ WEIGHTS + INTERCEPT
    is_twin = similar.same_equipment & (similar.similarity >= TWIN_SIMILARITY)
    conflicts = _find_twin_conflicts(similar, given, neighbours, log_odds)
    odd = np.zeros_like(conflicts) if log_odds is None else (log_odds >= MIN_LOG_ODDS) & (given > 0)
    doubtful: dict[tuple[int, int], DoubtfulScore] = {}
    order = np.argwhere(conflicts | odd)
    if log_odds is not None:
        order = order[np.argsort(-log_odds[tuple(order.T)], kind="stable")]
    for report, column in order.tolist():
        present = neighbours[report, :, column] > 0
        twins = similar.rows[report, is_twin[report] & present]
        # Where two new reports contradict each other, the one that fits better is not doubtful for that.
        if conflicts[report, column] and any((row, column) in doubtful for row in twins.tolist()):
            continue
        votes = np.bincount(neighbours[report, :, column], similar.weights[report], NUM_LEVELS + 1)
        votes[[0, given[report, column]]] = 0
        level = int(votes.argmax())
        supporting = similar.rows[report, neighbours[report, :, column] == level]
        row = int(index[report])
        doubtful[row, column] = DoubtfulScore(row, column, level, supporting, bool(conflicts[report, column]))
    return [doubtful[key] for key in sorted(doubtful)]


def _find_twin_conflicts(
    similar: SimilarRows, given: Ints, neighbours: Ints, log_odds: Floats | None
) -> NDArray[np.bool_]:
    """Return which scores differ from those of every twin, shape (reports, 3)."""
    difference = np.abs(neighbours - given[:, None, :])
    present = (neighbours > 0) & (given[:, None, :] > 0)

    def differ(similarity: float, levels: int) -> NDArray[np.bool_]:
        twins = (similar.same_equipment & (similar.similarity >= similarity))[:, :, None] & present
        differs: NDArray[np.bool_] = twins.any(axis=1) & (~twins | (difference >= levels)).all(axis=1)
        return differs

    likely = (
        differ(CLEAR_SIMILARITY, 2)
        if log_odds is None
        else differ(TWIN_SIMILARITY, 1) & (log_odds >= MIN_TWIN_LOG_ODDS)
    )
    return differ(EQUAL_SIMILARITY, 2) | likely


def describe(rows: TrainingSet, similar: SimilarRows, probabilities: Floats) -> Floats:
    """Return what speaks for and against each score, shape (reports, 3, 10)."""
    index = similar.index
    all_levels, given = to_levels(rows.usable_scores), to_levels(rows.scores[index])
    known = np.ones(len(rows), bool)
    known[index] = False
    triples = np.zeros((NUM_LEVELS + 1,) * len(SCORES))
    np.add.at(triples, tuple(all_levels.T), 1)
    weights, total = similar.weights, similar.weights.sum(axis=1) + 0.05
    reports = np.arange(len(index))
    likelihood = np.take_along_axis(probabilities, np.maximum(given, 1)[:, :, None] - 1, 2)[:, :, 0]
    columns = []
    for column in range(len(SCORES)):
        level, chances = np.maximum(given[:, column], 1), probabilities[:, column]
        difference = np.abs(all_levels[similar.rows, column] - level[:, None])
        difference = np.where(all_levels[similar.rows, column] > 0, difference, NUM_LEVELS)
        marginal = share_levels(all_levels[known, column][-MARGINAL_ROWS:])[level - 1]
        combination = np.moveaxis(triples, column, -1)[tuple(np.delete(given, column, axis=1).T)][
            :, 1:
        ].copy()
        combination[reports, level - 1] -= 1
        others = np.delete(likelihood, column, axis=1).min(axis=1)
        columns.append(
            [
                np.log(chances.max(axis=1)),
                np.abs(level - chances @ np.arange(1, NUM_LEVELS + 1)),
                (weights * (difference == 0)).sum(axis=1) / total,
                (weights * (difference <= 1)).sum(axis=1) / total,
                similar.similarity[:, 0] if similar.similarity.shape[1] else np.zeros(len(index)),
                np.log((combination[reports, level - 1] + 0.3) / (combination.sum(axis=1) + 1.5)),
                np.log(_equipment_shares(rows, index, all_levels[:, column], level, marginal) + 0.02),
                np.log(others + 0.01),
                np.log(marginal),
                ((similar.similarity > SAME_TEXT_SIMILARITY) & (difference == 0)).any(axis=1),
            ]
        )
    features: Floats = np.moveaxis(np.array(columns, np.float64), (0, 1), (1, 2))
    return features


def _equipment_shares(
    rows: TrainingSet, index: Ints, all_levels: Ints, level: Ints, marginal: Floats
) -> Floats:
    """Return how often the newest other reports of the same equipment have the level, as a shrunk share."""
    equipment = rows.groups[:, EQUIPMENT]
    shares = np.empty(len(index), np.float32)
    for report, row in enumerate(index.tolist()):
        same = np.flatnonzero((equipment == equipment[row]) & (equipment != 0) & (all_levels > 0))
        newest = same[same != row][-EQUIPMENT_ROWS:]
        count = (all_levels[newest] == level[report]).sum() + 2 * marginal[report]
        shares[report] = count / (len(newest) + 2)
    return shares
