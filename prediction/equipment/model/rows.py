"""Rows of an asset as detectors see them: z-scores in order of time, with the places where time breaks off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A row this many usual intervals after the one before it does not follow it.
GAP_INTERVALS: Final = 12
# Rows before the first that a score may depend on; of the longest moving average 0.2 per cent reach further back.
CONTEXT_ROWS: Final = 100
_BLOCK_ROWS: Final = 256


@dataclass(frozen=True)
class NormalisedRows:
    """Rows while the asset runs.

    Parameters
    ----------
    times : int64, shape (n,)
        Microseconds since 1970.
    values : float64, shape (n, channels)
        Deviations from what is usual in the row's operating condition.
    starts : bool, shape (n,)
        Whether a row does not follow the one before it: after a gap, off time or rows that were left out.
    condition : int64, shape (n,)
        Number of the operating condition.
    """

    times: NDArray[np.int64]
    values: Floats
    starts: Mask
    condition: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times)

    def select(self, positions: NDArray[np.int64]) -> NormalisedRows:
        """Return the rows at ascending positions; one that has lost the row before it starts anew."""
        starts = self.starts[positions] | np.append(True, np.diff(positions) != 1)[: len(positions)]
        return NormalisedRows(
            self.times[positions], self.values[positions], starts, self.condition[positions]
        )


def find_starts(times: NDArray[np.int64], interval: float) -> Mask:
    """Return which rows do not follow the one before them, by the usual interval in microseconds."""
    return np.append(True, np.diff(times) > GAP_INTERVALS * interval)[: len(times)]


def estimate_interval(times: NDArray[np.int64]) -> float:
    """Return the median step between rows in microseconds; an hour where there is none."""
    steps = np.diff(times)
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 3.6e9


def stack_past(values: Floats, starts: Mask, lags: int) -> Floats:
    """Return the rows before each row side by side, shape (n, lags * channels).

    Before the start of a stretch its first row is repeated.
    """
    rows = np.arange(len(values))
    first = np.maximum.accumulate(np.where(starts, rows, 0))
    return np.hstack([values[np.maximum(rows - lag, first)] for lag in range(1, lags + 1)])


def smooth(values: Floats, starts: Mask, span: int) -> Floats:
    """Return exponentially weighted means over ``span`` rows, from zero at each start; shape as ``values``.

    Blocks of rows are multiplied by a triangular matrix of weights: a loop over rows takes forty times as long.
    """
    if span == 1:
        return values
    weight = 2.0 / (span + 1.0)
    lags = np.arange(_BLOCK_ROWS)[:, None] - np.arange(_BLOCK_ROWS)[None, :]
    kernel = np.where(lags >= 0, weight * (1.0 - weight) ** np.maximum(lags, 0), 0.0)
    decay = (1.0 - weight) ** np.arange(1, _BLOCK_ROWS + 1)
    smoothed = np.empty_like(values)
    edges = np.append(np.flatnonzero(starts), len(values))
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        state = np.zeros(values.shape[1])
        for first in range(start, end, _BLOCK_ROWS):
            block = values[first : min(first + _BLOCK_ROWS, end)]
            count = len(block)
            smoothed[first : first + count] = kernel[:count, :count] @ block + decay[:count, None] * state
            state = smoothed[first + count - 1]
    return smoothed
