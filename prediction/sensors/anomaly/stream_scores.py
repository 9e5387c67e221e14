"""A stream of readings judged by its own recent past: distances to neighbours, lagging behind and sliding on.

Each window of readings is compared with the windows of a training period that ended one period ago: the sum
of the squared Mahalanobis distances to its nearest neighbours. How odd that is, the windows of the period in
between tell, each compared in its own time in the same way: the share of them that were less odd. Both
periods slide along, so what lasts becomes usual.

References
----------
Burnaev, Ishimtsev, "Conformalized density- and distance-based anomaly detection in time-series data",
arXiv:1608.04585, 2016 (KNN-CAD, with the lazy drifting conformal detector); its published settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_PERIOD, WINDOW, NEIGHBOURS = 750, 19, 27
SUPPRESSED_PERIOD_DIVISOR = 5
"""After an alarm the stream is quiet for a fifth of a period."""
SUPPRESSED_SCORE = 0.5
"""The score of what would have been an alarm in that time."""
_SAME = 1e-12
"""Of the squared lengths, the distance that is only rounding."""


@dataclass(frozen=True)
class StreamSettings:
    """How far a stream looks back.

    Parameters
    ----------
    period : int
        Readings that teach, and as many again that compare.
    window : int
        Readings that are looked at together.
    neighbours : int
    """

    period: int
    window: int
    neighbours: int

    @property
    def taught(self) -> int:
        """Windows of one period."""
        return self.period - self.window + 1

    @property
    def reach(self) -> int:
        """Earlier readings that a score depends on."""
        return 3 * self.period + self.window - 1


def choose_settings(count: int) -> StreamSettings:
    """The published shape; a smaller one where fewer readings are known, ten at least."""
    period = min(MAX_PERIOD, count)
    return StreamSettings(period, min(WINDOW, max(2, period // 8)), min(NEIGHBOURS, max(1, period // 6)))


def shares(series: Array, shape: StreamSettings, asked: Array | None = None) -> Array:
    """The share of the comparison that is less odd, for every reading behind the first period.

    Parameters
    ----------
    series : float64, shape (n,)
        Readings in order of time, more than a period of them.
    shape : Shape
    asked : float64, shape (m,), optional
        What the last m readings might have been, each by itself.

    Returns
    -------
    float64, shape (n - period,)
        In [0, 1].
    """
    windows = sliding_window_view(series, shape.window)
    known, rows = _known(windows, shape)
    real = known[shape.taught :]
    if asked is None:
        return _ranked(known, real, shape)
    other = windows[rows[-len(asked) :] - shape.window + 1].copy()
    other[:, -1] = asked
    changed = real.copy()
    changed[-len(asked) :] = _oddness(windows, other, rows[-len(asked) :], shape)
    return _ranked(known, changed, shape)


@dataclass(frozen=True)
class StreamState:
    """What the next reading behind a series is compared with.

    Parameters
    ----------
    metric, taught : float64, shape (taught, window)
    known : float64, shape (taught,)
        Ascending scores of the comparison.
    neighbours : int
    """

    metric: Array
    taught: Array
    known: Array
    neighbours: int

    def shares(self, asked: Array) -> Array:
        """The share of the comparison that is less odd than each asked window, shape (m,)."""
        squares = _squares(_whitened(self.metric, asked), _whitened(self.metric, self.taught))
        return np.searchsorted(self.known, _nearest(squares, self.neighbours)) / len(self.known)


def build_state(series: Array, shape: StreamSettings) -> StreamState:
    """The end of a series of a period and more."""
    windows = sliding_window_view(series, shape.window)
    known, _ = _known(windows, shape)
    lag, metric = _taught(len(series), shape)
    taught = windows[lag : lag + shape.taught].copy()
    return StreamState(
        windows[metric : metric + shape.taught].copy(), taught, np.sort(known), shape.neighbours
    )


def suppress_repeats(shares: Array, threshold: float, period: int) -> tuple[Array, Array]:
    """The shares with every alarm followed by quiet, and which readings lie in such a time."""
    quiet, left = np.zeros(len(shares), dtype=bool), 0
    for at in range(len(shares)):
        if left > 0:
            quiet[at], left = True, left - 1
        elif shares[at] > threshold:
            left = period // SUPPRESSED_PERIOD_DIVISOR
    return np.where(quiet, np.minimum(shares, SUPPRESSED_SCORE), shares), quiet


def _known(windows: Array, shape: StreamSettings) -> tuple[Array, Array]:
    """Scores of the first period's windows among themselves and of all behind, and the rows of the latter."""
    rows = np.arange(shape.period, len(windows) + shape.window - 1)
    first = _leave_one_out(_whitened(windows[: shape.taught], windows[: shape.taught]), shape.neighbours)
    return np.concatenate([first, _oddness(windows, windows[rows - shape.window + 1], rows, shape)]), rows


