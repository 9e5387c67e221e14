"""Everything known before a moment, as numbers: one code path for training rows, held-out rows and requests.

A training row asks at its own moment and so sees strictly earlier reports only; a request asks at the end.
No label of a row or of its future can reach the row's features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features import encoding, neighbours
from prediction.scoring.features.encoding import GROUPS, NAME_WIDTH, Encoded
from prediction.scoring.features.neighbours import Neighbours, to_unit_vectors
from prediction.scoring.features.point_in_time import Floats, GroupedCumSums, Ints, Ranges
from prediction.scoring.features.text_hashing import MAX_WORDS, SKETCH_WIDTH
from prediction.scoring.model.hyperparameters import (
    NUM_LEVELS,
    NUM_TARGETS,
    NUM_THRESHOLDS,
    ScoringHyperparameters,
)

NEWEST_MENTIONS = 32
"""How many of a word's newest reports tell what the word means lately."""

GROUP_PRIOR = 2.0
WORD_PRIOR = 2.0
BASE_PRIOR = 15.0
DEFAULT_SHARES = np.tile(np.array([0.4, 0.3, 0.1, 0.05], np.float32), NUM_TARGETS // NUM_THRESHOLDS)
"""Share of reports above each level that is assumed before anything is known."""

PARENTS = {
    encoding.SECTION: None,
    encoding.SYSTEM: None,
    encoding.SYSTEM_SECTION: encoding.SYSTEM,
    encoding.NAME: encoding.SYSTEM,
    encoding.EQUIPMENT: encoding.SYSTEM,
    encoding.EQUIPMENT_SECTION: encoding.EQUIPMENT,
}
"""Where a group's share is drawn to while it is small; None is the overall share."""

WITH_LAST = (encoding.SYSTEM, encoding.EQUIPMENT, encoding.EQUIPMENT_SECTION)

SKETCH_WEIGHT, NAME_WEIGHT, GROUP_WEIGHT, VOTE_WEIGHT, WORD_WEIGHT = 1.0, 1.0, 0.6, 1.75, 0.25
CONSTANT = 2.0
"""Scales of the kinds of features under one common penalty; the constant is nearly free of it."""

NUM_FEATURES = (
    SKETCH_WIDTH
    + NAME_WIDTH
    + NUM_TARGETS * (1 + len(GROUPS) + len(WITH_LAST))
    + len(GROUPS)
    + neighbours.NUM_VOTES
    + 6 * NUM_TARGETS
    + 1
)


@dataclass(frozen=True)
class ReportTimeline:
    """Scored reports in time order.

    Parameters
    ----------
    groups : ndarray of uint64, shape (reports, 6)
        What each report belongs to, see ``encoding.GROUPS``.
    scores : ndarray of float32, shape (reports, 3)
        From 1 to 5; NaN where a score is missing.
    recent : ndarray of ENCODED, shape (kept,)
        The newest reports in full: all, or as many as the recipe looks back.
    """

    groups: NDArray[np.uint64]
    scores: Floats
    recent: Encoded

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def oldest_recent(self) -> int:
        """The row number of the first report that is there in full."""
        return len(self) - len(self.recent)

    def until(self, end: int) -> ReportTimeline:
        """The reports before row ``end``."""
        return ReportTimeline(
            self.groups[:end], self.scores[:end], self.recent[: max(end - self.oldest_recent, 0)]
        )


def answers(scores: Floats) -> Floats:
    """Scores as answers to "above 1?" … "above 4?" and the presence of each score, shape (rows, 15).

    A score between two levels answers in part: 2.5 is half above 2. A missing score answers 0 and is absent.
    """
    above = np.clip(scores[:, :, None] - np.arange(1, NUM_LEVELS, dtype=np.float32), 0.0, 1.0)
    present = ~np.isnan(scores)
    return np.hstack([np.nan_to_num(above).reshape(len(scores), NUM_TARGETS), present]).astype(np.float32)


def compute_equipment_means(
    groups: NDArray[np.uint64], told: Floats, past_counts: Ints, start: int
) -> Floats:
    """Mean earlier scores of the same device for the rows from ``start`` on, shape (rows - start, 3).

    NaN for a device never seen. ``told`` are the answers of all rows.
    """
    devices = np.ascontiguousarray(groups[:, encoding.EQUIPMENT])
    index = GroupedCumSums(devices, np.arange(len(devices)), told)
    sums = index.sums(index.before(devices[start:], past_counts[start:]))
    above = (
        sums[:, :NUM_TARGETS].reshape(len(sums), NUM_TARGETS // NUM_THRESHOLDS, NUM_THRESHOLDS).sum(axis=2)
    )
    present = sums[:, NUM_TARGETS:]
    means: Floats = 1.0 + above / np.where(present > 0, present, np.nan)
    return means


class HistoryFeatures:
    """Scored reports, indexed by group, word and text."""

    def __init__(
        self, known: ReportTimeline, recipe: ScoringHyperparameters, min_past_count: int | None = None
    ) -> None:
        """``oldest_asked`` is the earliest moment that will be asked for; by default only the end is."""
        self.end = len(known)
        oldest = (self.end if min_past_count is None else min_past_count) - recipe.neighbours
        first = max(oldest, known.oldest_recent)
        recent = known.recent[first - known.oldest_recent :]
        self._reach = recipe.neighbours
        self._values = answers(known.scores)
        self._totals = np.zeros((self.end + 1, self._values.shape[1]), np.float32)
        np.cumsum(self._values, axis=0, out=self._totals[1:])
        rows = np.arange(self.end)
        self._groups = [
            GroupedCumSums(keys, rows, self._values) for keys in np.ascontiguousarray(known.groups.T)
        ]
        self._words = GroupedCumSums(
            recent["words"].ravel(), np.repeat(rows[first:], MAX_WORDS), self._values
        )
        self._neighbours = Neighbours(recent, self._values[first:], first, recipe.neighbours)

    def features(self, asked: Encoded, past_counts: Ints, votes: Floats | None = None) -> Floats:
        """What the weights read, shape (asked, WIDTH); ``votes`` where they are known already."""
        base = self.base(past_counts)
        votes = self.votes(asked, past_counts) if votes is None else votes
        return np.hstack(
            [
                SKETCH_WEIGHT * to_unit_vectors(asked["sketch"]),
                NAME_WEIGHT * to_unit_vectors(asked["name"]),
                GROUP_WEIGHT * self._group_features(asked, past_counts, base),
                VOTE_WEIGHT * votes,
                WORD_WEIGHT * self._word_features(asked, past_counts, base),
                np.full((len(asked), 1), CONSTANT, np.float32),
            ],
            dtype=np.float32,
        )

    def votes(self, asked: Encoded, past_counts: Ints) -> Floats:
        """Votes of similar earlier reports, shape (asked, neighbours.WIDTH)."""
        return self._neighbours.votes(asked, past_counts, self.base(past_counts))

    def base(self, past_counts: Ints) -> Floats:
        """The overall share above each level before each moment, shape (moments, 12)."""
        return _shrunk(self._totals[past_counts], DEFAULT_SHARES[None, :], BASE_PRIOR)

    def _group_features(self, asked: Encoded, past_counts: Ints, base: Floats) -> Floats:
        shares: dict[int | None, Floats] = {None: base}
        columns = [base]
        for group, parent in PARENTS.items():
            index = self._groups[group]
            runs = index.before(asked["groups"][:, group], past_counts)
            shares[group] = _shrunk(index.sums(runs), shares[parent], GROUP_PRIOR)
            columns.append(shares[group])
            columns.append(np.log1p(runs.counts).astype(np.float32)[:, None] / np.float32(5))
            if group in WITH_LAST:
                columns.append(self._last_answers(index, runs, shares[group]))
        return np.hstack(columns)

    def _last_answers(self, index: GroupedCumSums, runs: Ranges, otherwise: Floats) -> Floats:
        rows = index.last_rows(runs)
        last = self._values[np.maximum(rows, 0)] if self.end else np.zeros((len(rows), 15), np.float32)
        known = np.repeat(last[:, NUM_TARGETS:] > 0, NUM_THRESHOLDS, axis=1) & (rows >= 0)[:, None]
        return np.where(known, last[:, :NUM_TARGETS], otherwise)

    def _word_features(self, asked: Encoded, past_counts: Ints, base: Floats) -> Floats:
        """What the report's words have meant so far, as log odds against the overall share.

        Sum, strongest and weakest evidence of the words, over all their mentions and over the newest ones: a
        word that comes into use is understood after a few reports, long before the weights are fitted again.
        """
        words = asked["words"]
        row, place = np.nonzero(words)
        runs = self._words.before(words[row, place], past_counts[row], self._reach)
        known = runs.counts > 0
        row, runs = row[known], Ranges(runs.start[known], runs.end[known])
        found = [_evidence(self._words.sums(runs, newest), base, row) for newest in (0, NEWEST_MENTIONS)]
        return np.hstack(found)


def _evidence(sums: Floats, base: Floats, row: NDArray[np.intp]) -> Floats:
    """Sum, maximum and minimum of the words' log odds by report, shape (reports, 36)."""
    found = np.zeros((len(base), 3 * NUM_TARGETS), np.float32)
    if not len(row):
        return found
    prior = np.clip(base, 0.003, 0.997)
    shares = np.clip(_shrunk(sums, prior[row], WORD_PRIOR), 0.001, 0.999)
    evidence = _log_odds(shares) - _log_odds(prior)[row]
    starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    words = np.diff(np.r_[starts, len(row)])[:, None].astype(np.float32)
    found[row[starts]] = np.hstack(
        [
            np.add.reduceat(evidence, starts) / np.sqrt(words),
            np.maximum.reduceat(evidence, starts),
            np.minimum.reduceat(evidence, starts),
        ]
    )
    return found


def _log_odds(share: Floats) -> Floats:
    odds: Floats = np.log(share / (1.0 - share))
    return odds


def _shrunk(sums: Floats, prior: Floats, weight: float) -> Floats:
    """Shares of the answers seen, drawn towards a prior share while few were seen."""
    seen = np.repeat(sums[:, NUM_TARGETS:], NUM_THRESHOLDS, axis=1)
    share: Floats = (sums[:, :NUM_TARGETS] + np.float32(weight) * prior) / (seen + np.float32(weight))
    return share
