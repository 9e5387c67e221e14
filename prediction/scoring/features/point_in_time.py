"""Sum values over the past of any key at any moment, for many keys and moments at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ranges:
    """For each query, the range ``[start, end)`` of a key's occurrences that lies in its past."""

    start: Ints
    end: Ints

    @property
    def counts(self) -> Ints:
        """Occurrences in each range."""
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
        valid = keys != 0
        keys, rows = keys[valid], rows[valid]
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        is_first = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.zeros(0, bool)
        self._keys = ordered[is_first]
        self._rows = rows[order]
        # One sorted code of key and row: a past is then found by two binary searches.
        self._span = len(values) + 1
        self._codes = (np.cumsum(is_first) - 1) * self._span + self._rows
        self._sums = np.zeros((len(order) + 1, values.shape[1]), np.float32)
        np.cumsum(values[self._rows], axis=0, out=self._sums[1:])

    def ranges_before(self, keys: NDArray[np.unsignedinteger], past_counts: Ints, reach: int = 0) -> Ranges:
        """Return the occurrences of each key in rows before ``past_counts``, not older than ``reach`` rows."""
        rank = np.searchsorted(self._keys, keys)
        inside = np.minimum(rank, max(len(self._keys) - 1, 0))
        has_past = (
            (keys != 0) & (self._keys[inside] == keys) if len(self._keys) else np.zeros(len(keys), bool)
        )
        oldest = np.maximum(past_counts - reach, 0) if reach else np.zeros(len(past_counts), np.int64)
        start = np.searchsorted(self._codes, rank * self._span + oldest)
        end = np.searchsorted(self._codes, rank * self._span + past_counts)
        return Ranges(np.where(has_past, start, 0), np.where(has_past, np.maximum(start, end), 0))

    def sums(self, ranges: Ranges, newest: int = 0) -> Floats:
        """Return sums over the ranges (or over their ``newest`` occurrences), shape (queries, columns)."""
        start = np.maximum(ranges.start, ranges.end - newest) if newest else ranges.start
        sums: Floats = self._sums[ranges.end] - self._sums[start]
        return sums

    def last_rows(self, ranges: Ranges) -> Ints:
        """Return the newest row of each range; -1 where the range is empty."""
        if not len(self._rows):
            return np.full(len(ranges.end), -1, np.int64)
        last = self._rows[np.maximum(ranges.end - 1, 0)]
        return np.where(ranges.counts > 0, last, -1)
