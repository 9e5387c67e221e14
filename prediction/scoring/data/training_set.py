"""Stored reports as a training reads them: in time order, encoded, each with its past and its hash."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.data.default_scores import find_default_scores
from prediction.scoring.data.row_cache import Keys, RowCache, hash_texts
from prediction.scoring.features import encoding
from prediction.scoring.features.encoding import ENCODED, GROUPS, Encoded, encode_reports, hash_groups
from prediction.scoring.features.history_features import HistoryFeatures, ReportTimeline, encode_targets
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from storage.anomaly_reports.reports import SCORES, AnomalyReports

_GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)
_MURMUR_MIX = np.uint64(0xFF51AFD7ED558CCD)
# Cached votes, as a multiple of the fitted rows: a corrected or backdated report gives all later rows
# another past, so their votes are stored once more.
_MAX_VOTE_ROWS = 4

_GROUP_HASHES = np.dtype((np.uint64, (len(GROUPS),)))


@dataclass(frozen=True)
class TrainingSet:
    """Scored reports in time order.

    Parameters
    ----------
    reports : AnomalyReports
        As stored, in the order of arrival.
    order : ndarray of int, shape (rows,)
        The index in ``reports`` of each row; rows of one moment keep the order of arrival.
    groups : ndarray of uint64, shape (rows, 6)
        What each row belongs to, see ``encoding.GROUPS``.
    recent : ndarray of ENCODED, shape (newest rows,)
        The newest rows in full: as many as a training reads.
    scores : ndarray of float32, shape (rows, 3)
        NaN where a score is missing.
    past_counts : ndarray of int, shape (rows,)
        How many rows are strictly earlier than each: its past.
    keys : ndarray of uint64, shape (rows,)
        Hash of everything that a row holds.
    cache : Path
        Folder for what is computed from rows.
    """

    reports: AnomalyReports
    order: Ints
    groups: NDArray[np.uint64]
    recent: Encoded
    scores: Floats
    past_counts: Ints
    keys: Keys
    cache: Path

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def prefix_hashes(self) -> Keys:
        """For each row a hash of the row and of all rows before it, in their order."""
        positions = np.arange(len(self), dtype=np.uint64) * _GOLDEN_RATIO
        sums: Keys = np.cumsum(_mix(self.keys + positions), dtype=np.uint64)
        return _mix(sums)

    @property
    def is_new(self) -> NDArray[np.bool_]:
        """Rows that this session adds."""
        return np.array(self.reports.is_new, bool)[self.order]

    @cached_property
    def default_scored(self) -> NDArray[np.bool_]:
        """Rows with default scores."""
        return find_default_scores(self.scores)

    @cached_property
    def usable_scores(self) -> Floats:
        """The scores that are learnt from: default scores count as missing."""
        return np.where(self.default_scored[:, None], np.float32(np.nan), self.scores)

    @cached_property
    def has_usable_score(self) -> NDArray[np.bool_]:
        """Rows that at least one score is learnt from."""
        present: NDArray[np.bool_] = (~np.isnan(self.usable_scores)).sum(axis=1) > 0
        return present

    @cached_property
    def targets(self) -> Floats:
        """The usable scores as targets, shape (rows, 15)."""
        return encode_targets(self.usable_scores)

    def timeline(self) -> ReportTimeline:
        """Return the rows as history features read them."""
        return ReportTimeline(self.groups, self.usable_scores, self.recent)

    def encoded(self, rows: NDArray[np.intp] | slice) -> Encoded:
        """Return some of the newest rows in full."""
        first = len(self) - len(self.recent)
        if isinstance(rows, slice):
            return self.recent[rows.start - first : rows.stop - first]
        return self.recent[rows - first]

    def select(self, mask: NDArray[np.bool_]) -> TrainingSet:
        """Return some of the rows, as if there had never been others."""
        count_before = np.r_[0, np.cumsum(mask)]
        return TrainingSet(
            self.reports,
            self.order[mask],
            self.groups[mask],
            self.recent[mask[len(self) - len(self.recent) :]],
            self.scores[mask],
            count_before[self.past_counts[mask]],
            self.keys[mask],
            self.cache,
        )

    def compute_features(self, hyperparameters: ScoringHyperparameters, start: int) -> Floats:
        """Return the features of the rows from ``start`` on, each computed from its own past.

        The costly part, the votes of similar texts, is cached by the hash of row and past.
        """
        rows, past_counts = self.encoded(slice(start, len(self))), self.past_counts[start:]
        if not len(rows):
            return np.zeros((0, 0), np.float32)
        history = HistoryFeatures(self.timeline(), hyperparameters, min_past_count=int(past_counts.min()))
        past_hashes = np.r_[np.uint64(0), self.prefix_hashes][past_counts]
        cache = RowCache[np.float32](
            self.cache / f"votes-{encoding.FORMAT}-{hyperparameters.digest}.rows",
            np.dtype((np.float32, (history.num_votes,))),
            max_rows=_MAX_VOTE_ROWS * hyperparameters.fitted_rows,
        )
        votes = cache.complete(
            _mix(past_hashes + _mix(self.keys[start:] * _GOLDEN_RATIO)),
            lambda missing: history.votes(rows[missing], past_counts[missing]),
        )
        return history.compute(rows, past_counts, votes.astype(np.float32, copy=False))


def build_training_set(reports: AnomalyReports, cache: Path, recent: int | None = None) -> TrainingSet:
    """Return stored reports in time order, the newest ``recent`` of them (or all) in full.

    Only texts that are not in the cache are encoded.
    """
    times = _parse_times(reports.detected_at)
    order = np.argsort(times, kind="stable")
    times = times[order]
    fields: list[list[str]] = [getattr(reports, field) for field in encoding.TEXT_FIELDS]
    content = hash_texts("\x1f".join(cells) for cells in zip(*fields, strict=True))[order]
    newest = slice(max(len(order) - (len(order) if recent is None else recent), 0), None)
    scores = np.array([reports.scores[score] for score in SCORES], np.float32)
    scores = scores.T.reshape(-1, len(SCORES))[order]

    def texts_of(rows: Ints) -> list[dict[str, str]]:
        return [
            {name: column[row] for name, column in zip(encoding.TEXT_FIELDS, fields, strict=True)}
            for row in rows.tolist()
        ]

    group_cache = RowCache[np.uint64](cache / f"groups-{encoding.FORMAT}.rows", _GROUP_HASHES)
    report_cache = RowCache[np.void](cache / f"encoded-{encoding.FORMAT}.rows", ENCODED)
    return TrainingSet(
        reports=reports,
        order=order,
        groups=group_cache.complete(content, lambda rows: hash_groups(texts_of(order[rows]))),
        recent=report_cache.complete(
            content[newest], lambda rows: encode_reports(texts_of(order[newest][rows]))
        ),
        scores=scores,
        past_counts=np.searchsorted(times, times, side="left"),
        keys=_hash_rows(content, times, scores),
        cache=cache,
    )


def _parse_times(cells: list[str]) -> Ints:
    """Return seconds since 1970; a blank or unreadable time counts as older than all others."""
    try:
        times = np.array([cell[:19] for cell in cells], dtype="datetime64[s]")
    except ValueError:
        times = np.array([_parse_time(cell) for cell in cells], dtype="datetime64[s]")
    return times.astype(np.int64)


def _parse_time(cell: str) -> np.datetime64:
    try:
        return np.datetime64(cell[:19], "s")
    except ValueError:
        return np.datetime64("NaT", "s")


def _hash_rows(content: Keys, times: Ints, scores: Floats) -> Keys:
    """Return the hash of each row's texts, time and scores."""
    hashes = content + _mix(times.astype(np.uint64))
    for column in np.ascontiguousarray(scores.T).view(np.uint32).astype(np.uint64):
        hashes = _mix(hashes * _MURMUR_MIX + column)
    return hashes


def _mix(value: Keys) -> Keys:
    value = (value ^ (value >> np.uint64(32))) * _MURMUR_MIX
    mixture: Keys = value ^ (value >> np.uint64(29))
    return mixture
