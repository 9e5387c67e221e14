"""Stored reports as a training reads them: in time order, encoded, each with its past and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.scoring.data.default_scores import find_default_scores
from prediction.scoring.data.row_cache import Keys, RowCache
from prediction.scoring.features import encoding, neighbours
from prediction.scoring.features.encoding import ENCODED, GROUPS, Encoded, encode_reports, hash_groups
from prediction.scoring.features.history_features import HistoryFeatures, ReportTimeline, answers
from prediction.scoring.features.point_in_time import Floats, Ints
from prediction.scoring.model.hyperparameters import ScoringHyperparameters
from storage.anomaly_reports.csv_store import SCORES
from storage.anomaly_reports.reports import AnomalyReports

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_TIMES_FITTED = 4
"""A corrected or backdated report gives all later rows another past: their votes are kept again, so often."""

_GROUPS = np.dtype((np.uint64, (len(GROUPS),)))


@dataclass(frozen=True)
class TrainingSet:
    """Scored reports in time order.

    Parameters
    ----------
    reports : Reports
        As stored, in the order of arrival.
    order : ndarray of int, shape (rows,)
        The place in ``reports`` of each row; rows of one moment keep the order of arrival.
    groups : ndarray of uint64, shape (rows, 6)
        What each row belongs to, see ``encoding.GROUPS``.
    recent : ndarray of ENCODED, shape (kept,)
        The newest rows in full: as many as a training reads.
    scores : ndarray of float32, shape (rows, 3)
        NaN where a score is missing.
    moments : ndarray of int, shape (rows,)
        How many rows are strictly earlier than each: its past.
    keys : ndarray of uint64, shape (rows,)
        Hash of everything a row holds.
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
        places = np.arange(len(self), dtype=np.uint64) * _GOLDEN
        prefix_hashes: Keys = np.cumsum(_mixed(self.keys + places), dtype=np.uint64)
        return _mixed(prefix_hashes)

    @property
    def new(self) -> NDArray[np.bool_]:
        """Rows that this session brings."""
        return np.array(self.reports.is_new, bool)[self.order]

    @cached_property
    def default_scored(self) -> NDArray[np.bool_]:
        """Rows that were scored by rote."""
        return find_default_scores(self.scores)

    @cached_property
    def usable_scores(self) -> Floats:
        """The scores that are learnt from: those given by rote count as missing."""
        return np.where(self.default_scored[:, None], np.float32(np.nan), self.scores)

    @cached_property
    def answers(self) -> Floats:
        """The trusted scores as answers to the twelve questions."""
        return answers(self.usable_scores)

    def timeline(self) -> ReportTimeline:
        """The rows as the history reads them."""
        return ReportTimeline(self.groups, self.usable_scores, self.recent)

    def encoded(self, rows: NDArray[np.intp] | slice) -> Encoded:
        """Some of the newest rows in full."""
        oldest = len(self) - len(self.recent)
        if isinstance(rows, slice):
            return self.recent[rows.start - oldest : rows.stop - oldest]
        return self.recent[rows - oldest]

    def chosen(self, kept: NDArray[np.bool_]) -> TrainingSet:
        """Some of the rows, as if there had never been others."""
        before = np.r_[0, np.cumsum(kept)]
        return TrainingSet(
            self.reports,
            self.order[kept],
            self.groups[kept],
            self.recent[kept[len(self) - len(self.recent) :]],
            self.scores[kept],
            before[self.past_counts[kept]],
            self.keys[kept],
            self.cache,
        )

    def features(self, recipe: ScoringHyperparameters, start: int) -> Floats:
        """Features of the rows from ``start`` on, each computed from its own past.

        The costly part, the votes of similar texts, is kept on disk by the hash of row and past.
        """
        asked, past_counts = self.encoded(slice(start, len(self))), self.past_counts[start:]
        if not len(asked):
            return np.zeros((0, 0), np.float32)
        history = HistoryFeatures(self.timeline(), recipe, min_past_count=int(past_counts.min()))
        past = np.r_[np.uint64(0), self.prefix_hashes][past_counts]
        names = _mixed(past + _mixed(self.keys[start:] * _GOLDEN))
        kind = np.dtype((np.float32, (neighbours.NUM_VOTES,)))
        file = self.cache / f"votes-{encoding.FORMAT}-{recipe.digest}.rows"
        kept = RowCache(file, kind, most_rows=_TIMES_FITTED * recipe.fitted_rows)
        votes = kept.complete(names, lambda missing: history.votes(asked[missing], past_counts[missing]))
        return history.features(asked, past_counts, votes.astype(np.float32, copy=False))


def build_training_set(reports: AnomalyReports, cache: Path, recent: int | None = None) -> TrainingSet:
    """Stored reports in time order, the newest ``recent`` of them (or all) in full.

    Only texts never seen before are worked on.
    """
    times = _times(reports.detected_at)
    order = np.argsort(times, kind="stable")
    times = times[order]
    fields = [getattr(reports, field) for field in encoding.TEXT_FIELDS]
    content = _hashes("\x1f".join(cells) for cells in zip(*fields, strict=True))[order]
    newest = slice(max(len(order) - (len(order) if recent is None else recent), 0), None)
    scores = np.array([reports.scores[score] for score in SCORES], np.float32)
    scores = scores.T.reshape(-1, len(SCORES))[order]

    def told(places: Ints) -> list[dict[str, str]]:
        columns = [[column[place] for place in places.tolist()] for column in fields]
        return [dict(zip(encoding.TEXT_FIELDS, cells, strict=True)) for cells in zip(*columns, strict=True)]

    return TrainingSet(
        reports=reports,
        order=order,
        groups=_kept("groups", _GROUPS, cache).complete(content, lambda rows: hash_groups(told(order[rows]))),
        recent=_kept("encoded", ENCODED, cache).complete(
            content[newest], lambda rows: encode_reports(told(order[newest][rows]))
        ),
        scores=scores,
        past_counts=np.searchsorted(times, times, side="left"),
        keys=_row_keys(content, times, scores),
        cache=cache,
    )


def _kept(what: str, kind: np.dtype[Any], cache: Path) -> RowCache:
    return RowCache(cache / f"{what}-{encoding.FORMAT}.rows", kind)


def _times(cells: list[str]) -> Ints:
    """Seconds since 1970; a blank or unreadable time counts as older than all others."""
    try:
        past_counts = np.array([cell[:19] for cell in cells], dtype="datetime64[s]")
    except ValueError:
        past_counts = np.array([_time(cell) for cell in cells], dtype="datetime64[s]")
    return past_counts.astype(np.int64)


def _time(cell: str) -> np.datetime64:
    try:
        return np.datetime64(cell[:19], "s")
    except ValueError:
        return np.datetime64("NaT", "s")


def _hashes(strings: Iterable[str]) -> Keys:
    """Eight bytes of BLAKE2 a string."""
    blake = hashlib.blake2b
    joined = b"".join(
        [blake(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in strings]
    )
    return np.frombuffer(joined, "<u8").astype(np.uint64)


def _row_keys(content: Keys, times: Ints, scores: Floats) -> Keys:
    """What each row says: its texts, its time and its scores."""
    said = content + _mixed(times.astype(np.uint64))
    for column in np.ascontiguousarray(scores.T).view(np.uint32).astype(np.uint64):
        said = _mixed(said * _MIX + column)
    return said


def _mixed(value: Keys) -> Keys:
    value = (value ^ (value >> np.uint64(32))) * _MIX
    mixed: Keys = value ^ (value >> np.uint64(29))
    return mixed
