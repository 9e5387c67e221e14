"""Features from everything known before a moment: one code path for training rows and requests.

A training row is computed at its own moment and so sees strictly earlier reports only; a request at the end.
No score of a row or of its future can reach the row's features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.features import encoding, neighbours
from prediction.scoring.features.encoding import GROUPS, NAME_WIDTH, Encoded
from prediction.scoring.features.neighbours import (
    FADING_VOTES,
    VOTES,
    Neighbours,
    shrink_shares,
    to_unit_vectors,
)
from prediction.scoring.features.point_in_time import Floats, GroupedCumSums, Ints, Ranges
from prediction.scoring.features.text_hashing import MAX_WORDS, SKETCH_WIDTH
from prediction.scoring.model.hyperparameters import (
    NUM_LEVELS,
    NUM_TARGETS,
    NUM_THRESHOLDS,
    ScoringHyperparameters,
)

FORMAT_WITHOUT_RECENT_MENTIONS = 4
# Newest reports of a word that had features of their own before format 4. Nine reports scored wrongly
# could tip the model over by them: without them the error on later reports is lower (.208 instead of .221
# for availability where no label of the last tenth is known). Versions of format 3 still serve with them.
RECENT_MENTIONS = 32

GROUP_PRIOR = 2.0
# Reports that the overall share counts for beside a word's own: a word that a few wrong scores have reached must
# not outweigh the others. 2 before format 5.
WORD_PRIOR, FORMER_WORD_PRIOR = 8.0, 2.0
BASE_PRIOR = 15.0
# Share of reports above each level that is assumed before anything is known.
DEFAULT_SHARES = np.tile(np.array([0.4, 0.3, 0.1, 0.05], np.float32), NUM_TARGETS // NUM_THRESHOLDS)

# Where a small group's share is shrunk to; None is the overall share.
PARENTS = {
    encoding.SECTION: None,
    encoding.SYSTEM: None,
    encoding.SYSTEM_SECTION: encoding.SYSTEM,
    encoding.NAME: encoding.SYSTEM,
    encoding.EQUIPMENT: encoding.SYSTEM,
    encoding.EQUIPMENT_SECTION: encoding.EQUIPMENT,
}

# From here on neither a group's last report nor fading votes are features, and a word's own reports count less.
# Chosen at six moments in the oldest half of a plant's reports by the error on the next 5 %: 99 late reports of a
# rater who scores one level higher raised it from .317 to .515, now from .317 to .378; 70 reports scored at
# random to .767, now .403.
FORMAT_WITHOUT_LAST_REPORTS = 5
WITH_LAST = (encoding.SYSTEM, encoding.EQUIPMENT, encoding.EQUIPMENT_SECTION)

SKETCH_WEIGHT, NAME_WEIGHT, GROUP_WEIGHT, VOTE_WEIGHT, WORD_WEIGHT = 1.0, 1.0, 0.6, 1.75, 0.25
# Scales of the kinds of features under one common penalty; the constant is nearly free of it.
CONSTANT = 2.0

NUM_FEATURES = (
    SKETCH_WIDTH
    + NAME_WIDTH
    + NUM_TARGETS * (1 + len(GROUPS))
    + len(GROUPS)
    + neighbours.NUM_VOTES
    + 3 * NUM_TARGETS
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
    recent : ndarray of ENCODED, shape (newest reports,)
        The newest reports in full: all, or as many as the neighbours are searched among.
    """

    groups: NDArray[np.uint64]
    scores: Floats
    recent: Encoded

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def first_recent(self) -> int:
        """The row number of the first report in full."""
        return len(self) - len(self.recent)

    def until(self, end: int) -> ReportTimeline:
        """Return the reports before row ``end``."""
        recent = self.recent[: max(end - self.first_recent, 0)]
        return ReportTimeline(self.groups[:end], self.scores[:end], recent)


