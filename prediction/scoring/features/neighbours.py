"""Votes of earlier reports with a similar text: everywhere, and among those of one system, section or device.

Each vote is a mean of the neighbours' answers to the twelve questions, weighted by a power of the texts'
cosine (Nadaraya, "On estimating regression", 1964), and drawn to the overall share where neighbours lack.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features import encoding
from prediction.scoring.features.encoding import Encoded
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.features.text_hashing import SKETCH_SCALE
from prediction.scoring.model.hyperparameters import NUM_TARGETS, NUM_THRESHOLDS

REPORT_BATCH_SIZE = 256
HALF_LIFE_ROWS = 500.0
"""Where a vote fades, the age in rows at which a neighbour counts half."""


@dataclass(frozen=True)
class Vote:
    """Who votes (a group's column, None for everybody), how sharply, and how strongly the prior pulls."""

    among: int | None
    power: int
    prior: float
    fades: bool = False


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
    Vote(None, 6, 0.02, fades=True),
    Vote(encoding.SECTION, 4, 0.05, fades=True),
    Vote(encoding.SYSTEM, 3, 0.1, fades=True),
    Vote(encoding.EQUIPMENT, 1, 0.3, fades=True),
)
NUM_VOTES = len(VOTES) * NUM_TARGETS

_SPARSE = (encoding.SYSTEM, encoding.SYSTEM_SECTION, encoding.EQUIPMENT, encoding.EQUIPMENT_SECTION)
"""Groups so small that their pairs are worked on one by one."""


def to_unit_vectors(sketches: NDArray[np.int8]) -> Floats:
    """Sketches as floats, shape (rows, 512)."""
    return sketches.astype(np.float32) * np.float32(1.0 / SKETCH_SCALE)


class Neighbours:
    """The newest reports, searchable by text.

    Parameters
    ----------
    encoded : ndarray of ENCODED, shape (kept,)
        The newest reports in time order; the first has row number ``first_row``.
    values : ndarray of float32, shape (kept, 15)
        Their answers to the twelve questions and the presence of the three scores.
    reach : int
        How many rows before its moment a question looks back.
    """

    def __init__(self, encoded: Encoded, values: Floats, first_row: int, reach: int) -> None:
        self._vectors = to_unit_vectors(encoded["sketch"])
        self._groups = np.ascontiguousarray(encoded["groups"].T)
        self._values = values
        self._first = first_row
        self._reach = reach
        self._last_answers: tuple[slice, Floats] | None = None

    def votes(self, asked: Encoded, past_counts: Ints, base: Floats) -> Floats:
        """All votes for each asked report at its moment, shape (asked, WIDTH).

        ``base`` is the overall share of each question at that moment, shape (asked, 12).
        """
        found = np.zeros((len(asked), NUM_VOTES), np.float32)
        for start in range(0, len(asked), REPORT_BATCH_SIZE):
            part = slice(start, start + REPORT_BATCH_SIZE)
            found[part] = self._votes_at_once(asked[part], past_counts[part], base[part])
        return found

    def _votes_at_once(self, asked: Encoded, past_counts: Ints, base: Floats) -> Floats:
        newest = int(past_counts.max()) - self._first
        oldest = max(int(past_counts.min()) - self._reach - self._first, 0)
        window = slice(oldest, max(newest, oldest))
        similar = to_unit_vectors(asked["sketch"]) @ self._vectors[window].T
        np.maximum(similar, 0.0, out=similar)
        self._forget_the_future(similar, past_counts - self._first - oldest)
        younger = np.exp2((newest - (past_counts - self._first)) / HALF_LIFE_ROWS).astype(np.float32)[:, None]
        answers = self._answers(window)
        sums = self._dense_sums(similar, asked, window, answers) | self._pair_sums(
            similar, asked, window, answers
        )
        width = self._values.shape[1]
        votes = []
        for vote in VOTES:
            summed = sums[vote]
            chosen = summed[:, width:] * younger if vote.fades else summed[:, :width]
            votes.append(_shrunk(chosen, base, vote.prior))
        return np.hstack(votes)

    def _answers(self, window: slice) -> Floats:
        """Answers as they are, and faded with age; requests ask for the same window every time."""
        kept = self._last_answers
        if kept is None or kept[0] != window:
            values = self._values[window]
            ages = np.arange(len(values), 0, -1, dtype=np.float32)
            faded = values * np.exp2(-ages / HALF_LIFE_ROWS)[:, None]
            self._last_answers = kept = window, np.hstack([values, faded])
        return kept[1]

    def _forget_the_future(self, similar: Floats, ends: Ints) -> None:
        """Nothing at or after a report's own moment is seen, and nothing beyond the reach."""
        columns = np.arange(similar.shape[1])
        seen_by_all, last = int(ends.min(initial=0)), similar.shape[1]
        if seen_by_all < last:
            late = slice(max(seen_by_all, 0), last)
            similar[:, late] *= columns[late] < ends[:, None]
        too_old = int((ends - self._reach).max(initial=0))
        if too_old > 0:
            similar[:, :too_old] *= columns[:too_old] >= (ends - self._reach)[:, None]

    def _dense_sums(
        self, similar: Floats, asked: Encoded, window: slice, answers: Floats
    ) -> dict[Vote, Floats]:
        powers = _powers(similar, {vote.power for vote in VOTES if vote.among not in _SPARSE})
        sums: dict[Vote, Floats] = {}
        same = _same(asked, self._groups[encoding.SECTION, window], encoding.SECTION)
        for vote in VOTES:
            if vote.among is None:
                sums[vote] = powers[vote.power] @ answers
            elif vote.among == encoding.SECTION:
                sums[vote] = (powers[vote.power] * same) @ answers
        return sums

    def _pair_sums(
        self, similar: Floats, asked: Encoded, window: slice, answers: Floats
    ) -> dict[Vote, Floats]:
        """Votes within small groups, over the pairs of reports that share one."""
        sums: dict[Vote, Floats] = {}
        for among in _SPARSE:
            same = _same(asked, self._groups[among, window], among) & (similar > 0)
            rows, columns = np.nonzero(same)
            weights, voices = similar[rows, columns], answers[columns]
            for vote in (vote for vote in VOTES if vote.among == among):
                sums[vote] = _summed_by_row(voices * (weights**vote.power)[:, None], rows, len(asked))
        return sums


def _same(asked: Encoded, groups: NDArray[np.uint64], column: int) -> NDArray[np.bool_]:
    own = asked["groups"][:, column]
    same: NDArray[np.bool_] = (own[:, None] == groups[None, :]) & (own != 0)[:, None]
    return same


def _powers(similar: Floats, wanted: set[int]) -> dict[int, Floats]:
    """Powers by repeated multiplication, which is far cheaper than ``**`` on millions of numbers."""
    square = similar * similar
    cube = square * similar
    sixth = cube * cube
    every = {3: cube, 4: square * square, 6: sixth, 12: sixth * sixth}
    return {power: every[power] for power in wanted}


def _summed_by_row(weighted: Floats, rows: NDArray[np.intp], count: int) -> Floats:
    summed = np.zeros((count, weighted.shape[1]), np.float32)
    if len(rows):
        starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        summed[rows[starts]] = np.add.reduceat(weighted, starts, axis=0)
    return summed


def _shrunk(sums: Floats, base: Floats, prior: float) -> Floats:
    """Weighted means of the answers, drawn towards the overall share."""
    weight = np.repeat(sums[:, NUM_TARGETS:], NUM_THRESHOLDS, axis=1)
    mean: Floats = (sums[:, :NUM_TARGETS] + np.float32(prior) * base) / (weight + np.float32(prior))
    return mean
