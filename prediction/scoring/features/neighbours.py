"""Votes of earlier reports with a similar text: of all, and of those of one system, section or device.

Each vote is a mean of the neighbours' targets, weighted by a power of the texts' cosine (Nadaraya, "On
estimating regression", 1964), and shrunk to the overall share where there are few neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features import encoding
from prediction.scoring.features.encoding import Encoded
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.features.text_hashing import SKETCH_SCALE
from prediction.scoring.model.hyperparameters import NUM_TARGETS, NUM_THRESHOLDS

# Queries compared with the history at once; bounds the similarity matrix to about 10 MB.
REPORT_BATCH_SIZE = 256
# In a fading vote, the age in rows at which a neighbour counts half.
HALF_LIFE_ROWS = 500.0


@dataclass(frozen=True)
class Vote:
    """One kind of vote.

    Parameters
    ----------
    group : int or None
        The column of ``groups`` that voters share with the query; None for all reports.
    power : int
        Exponent of the similarity: the higher, the more the nearest texts count.
    prior : float
        Weight of the overall share.
    fades : bool
        Whether older reports count less.
    """

    group: int | None
    power: int
    prior: float
    fades: bool = False


# Chosen once, like the hyper-parameters, by validation in time order.
VOTES = (
    Vote(None, 6, 0.02),
    Vote(encoding.SYSTEM, 3, 0.1),
    Vote(encoding.EQUIPMENT, 2, 0.2),
    Vote(None, 12, 0.002),
    Vote(None, 3, 0.3),
    Vote(encoding.SYSTEM, 6, 0.02),
    Vote(encoding.EQUIPMENT, 4, 0.05),
    Vote(encoding.SECTION, 6, 0.02),
    Vote(encoding.SYSTEM_SECTION, 3, 0.1),
    Vote(encoding.EQUIPMENT_SECTION, 2, 0.1),
)
# Had features of their own before format 5: they follow the newest reports, wrong ones as well.
FADING_VOTES = (
    Vote(None, 6, 0.02, fades=True),
    Vote(encoding.SECTION, 4, 0.05, fades=True),
    Vote(encoding.SYSTEM, 3, 0.1, fades=True),
    Vote(encoding.EQUIPMENT, 1, 0.3, fades=True),
)
NUM_VOTES = len(VOTES) * NUM_TARGETS

# Groups so small that it is faster to work on their pairs one by one than on full matrices.
_SPARSE_GROUPS = (encoding.SYSTEM, encoding.SYSTEM_SECTION, encoding.EQUIPMENT, encoding.EQUIPMENT_SECTION)

VoteSums = dict[Vote, Floats]


def to_unit_vectors(sketches: NDArray[np.int8]) -> Floats:
    """Return sketches as floats, shape (rows, 512)."""
    return sketches.astype(np.float32) * np.float32(1.0 / SKETCH_SCALE)


def shrink_shares(sums: Floats, prior: Floats, weight: float) -> Floats:
    """Return shares above each level from sums of targets, shrunk to a prior share where few are summed.

    Parameters
    ----------
    sums : ndarray, shape (rows, 15)
        Sums of the twelve targets and of the presence of the three scores.
    prior : ndarray, shape (rows, 12)
    weight : float
        How many reports the prior counts for.
    """
    present = np.repeat(sums[:, NUM_TARGETS:], NUM_THRESHOLDS, axis=1)
    shares: Floats = (sums[:, :NUM_TARGETS] + np.float32(weight) * prior) / (present + np.float32(weight))
    return shares


class Neighbours:
    """The newest reports, searchable by text.

    Parameters
    ----------
    encoded : ndarray of ENCODED, shape (reports,)
        The newest reports in time order; the first has row number ``first_row``.
    targets : ndarray of float32, shape (reports, 15)
        Their twelve targets and the presence of the three scores.
    reach : int
        How many rows before its moment a query looks back.
    kinds : sequence of Vote
        The votes to return, those that fade last.
    """

    def __init__(
        self,
        encoded: Encoded,
        targets: Floats,
        first_row: int,
        reach: int,
        kinds: Sequence[Vote] = VOTES,
    ) -> None:
        self._kinds = kinds
        self._vectors = to_unit_vectors(encoded["sketch"])
        self._groups = np.ascontiguousarray(encoded["groups"].T)
        self._targets = targets
        self._first = first_row
        self._reach = reach
        self._last_window: tuple[slice, Floats] | None = None

    def votes(self, queries: Encoded, past_counts: Ints, base: Floats) -> Floats:
        """Return all votes for each query at its moment, twelve columns for each kind.

        ``base`` is the overall share above each level at that moment, shape (queries, 12).
        """
        votes = np.zeros((len(queries), len(self._kinds) * NUM_TARGETS), np.float32)
        for start in range(0, len(queries), REPORT_BATCH_SIZE):
            batch = slice(start, start + REPORT_BATCH_SIZE)
            votes[batch] = self._vote_batch(queries[batch], past_counts[batch], base[batch])
        return votes

    def _vote_batch(self, queries: Encoded, past_counts: Ints, base: Floats) -> Floats:
        newest = int(past_counts.max()) - self._first
        oldest = max(int(past_counts.min()) - self._reach - self._first, 0)
        window = slice(oldest, max(newest, oldest))
        similarity = to_unit_vectors(queries["sketch"]) @ self._vectors[window].T
        np.maximum(similarity, 0.0, out=similarity)
        self._mask_future(similarity, past_counts - self._first - oldest)
        # Fading is computed relative to the newest row of the window; each query then gets its own age back.
        rejuvenation = np.exp2((newest - (past_counts - self._first)) / HALF_LIFE_ROWS)
        rejuvenation = rejuvenation.astype(np.float32)[:, None]
        targets = self._window_targets(window)
        sums = self._sum_dense(similarity, queries, window, targets)
        sums |= self._sum_pairs(similarity, queries, window, targets)
        width = self._targets.shape[1]
        columns = []
        for vote in self._kinds:
            total = sums[vote][:, width:] * rejuvenation if vote.fades else sums[vote][:, :width]
            columns.append(shrink_shares(total, base, vote.prior))
        return np.hstack(columns)

    def _window_targets(self, window: slice) -> Floats:
        """Return the targets as they are, and faded with age."""
        cached = self._last_window
        # Requests ask for the same window every time, so the last one is kept.
        if cached is None or cached[0] != window:
            values = self._targets[window]
            ages = np.arange(len(values), 0, -1, dtype=np.float32)
            faded = values * np.exp2(-ages / HALF_LIFE_ROWS)[:, None]
            self._last_window = cached = window, np.hstack([values, faded])
        return cached[1]

    def _mask_future(self, similarity: Floats, ends: Ints) -> None:
        """Set the similarity to reports at or after a query's moment, or beyond the reach, to zero."""
        columns = np.arange(similarity.shape[1])
        visible_to_all, last = int(ends.min(initial=0)), similarity.shape[1]
        if visible_to_all < last:
            late = slice(max(visible_to_all, 0), last)
            similarity[:, late] *= columns[late] < ends[:, None]
        too_old = int((ends - self._reach).max(initial=0))
        if too_old > 0:
            similarity[:, :too_old] *= columns[:too_old] >= (ends - self._reach)[:, None]

    def _sum_dense(self, similarity: Floats, queries: Encoded, window: slice, targets: Floats) -> VoteSums:
        """Sum the votes of all reports and of one section with full matrices."""
        # Repeated multiplication is far cheaper than ``**`` on millions of numbers.
        square = similarity * similarity
        cube = square * similarity
        sixth = cube * cube
        powers = {3: cube, 4: square * square, 6: sixth, 12: sixth * sixth}
        same_section = _in_same_group(queries, self._groups[encoding.SECTION, window], encoding.SECTION)
        return {
            vote: (powers[vote.power] if vote.group is None else powers[vote.power] * same_section) @ targets
            for vote in self._kinds
            if vote.group not in _SPARSE_GROUPS
        }

    def _sum_pairs(self, similarity: Floats, queries: Encoded, window: slice, targets: Floats) -> VoteSums:
        """Sum the votes within small groups over the pairs of reports that share one."""
        sums: VoteSums = {}
        for group in _SPARSE_GROUPS:
            same = _in_same_group(queries, self._groups[group, window], group) & (similarity > 0)
            rows, columns = np.nonzero(same)
            weights, voters = similarity[rows, columns], targets[columns]
            starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else rows
            for vote in (vote for vote in self._kinds if vote.group == group):
                sums[vote] = np.zeros((len(queries), targets.shape[1]), np.float32)
                if len(rows):
                    weighted = voters * (weights**vote.power)[:, None]
                    sums[vote][rows[starts]] = np.add.reduceat(weighted, starts, axis=0)
        return sums


def _in_same_group(queries: Encoded, groups: NDArray[np.uint64], column: int) -> NDArray[np.bool_]:
    own = queries["groups"][:, column]
    same: NDArray[np.bool_] = (own[:, None] == groups[None, :]) & (own != 0)[:, None]
    return same