def encode_targets(scores: Floats) -> Floats:
    """Return whether each score is above 1, 2, 3 and 4, and whether it is present, shape (rows, 15).

    A score between two levels counts in part: 2.5 is half above 2. A missing score counts 0 and is absent.
    """
    above = np.clip(scores[:, :, None] - np.arange(1, NUM_LEVELS, dtype=np.float32), 0.0, 1.0)
    present = ~np.isnan(scores)
    return np.hstack([np.nan_to_num(above).reshape(len(scores), NUM_TARGETS), present]).astype(np.float32)


def compute_equipment_means(
    groups: NDArray[np.uint64], targets: Floats, past_counts: Ints, start: int
) -> Floats:
    """Return the mean earlier scores of the same device for the rows from ``start`` on, shape (rows, 3).

    NaN for a device without earlier reports. ``targets`` are those of all rows.
    """
    devices = np.ascontiguousarray(groups[:, encoding.EQUIPMENT])
    index = GroupedCumSums(devices, np.arange(len(devices)), targets)
    sums = index.sums(index.ranges_before(devices[start:], past_counts[start:]))
    above = sums[:, :NUM_TARGETS].reshape(len(sums), NUM_TARGETS // NUM_THRESHOLDS, NUM_THRESHOLDS)
    present = sums[:, NUM_TARGETS:]
    means: Floats = 1.0 + above.sum(axis=2) / np.where(present > 0, present, np.nan)
    return means


class HistoryFeatures:
    """Scored reports, indexed by group, word and text.

    Parameters
    ----------
    past : ReportTimeline
        The reports that are known.
    hyperparameters : ScoringHyperparameters
        How many of the newest reports are searched for similar texts.
    min_past_count : int, optional
        The earliest moment that will be asked for; by default only the end is.
    """

    def __init__(
        self,
        past: ReportTimeline,
        hyperparameters: ScoringHyperparameters,
        min_past_count: int | None = None,
    ) -> None:
        self.end = len(past)
        self._reach = hyperparameters.neighbours
        has_recent = hyperparameters.format < FORMAT_WITHOUT_RECENT_MENTIONS
        self._mention_spans = (0, RECENT_MENTIONS) if has_recent else (0,)
        follows_last = hyperparameters.format < FORMAT_WITHOUT_LAST_REPORTS
        self._with_last = WITH_LAST if follows_last else ()
        self._word_prior = FORMER_WORD_PRIOR if follows_last else WORD_PRIOR
        votes = (*VOTES, *FADING_VOTES) if follows_last else VOTES
        self.num_votes = len(votes) * NUM_TARGETS
        first = max((self.end if min_past_count is None else min_past_count) - self._reach, past.first_recent)
        recent = past.recent[first - past.first_recent :]
        self._targets = encode_targets(past.scores)
        self._totals = np.zeros((self.end + 1, self._targets.shape[1]), np.float32)
        np.cumsum(self._targets, axis=0, out=self._totals[1:])
        rows = np.arange(self.end)
        group_keys = np.ascontiguousarray(past.groups.T)
        self._groups = [GroupedCumSums(keys, rows, self._targets) for keys in group_keys]
        self._words = GroupedCumSums(
            recent["words"].ravel(), np.repeat(rows[first:], MAX_WORDS), self._targets
        )
        self._neighbours = Neighbours(recent, self._targets[first:], first, self._reach, votes)

    def compute(self, reports: Encoded, past_counts: Ints, votes: Floats | None = None) -> Floats:
        """Return the features that the weights read, shape (reports, NUM_FEATURES).

        Parameters
        ----------
        past_counts : ndarray of int, shape (reports,)
            How many of the known reports each report sees.
        votes : ndarray, optional
            Result of :meth:`votes` where it is known already.
        """
        base = self._base_shares(past_counts)
        if votes is None:
            votes = self._neighbours.votes(reports, past_counts, base)
        return np.hstack(
            [
                SKETCH_WEIGHT * to_unit_vectors(reports["sketch"]),
                NAME_WEIGHT * to_unit_vectors(reports["name"]),
                GROUP_WEIGHT * self._group_features(reports, past_counts, base),
                VOTE_WEIGHT * votes,
                WORD_WEIGHT * self._word_features(reports, past_counts, base),
                np.full((len(reports), 1), CONSTANT, np.float32),
            ],
            dtype=np.float32,
        )

    def votes(self, reports: Encoded, past_counts: Ints) -> Floats:
        """Return the votes of similar earlier reports, shape (reports, num_votes)."""
        return self._neighbours.votes(reports, past_counts, self._base_shares(past_counts))

    def _base_shares(self, past_counts: Ints) -> Floats:
        """Return the overall share above each level before each moment, shape (moments, 12)."""
        return shrink_shares(self._totals[past_counts], DEFAULT_SHARES[None, :], BASE_PRIOR)

    def _group_features(self, reports: Encoded, past_counts: Ints, base: Floats) -> Floats:
        shares: dict[int | None, Floats] = {None: base}
        columns = [base]
        for group, parent in PARENTS.items():
            index = self._groups[group]
            ranges = index.ranges_before(reports["groups"][:, group], past_counts)
            shares[group] = shrink_shares(index.sums(ranges), shares[parent], GROUP_PRIOR)
            columns.append(shares[group])
            columns.append(np.log1p(ranges.counts).astype(np.float32)[:, None] / np.float32(5))
            if group in self._with_last:
                columns.append(self._last_targets(index, ranges, shares[group]))
        return np.hstack(columns)

    def _last_targets(self, index: GroupedCumSums, ranges: Ranges, default: Floats) -> Floats:
        """Return the targets of the group's newest report; the default where it has none."""
        rows = index.last_rows(ranges)
        last = self._targets[np.maximum(rows, 0)] if self.end else np.zeros((len(rows), 15), np.float32)
        present = np.repeat(last[:, NUM_TARGETS:] > 0, NUM_THRESHOLDS, axis=1) & (rows >= 0)[:, None]
        return np.where(present, last[:, :NUM_TARGETS], default)

    def _word_features(self, reports: Encoded, past_counts: Ints, base: Floats) -> Floats:
        """Return what the report's words have meant in earlier reports."""
        words = reports["words"]
        row, column = np.nonzero(words)
        ranges = self._words.ranges_before(words[row, column], past_counts[row], self._reach)
        mentioned = ranges.counts > 0
        row, ranges = row[mentioned], Ranges(ranges.start[mentioned], ranges.end[mentioned])
        return np.hstack(
            [
                _word_evidence(self._words.sums(ranges, newest), base, row, self._word_prior)
                for newest in self._mention_spans
            ]
        )


def _word_evidence(sums: Floats, base: Floats, row: NDArray[np.intp], weight: float) -> Floats:
    """Return sum, maximum and minimum by report of the words' log odds against the overall share."""
    evidence = np.zeros((len(base), 3 * NUM_TARGETS), np.float32)
    if not len(row):
        return evidence
    # Clipped so that a word seen a few times cannot outweigh everything else.
    prior = np.clip(base, 0.003, 0.997)
    shares = np.clip(shrink_shares(sums, prior[row], weight), 0.001, 0.999)
    log_odds = _log_odds(shares) - _log_odds(prior)[row]
    starts = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    words = np.diff(np.r_[starts, len(row)])[:, None].astype(np.float32)
    evidence[row[starts]] = np.hstack(
        [
            np.add.reduceat(log_odds, starts) / np.sqrt(words),
            np.maximum.reduceat(log_odds, starts),
            np.minimum.reduceat(log_odds, starts),
        ]
    )
    return evidence


def _log_odds(share: Floats) -> Floats:
    odds: Floats = np.log(share / (1.0 - share))
    return odds
