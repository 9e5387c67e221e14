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

from prediction.scoring import encoding, neighbours
from prediction.scoring.encoding import ENCODED, GROUPS, Encoded, encode, group_hashes
from prediction.scoring.history import History, Timeline, answers
from prediction.scoring.past import Floats, Ints
from prediction.scoring.recipe import Recipe
from prediction.scoring.rote import scored_by_rote
from prediction.scoring.row_cache import Keys, RowCache
from storage.csv_store import SCORES
from storage.reports import Reports

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_TIMES_FITTED = 4
"""A corrected or backdated report gives all later rows another past: their votes are kept again, so often."""

_GROUPS = np.dtype((np.uint64, (len(GROUPS),)))


@dataclass(frozen=True)
class Chronicle:
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

    reports: Reports
    order: Ints
    groups: NDArray[np.uint64]
    recent: Encoded
    scores: Floats
    moments: Ints
    keys: Keys
    cache: Path

    def __len__(self) -> int:
        return len(self.order)

    @cached_property
    def chain(self) -> Keys:
        """For each row a hash of the row and of all rows before it, in their order."""
        places = np.arange(len(self), dtype=np.uint64) * _GOLDEN
        chain: Keys = np.cumsum(_mixed(self.keys + places), dtype=np.uint64)
        return _mixed(chain)

    @property
    def new(self) -> NDArray[np.bool_]:
        """Rows that this session brings."""
        return np.array(self.reports.is_new, bool)[self.order]

    @cached_property
    def by_rote(self) -> NDArray[np.bool_]:
        """Rows that were scored by rote."""
        return scored_by_rote(self.scores)

    @cached_property
    def trusted(self) -> Floats:
        """The scores that are learnt from: those given by rote count as missing."""
        return np.where(self.by_rote[:, None], np.float32(np.nan), self.scores)

    @cached_property
    def answers(self) -> Floats:
        """The trusted scores as answers to the twelve questions."""
        return answers(self.trusted)

    def timeline(self) -> Timeline:
        """The rows as the history reads them."""
        return Timeline(self.groups, self.trusted, self.recent)

    def encoded(self, rows: NDArray[np.intp] | slice) -> Encoded:
        """Some of the newest rows in full."""
        oldest = len(self) - len(self.recent)
        if isinstance(rows, slice):
            return self.recent[rows.start - oldest : rows.stop - oldest]
        return self.recent[rows - oldest]

    def chosen(self, kept: NDArray[np.bool_]) -> Chronicle:
        """Some of the rows, as if there had never been others."""
        before = np.r_[0, np.cumsum(kept)]
        return Chronicle(
            self.reports,
            self.order[kept],
            self.groups[kept],
            self.recent[kept[len(self) - len(self.recent) :]],
            self.scores[kept],
            before[self.moments[kept]],
            self.keys[kept],
            self.cache,
        )

    def features(self, recipe: Recipe, start: int) -> Floats:
        """Features of the rows from ``start`` on, each computed from its own past.

        The costly part, the votes of similar texts, is kept on disk by the hash of row and past.
        """
        asked, moments = self.encoded(slice(start, len(self))), self.moments[start:]
        if not len(asked):
            return np.zeros((0, 0), np.float32)
        history = History(self.timeline(), recipe, oldest_asked=int(moments.min()))
        past = np.r_[np.uint64(0), self.chain][moments]
        names = _mixed(past + _mixed(self.keys[start:] * _GOLDEN))
        kind = np.dtype((np.float32, (neighbours.WIDTH,)))
        file = self.cache / f"votes-{encoding.FORMAT}-{recipe.digest}.rows"
        kept = RowCache(file, kind, most_rows=_TIMES_FITTED * recipe.fitted_rows)
        votes = kept.complete(names, lambda missing: history.votes(asked[missing], moments[missing]))
        return history.features(asked, moments, votes.astype(np.float32, copy=False))


def chronicle(reports: Reports, cache: Path, recent: int | None = None) -> Chronicle:
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

    return Chronicle(
        reports=reports,
        order=order,
        groups=_kept("groups", _GROUPS, cache).complete(
            content, lambda rows: group_hashes(told(order[rows]))
        ),
        recent=_kept("encoded", ENCODED, cache).complete(
            content[newest], lambda rows: encode(told(order[newest][rows]))
        ),
        scores=scores,
        moments=np.searchsorted(times, times, side="left"),
        keys=_row_keys(content, times, scores),
        cache=cache,
    )


def _kept(what: str, kind: np.dtype[Any], cache: Path) -> RowCache:
    return RowCache(cache / f"{what}-{encoding.FORMAT}.rows", kind)


def _times(cells: list[str]) -> Ints:
    """Seconds since 1970; a blank or unreadable time counts as older than all others."""
    try:
        moments = np.array([cell[:19] for cell in cells], dtype="datetime64[s]")
    except ValueError:
        moments = np.array([_time(cell) for cell in cells], dtype="datetime64[s]")
    return moments.astype(np.int64)


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
