"""The linear regression behind a drift model: its features, its fit and its recursive forecast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prediction.sensors.readings.series import Array
from storage.sensors.baseline import MAX_DRIFT_PERCENT, Baseline


def compute_drift(baseline: Baseline, values: Array) -> Array:
    """Return the distance from the baseline in per cent, shape as ``values``."""
    percent = (values - baseline.value) / baseline.scale * 100.0
    return np.clip(percent, -MAX_DRIFT_PERCENT, MAX_DRIFT_PERCENT)


def choose_window(readings: int) -> int:
    """Return the readings in the rolling statistics: five, fewer where there are under twenty."""
    return max(1, min(5, readings // 4))


def build_features(drift: Array, hours: Array, window: int) -> tuple[Array, Array]:
    """Return features and targets of one sensor.

    Parameters
    ----------
    drift : float64, shape (n,)
    hours : float64, shape (n,)
        Hours since the first reading.
    window : int

    Returns
    -------
    rows : float64, shape (n - window, 4)
        Previous value, rolling mean, rolling standard deviation, hours since the start.
    targets : float64, shape (n - window,)
        The drift value that follows.
    """
    return _stack_features(sliding_window_view(drift, window)[:-1], hours[window - 1 : -1]), drift[window:]


def _stack_features(windows: Array, hours: Array) -> Array:
    """Return the features of windows of drift values, oldest first, that end at these hours."""
    return np.stack([windows[:, -1], windows.mean(axis=1), windows.std(axis=1), hours], axis=1)


@dataclass(frozen=True)
class LinearRegression:
    """A linear regression with intercept.

    Parameters
    ----------
    weights : float64, shape (features,)
    intercept : float
    """

    weights: Array
    intercept: float

    @classmethod
    def fit(cls, rows: Array, targets: Array) -> LinearRegression:
        """Fit ordinary least squares; the shortest solution where columns depend on each other.

        NumPy's solver gives scikit-learn's weights without its import.

        Parameters
        ----------
        rows : float64, shape (n, features)
        targets : float64, shape (n,)
        """
        mean = rows.mean(axis=0)
        centred = rows - mean
        # Scaled columns make the cut-off below independent of units; a constant column gets a weight of zero.
        norm = np.sqrt((centred**2).sum(axis=0))
        is_constant = norm <= 1e-12 * (1.0 + np.abs(mean))
        scale = np.where(is_constant, 1.0, norm)
        scaled = np.where(is_constant, 0.0, centred / scale)
        solution = np.linalg.lstsq(scaled, targets - targets.mean(), rcond=1e-6)[0]
        weights = solution / scale
        return cls(weights, float(targets.mean() - mean @ weights))

    def predict(self, rows: Array) -> Array:
        """Return one target per row, shape (n,)."""
        # Not ``rows @ weights``: BLAS rounds differently for one row and for many, but a forecast must not depend
        # on how many are asked for together.
        targets: Array = np.einsum("nf,f->n", rows, self.weights) + self.intercept
        return targets

    def forecast(self, recent: Array, start_hours: Array, step_hours: float, steps: int) -> Array:
        """Forecast many starts at once, each step fed with the one before.

        Parameters
        ----------
        recent : float64, shape (starts, window)
            The last drift values before each start, oldest first.
        start_hours : float64, shape (starts,)
            Hours since the first reading at the last of them.
        step_hours : float
        steps : int

        Returns
        -------
        float64, shape (starts, steps)
        """
        window, path = recent, np.empty((len(recent), steps))
        for step in range(steps):
            rows = _stack_features(window, start_hours + step * step_hours)
            # Weights that make the drift grow would overflow after many steps.
            path[:, step] = np.clip(self.predict(rows), -MAX_DRIFT_PERCENT, MAX_DRIFT_PERCENT)
            window = np.concatenate([window[:, 1:], path[:, step : step + 1]], axis=1)
        return path
