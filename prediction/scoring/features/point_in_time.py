"""Sums over the past: what was known of a key before a moment, for any key and any moment at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ranges:
    """For each question, the run of a key's occurrences that lies in its past: ``[start, end)``."""

    start: Ints
    end: Ints

    @property
    def counts(self) -> Ints:
        """Occurrences in the run."""
        return self.end - self.start


class GroupedCumSums:
    """Running sums of values, grouped by key, in the order of rows.

    Parameters
    ----------
    keys : ndarray of unsigned int, shape (occurrences,)
        A key may occur in many rows; the key 0 stands for "unknown" and never has a past.
    rows : ndarray of int, shape (occurrences,)
        The row of each occurrence, ascending. Rows are numbered in time order.
    values : ndarray of float32, shape (rows, columns)
        What is summed. Whole and half numbers are summed exactly up to 2**23.
    """

    def __init__(self, keys: NDArray[np.unsignedinteger], rows: Ints, values: Floats) -> None:
        known = keys != 0
        keys, rows = keys[known], rows[known]
        order = np.argsort(keys, kind="stable")
        self._span = len(values) + 1
        self._rows = rows[order]
        self._keys, ranks = _ranked(keys[order])
        self._codes = ranks * self._span + self._rows
        self._sums = np.zeros((len(order) + 1, values.shape[1]), np.float32)
        np.cumsum(values[self._rows], axis=0, out=self._sums[1:])

    def before(self, keys: NDArray[np.unsignedinteger], past_counts: Ints, reach: int = 0) -> Ranges:
        """The occurrences of each key in rows before its moment (and, with a reach, not older than that)."""
        rank = np.searchsorted(self._keys, keys)
        inside = np.minimum(rank, max(len(self._keys) - 1, 0))
        known = (keys != 0) & (self._keys[inside] == keys) if len(self._keys) else np.zeros(len(keys), bool)
        oldest = np.maximum(past_counts - reach, 0) if reach else np.zeros(len(past_counts), np.int64)
        start = np.searchsorted(self._codes, rank * self._span + oldest)
        end = np.searchsorted(self._codes, rank * self._span + past_counts)
        return Ranges(np.where(known, start, 0), np.where(known, np.maximum(start, end), 0))

    def sums(self, runs: Ranges, newest: int = 0) -> Floats:
        """Sums over the runs (or over their ``newest`` occurrences), shape (questions, columns)."""
        start = np.maximum(runs.start, runs.end - newest) if newest else runs.start
        found: Floats = self._sums[runs.end] - self._sums[start]
        return found

    def last_rows(self, runs: Ranges) -> Ints:
        """The newest row of each run; -1 where the run is empty."""
        if not len(self._rows):
            return np.full(len(runs.end), -1, np.int64)
        last = self._rows[np.maximum(runs.end - 1, 0)]
        return np.where(runs.counts > 0, last, -1)


def _ranked(ordered: NDArray[np.unsignedinteger]) -> tuple[NDArray[np.unsignedinteger], Ints]:
    """The distinct keys of an ordered array, and for each element the rank of its key."""
    fresh = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.zeros(0, bool)
    return ordered[fresh], np.cumsum(fresh) - 1
