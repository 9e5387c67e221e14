"""Find for some reports the most similar other ones, by the n-grams of their texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.data.training_set import TrainingSet
from prediction.scoring.features.encoding import EQUIPMENT, SYSTEM, Encoded
from prediction.scoring.features.neighbours import HALF_LIFE_ROWS, REPORT_BATCH_SIZE, to_unit_vectors
from prediction.scoring.features.point_in_time import Floats, Ints

NUM_SIMILAR = 25

# The exponent of a similarity: what is twice as similar counts sixteen times as much.
POWER = 4


@dataclass(frozen=True)
class SimilarRows:
    """The most similar rows of each report, the nearest first.

    Parameters
    ----------
    index : ndarray of int, shape (reports,)
        The reports.
    rows : ndarray of int, shape (reports, neighbours)
    similarity : ndarray of float32, shape (reports, neighbours)
        Cosine of the two texts; 0 where there are fewer neighbours.
    same_equipment : ndarray of bool, shape (reports, neighbours)
        Whether the report is about the same equipment, or where it names none, about the same system.
    """

    index: Ints
    rows: Ints
    similarity: Floats
    same_equipment: NDArray[np.bool_]

    @property
    def weights(self) -> Floats:
        """What each neighbour counts: the more, the more similar and the newer it is."""
        age = np.maximum(self.index[:, None] - self.rows, 0)
        weights: Floats = self.similarity**POWER * (0.5 + 0.5 * np.exp2(-age / HALF_LIFE_ROWS))
        return weights


def find_similar(
    rows: TrainingSet, reports: Encoded, index: Ints, candidates: NDArray[np.bool_]
) -> SimilarRows:
    """Return the most similar rows of some reports.

    Parameters
    ----------
    index : ndarray of int
        The row of each report, which is not its own neighbour; the number of rows for one that is none of them.
    candidates : ndarray of bool
        The rows to search. Only those that the training set holds in full are found.
    """
    pool = np.flatnonzero(candidates)
    pool = pool[pool >= len(rows) - len(rows.recent)]
    count = min(NUM_SIMILAR, len(pool))
    vectors = to_unit_vectors(rows.encoded(pool)["sketch"])
    nearest = np.zeros((len(index), count), np.intp)
    similarity = np.zeros((len(index), count), np.float32)
    for start in range(0, len(index), REPORT_BATCH_SIZE):
        batch = index[start : start + REPORT_BATCH_SIZE]
        queries = reports["sketch"][start : start + REPORT_BATCH_SIZE]
        cosine = to_unit_vectors(queries) @ vectors.T
        cosine[batch[:, None] == pool[None, :]] = 0.0
        top = np.argpartition(-cosine, count - 1, axis=1)[:, :count] if count else nearest[: len(batch)]
        top = np.take_along_axis(
            top, np.argsort(-np.take_along_axis(cosine, top, 1), axis=1, kind="stable"), 1
        )
        nearest[start : start + len(batch)] = pool[top]
        similarity[start : start + len(batch)] = np.take_along_axis(cosine, top, 1)
    group = np.where(reports["groups"][:, EQUIPMENT] != 0, EQUIPMENT, SYSTEM)
    own = np.take_along_axis(reports["groups"], group[:, None], axis=1)
    # 0 stands for a report that names no equipment and no system.
    same = (rows.groups[nearest, group[:, None]] == own) & (own != 0)
    return SimilarRows(index, nearest, np.maximum(similarity, 0.0), same)