def _taught(row: int, shape: StreamSettings) -> tuple[int, int]:
    """Where the windows begin that a row is compared with, and those that its metric comes from."""
    half = max(1, shape.period // 2)
    return max(0, row - 2 * shape.period), max(0, row // half * half - 2 * shape.period)


def _ranked(known: Array, found: Array, shape: StreamSettings) -> Array:
    """The share of the ``taught`` scores before each that are lower."""
    before = sliding_window_view(known, shape.taught)[: len(found)]
    lower = [(before[at : at + 512] < found[at : at + 512, None]).mean(axis=1) for at in _blocks(found)]
    return np.concatenate([*lower, np.empty(0)])


def _blocks(rows: Array) -> range:
    return range(0, len(rows), 512)


def _oddness(windows: Array, asked: Array, rows: Array, shape: StreamSettings) -> Array:
    """Summed distance of each asked window to its nearest neighbours among those taught a period before.

    ``rows`` are the positions of the windows' last readings, one after the other; the metric is that of the
    windows taught at the start of each half period.
    """
    half = max(1, shape.period // 2)
    found = np.empty(len(rows))
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows // half)) + 1):
        if not len(part):
            continue
        _, start = _taught(int(rows[part[0]]), shape)
        metric = windows[start : start + shape.taught]
        found[part] = _summed(windows, asked[part], rows[part], shape, metric)
    return found


def _summed(windows: Array, asked: Array, rows: Array, shape: StreamSettings, metric: Array) -> Array:
    lag = np.maximum(0, rows - 2 * shape.period)
    taught = _whitened(metric, windows[lag[0] : lag[-1] + shape.taught])
    squares = _squares(_whitened(metric, asked), taught)
    band = squares[np.arange(len(rows))[:, None], (lag - lag[0])[:, None] + np.arange(shape.taught)]
    return _nearest(band, shape.neighbours)


def _leave_one_out(windows: Array, neighbours: int) -> Array:
    squares = _squares(windows, windows)
    np.fill_diagonal(squares, np.inf)
    return _nearest(squares, min(neighbours, len(windows) - 1))


def _squares(asked: Array, known: Array) -> Array:
    lengths = (asked**2).sum(axis=1)[:, None] + (known**2).sum(axis=1)
    squares = lengths - 2 * asked @ known.T
    return np.where(squares > _SAME * lengths, squares, 0.0)


def _nearest(squares: Array, neighbours: int) -> Array:
    count = min(neighbours, squares.shape[1] - 1)
    summed: Array = np.partition(squares, count, axis=1)[:, :count].sum(axis=1)
    return summed


def _whitened(metric: Array, windows: Array) -> Array:
    """Windows in coordinates in which the metric's windows have the second moment one."""
    values, vectors = np.linalg.eigh(metric.T @ metric)
    least = max(float(values[-1]) * 1e-13, 1e-300)
    whitened: Array = windows @ (vectors / np.sqrt(np.maximum(values, least)))
    return whitened
