"""Score the readings of a stream by their distance to earlier ones (KNN-CAD).

Each window of readings is compared with the windows of a training period that ended one period ago: its
nonconformity is the sum of the squared Mahalanobis distances to its nearest neighbours. The score is the share of
the windows of the period in between, each compared in its own time in the same way, that had a lower
nonconformity. Both periods slide along, so a lasting change becomes usual.

Own numerics, because scikit-learn has no neighbour search whose training set and metric slide along a stream.

References
----------
Burnaev, Ishimtsev, "Conformalized density- and distance-based anomaly detection in time-series data",
arXiv:1608.04585, 2016 (KNN-CAD, with the lazy drifting conformal detector); its published settings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prediction.sensors.readings.series import Array

MAX_PERIOD, WINDOW, NEIGHBOURS = 750, 19, 27
# After an alarm, further ones are suppressed for a fifth of a period.
SUPPRESSED_PERIOD_DIVISOR = 5
SUPPRESSED_SCORE = 0.5
# Squared distances below this share of the squared lengths are rounding errors.
_MIN_RELATIVE_SQUARE = 1e-12
# Readings that are ranked together, which bounds the memory for the comparison.
_ROWS_PER_BLOCK = 512


@dataclass(frozen=True)
class StreamSettings:
    """How far a stream looks back.

    Parameters
    ----------
    period : int
        Readings of the training period, and of the comparison period.
    window : int
        Readings that are compared together.
    neighbours : int
    """

    period: int
    window: int
    neighbours: int

    @classmethod
    def for_count(cls, count: int) -> StreamSettings:
        """Return the published settings, or smaller ones where fewer readings are known (ten at least)."""
        period = min(MAX_PERIOD, count)
        return cls(period, min(WINDOW, max(2, period // 8)), min(NEIGHBOURS, max(1, period // 6)))

    @property
    def windows_per_period(self) -> int:
        """Return the number of windows in one period."""
        return self.period - self.window + 1

    @property
    def context_length(self) -> int:
        """Return how many earlier readings a score depends on."""
        return 3 * self.period + self.window - 1

    def training_start(self, row: int) -> int:
        """Return the first of the windows that the window ending at ``row`` is compared with."""
        return max(0, row - 2 * self.period)

    def metric_start(self, row: int) -> int:
        """Return the first of the windows that define the metric; it changes every half period."""
        half = max(1, self.period // 2)
        return max(0, row // half * half - 2 * self.period)


def compute_scores(series: Array, settings: StreamSettings, replacements: Array | None = None) -> Array:
    """Return the score of every reading after the first period.

    Parameters
    ----------
    series : float64, shape (n,)
        Readings in order of time, more than a period of them.
    settings : StreamSettings
    replacements : float64, shape (m,), optional
        Values to score in place of the last m readings, each by itself.

    Returns
    -------
    float64, shape (n - period,)
        In [0, 1].
    """
    windows = sliding_window_view(series, settings.window)
    nonconformity, rows = _compute_nonconformity(windows, settings)
    latest = nonconformity[settings.windows_per_period :]
    if replacements is not None:
        rows = rows[-len(replacements) :]
        changed = windows[rows - settings.window + 1].copy()
        changed[:, -1] = replacements
        latest = latest.copy()
        latest[-len(replacements) :] = _sum_distances(windows, changed, rows, settings)
    # Each reading is ranked among the period before it, in blocks that bound the memory.
    before = sliding_window_view(nonconformity, settings.windows_per_period)[: len(latest)]
    shares = [
        (before[start : start + _ROWS_PER_BLOCK] < latest[start : start + _ROWS_PER_BLOCK, None]).mean(axis=1)
        for start in range(0, len(latest), _ROWS_PER_BLOCK)
    ]
    return np.concatenate([*shares, np.empty(0)])


@dataclass(frozen=True)
class StreamState:
    """What the next reading after a series is compared with.

    Parameters
    ----------
    metric_windows, training_windows : float64, shape (windows_per_period, window)
    nonconformity : float64, shape (windows_per_period,)
        That of the comparison period and of the readings after it, ascending.
    neighbours : int
    """

    metric_windows: Array
    training_windows: Array
    nonconformity: Array
    neighbours: int

    @classmethod
    def after(cls, series: Array, settings: StreamSettings) -> StreamState:
        """Return the state after a series of a period and more."""
        windows = sliding_window_view(series, settings.window)
        nonconformity, _ = _compute_nonconformity(windows, settings)
        metric, training = settings.metric_start(len(series)), settings.training_start(len(series))
        count = settings.windows_per_period
        return cls(
            windows[metric : metric + count].copy(),
            windows[training : training + count].copy(),
            np.sort(nonconformity),
            settings.neighbours,
        )

    def score(self, windows: Array) -> Array:
        """Return the score of each window, shape (m,)."""
        squares = _squared_distances(
            _whiten(self.metric_windows, windows), _whiten(self.metric_windows, self.training_windows)
        )
        rank = np.searchsorted(self.nonconformity, _sum_nearest(squares, self.neighbours))
        return rank / len(self.nonconformity)


def suppress_repeats(scores: Array, threshold: float, period: int) -> tuple[Array, Array]:
    """Suppress the alarms that follow another one within a fifth of a period.

    Returns
    -------
    scores : float64, shape (n,)
        At most ``SUPPRESSED_SCORE`` while suppressed.
    is_quiet : bool, shape (n,)
        Which readings lie in such a time.
    """
    is_quiet, left = np.zeros(len(scores), dtype=bool), 0
    for row, score in enumerate(scores.tolist()):
        if left > 0:
            is_quiet[row], left = True, left - 1
        elif score > threshold:
            left = period // SUPPRESSED_PERIOD_DIVISOR
    return np.where(is_quiet, np.minimum(scores, SUPPRESSED_SCORE), scores), is_quiet


def _compute_nonconformity(windows: Array, settings: StreamSettings) -> tuple[Array, Array]:
    """Return the nonconformity of all windows, and the rows of those after the first period.

    The windows of the first period have no period before them: they are compared with each other, each left out
    of its own neighbours.
    """
    rows = np.arange(settings.period, len(windows) + settings.window - 1)
    first = windows[: settings.windows_per_period]
    whitened = _whiten(first, first)
    squares = _squared_distances(whitened, whitened)
    np.fill_diagonal(squares, np.inf)
    among_first = _sum_nearest(squares, min(settings.neighbours, len(first) - 1))
    later = _sum_distances(windows, windows[rows - settings.window + 1], rows, settings)
    return np.concatenate([among_first, later]), rows


def _sum_distances(windows: Array, compared: Array, rows: Array, settings: StreamSettings) -> Array:
    """Return the summed distance of each compared window to its nearest neighbours in its training period.

    Parameters
    ----------
    windows : float64, shape (n, window)
        All windows of the series.
    compared : float64, shape (m, window)
    rows : int, shape (m,)
        Consecutive positions of the last reading of each compared window.
    """
    half = max(1, settings.period // 2)
    sums = np.empty(len(rows))
    # Rows of the same half period share a metric, so one product of matrices compares them all.
    for part in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows // half)) + 1):
        if not len(part):
            continue
        start = settings.metric_start(int(rows[part[0]]))
        metric_windows = windows[start : start + settings.windows_per_period]
        first = np.maximum(0, rows[part] - 2 * settings.period)
        training = windows[first[0] : first[-1] + settings.windows_per_period]
        squares = _squared_distances(
            _whiten(metric_windows, compared[part]), _whiten(metric_windows, training)
        )
        # Each row has its own training windows: a band of the matrix that moves one step per row.
        columns = (first - first[0])[:, None] + np.arange(settings.windows_per_period)
        band = squares[np.arange(len(part))[:, None], columns]
        sums[part] = _sum_nearest(band, settings.neighbours)
    return sums


def _squared_distances(left: Array, right: Array) -> Array:
    lengths = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    squares = lengths - 2 * left @ right.T
    return np.where(squares > _MIN_RELATIVE_SQUARE * lengths, squares, 0.0)


def _sum_nearest(squares: Array, neighbours: int) -> Array:
    count = min(neighbours, squares.shape[1] - 1)
    sums: Array = np.partition(squares, count, axis=1)[:, :count].sum(axis=1)
    return sums


def _whiten(metric_windows: Array, windows: Array) -> Array:
    """Return windows in coordinates in which the metric's windows have a second moment of one."""
    values, vectors = np.linalg.eigh(metric_windows.T @ metric_windows)
    # Equal readings make the matrix singular; the floor keeps the directions without variance finite.
    floor = max(float(values[-1]) * 1e-13, 1e-300)
    whitened: Array = windows @ (vectors / np.sqrt(np.maximum(values, floor)))
    return whitened
