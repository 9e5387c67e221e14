"""The statistics of the composite detector, computed for whole series at once.

Slow changes are found by means over sliding windows (MOSUM: Chu, Hornik, Kuan, 1995), which depend on a bounded
number of earlier readings, as EWMA and CUSUM do not: a detector can start anywhere in a series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from prediction.sensors.anomaly.composite.season import Season, fit_season
from prediction.sensors.anomaly.equal_runs import count_equal_readings
from prediction.sensors.readings.series import DAY, Array, estimate_centre_and_scale, hour_of_day

# In the order of the rows of :meth:`PartsModel.compute`.
PARTS = ("innovation", "level", "shift", "noise", "stuck")
INNOVATION, LEVEL, SHIFT, NOISE, STUCK = range(len(PARTS))
_ORDER = 3
_FAST = 6
_MAX_SLOW = 288
_NOISE_WINDOWS = (12, 36)
# A single jump must not look like noise.
_MAX_INNOVATION = 3.0
# Length of the time that a shift is compared with, in slow windows.
_REFERENCE = 3
_MAX_GAP = 3.5
# The type of an anomaly depends on the innovations of so many readings before it.
HISTORY = 36
# How far the deviation of innovations follows that of the days before.
_MIN_RESTLESSNESS, _MAX_RESTLESSNESS = 0.6, 1.8
# Hourly scales are estimated from this many readings, and never fall below half of the overall one.
_MIN_PER_HOUR = 20


@dataclass(frozen=True)
class PartsModel:
    """What a healthy sensor does.

    Parameters
    ----------
    season : Season
    weights : float64, shape (4,)
        Intercept of the autoregression, then the weights of the last three residuals, latest first.
    innovation_scale, level_scale : float64, shape (24,)
        Robust deviation of innovations and of residuals at each hour of the day.
    interval_s : float
    windows : tuple of int
        Readings of the sliding means.
    units : float64, shape (windows + 2,)
        99 % quantiles of the sliding means and of the shift (last two), which make them comparable.
    noise_units : float64, shape (2, 2)
        Median and 99 % quantile of each noise window.
    usual_innovation : float or None
        Mean size of the bounded innovations; None in models of earlier versions, whose deviation of innovations does
        not follow the days before.
    """

    season: Season
    weights: Array
    innovation_scale: Array
    level_scale: Array
    interval_s: float
    windows: tuple[int, ...]
    units: Array
    noise_units: Array
    usual_innovation: float | None = None

    @property
    def context_length(self) -> int:
        """Return how many earlier readings the statistics depend on."""
        return (1 + _REFERENCE) * self.windows[-1] + HISTORY + _ORDER

    def predict(self, residuals: Array, times: Array) -> Array:
        """Return the residual that is expected at each position; the first ones and those after gaps have 0."""
        expected = np.zeros(len(residuals))
        if len(residuals) <= _ORDER:
            return expected
        lagged = sum(
            self.weights[lag] * residuals[_ORDER - lag : len(residuals) - lag] for lag in range(1, _ORDER + 1)
        )
        expected[_ORDER:] = self.weights[0] + lagged
        expected[~self._has_past(times)] = 0.0
        return expected

    def _has_past(self, times: Array) -> Array:
        """Return which readings follow on ``_ORDER`` others without a gap."""
        regular = np.diff(times, prepend=-np.inf) <= _MAX_GAP * self.interval_s
        has_past = np.zeros(len(times), dtype=bool)
        if len(times) > _ORDER:
            joined = regular[_ORDER:].copy()
            for lag in range(1, _ORDER):
                joined &= regular[_ORDER - lag : -lag]
            has_past[_ORDER:] = joined
        return has_past

    def compute(self, values: Array, stream: Array, times: Array) -> tuple[Array, Array, Array]:
        """Return the statistics of the last readings of a stream.

        Parameters
        ----------
        values : float64, shape (n,)
            Readings in place of the last n of the stream, each by itself.
        stream, times : float64, shape (k + n,)
            The readings that the sensor showed.

        Returns
        -------
        parts : float64, shape (5, n)
            Zero where there are too few earlier readings.
        expected, scale : float64, shape (n,)
            The value that the autoregression expects and the deviation around it.
        """
        lead = len(stream) - len(values)
        usual = self.season.at(times)
        hour = hour_of_day(times).astype(np.int64)
        residuals = stream - usual
        changed = residuals.copy()
        changed[lead:] = values - usual[lead:]
        predicted, has_past = self.predict(residuals, times), self._has_past(times)
        scale = np.where(has_past, self.innovation_scale[hour], self.level_scale[hour])
        innovations = (residuals - predicted) / scale
        restlessness = self._measure_restlessness(innovations)
        scale *= restlessness
        new = (changed - predicted)[lead:] / scale[lead:]
        level, new_level = residuals / self.level_scale[hour], changed / self.level_scale[hour]
        parts = np.zeros((len(PARTS), len(values)))
        parts[INNOVATION] = np.abs(new)
        parts[LEVEL], parts[SHIFT] = self._compute_levels(level, new_level, lead)
        before = np.concatenate([innovations[:1], innovations])[:-1]
        clipped = _measure_roughness(innovations, before)
        difference = _measure_roughness(new * restlessness[lead:], before[lead:]) - clipped[lead:]
        for window, (middle, unit) in zip(_NOISE_WINDOWS, self.noise_units, strict=True):
            mean = sliding_mean(clipped, window)[lead:] + difference / window
            parts[NOISE] = np.fmax(parts[NOISE], (mean - middle) / unit)
        parts[STUCK] = count_equal_readings(values, stream)
        return parts, usual[lead:] + predicted[lead:], scale[lead:]

    def _measure_restlessness(self, innovations: Array) -> Array:
        """Return how much larger the innovations before each one were than at the training."""
        if self.usual_innovation is None:
            return np.ones(len(innovations))
        size = np.minimum(np.abs(innovations), _MAX_INNOVATION)
        window = _REFERENCE * self.windows[-1]
        mean = np.concatenate([[np.nan], sliding_mean(size, window)[:-1]])
        restlessness: Array = np.clip(
            np.nan_to_num(mean / self.usual_innovation, nan=1.0), _MIN_RESTLESSNESS, _MAX_RESTLESSNESS
        )
        return restlessness

    def find_persistent(self, stream: Array, times: Array) -> Array:
        """Return where the last six readings all lie on one side of the usual value, a deviation away or more."""
        hour = hour_of_day(times).astype(np.int64)
        level = (stream - self.season.at(times)) / self.level_scale[hour]
        above, below = sliding_mean(level > 1.0, _FAST), sliding_mean(level < -1.0, _FAST)
        is_persistent: Array = np.fmax(above, below) > 1.0 - 0.5 / _FAST
        return is_persistent

    def _compute_levels(self, level: Array, changed: Array, lead: int) -> tuple[Array, Array]:
        """Return the largest sliding mean, and its largest change against the time before, in their units."""
        difference = changed[lead:] - level[lead:]
        largest = np.zeros(len(difference))
        for window, unit in zip(self.windows, self.units, strict=False):
            mean = sliding_mean(level, window)[lead:] + difference / window
            largest = np.fmax(largest, np.abs(mean) / unit)
        shift = np.zeros(len(difference))
        slow = self.windows[-1]
        for window, unit in zip((_FAST, slow), self.units[-2:], strict=True):
            change = compute_change(level, window, slow)[lead:] + difference / window
            shift = np.fmax(shift, np.abs(change) / unit)
        return largest, shift


def _measure_roughness(innovations: Array, before: Array) -> Array:
    """Return the bounded change from one innovation to the next, in which a lasting shift shows only once."""
    roughness: Array = np.minimum(np.abs(innovations - before) / np.sqrt(2.0), _MAX_INNOVATION)
    return roughness


def sliding_mean(values: Array, window: int) -> Array:
    """Return the mean of the last ``window`` values at each position; NaN where there are fewer."""
    means = np.full(len(values), np.nan)
    if len(values) >= window:
        sums = np.cumsum(np.concatenate([[0.0], values]))
        means[window - 1 :] = (sums[window:] - sums[:-window]) / window
    return means


def compute_change(level: Array, window: int, slow: int) -> Array:
    """Return the sliding mean less that of the three slow windows before it; NaN where there is no such time."""
    reference = np.full(len(level), np.nan)
    if len(level) > window:
        reference[window:] = sliding_mean(level, _REFERENCE * slow)[:-window]
    change: Array = sliding_mean(level, window) - reference
    return change


def fit_parts(values: Array, times: Array, interval_s: float) -> PartsModel:
    """Learn season, autoregression and scales from readings in order of time."""
    season = fit_season(values, times)
    residuals = values - season.at(times)
    hour = hour_of_day(times).astype(np.int64)
    _, scale = estimate_centre_and_scale(residuals)
    weights = _fit_autoregression(residuals, scale)
    slow = int(np.clip(round(DAY / interval_s), 24, _MAX_SLOW))
    windows = (1, _FAST, 24, slow) if slow > 24 else (1, _FAST, 24)
    ones = np.ones(24)
    draft = PartsModel(
        season, weights, ones, ones, interval_s, windows, np.ones(len(windows) + 2), np.ones((2, 2))
    )
    innovations = residuals - draft.predict(residuals, times)
    innovation_scale = _fit_hourly_scale(innovations, hour, 1e-3 * scale)
    level_scale = _fit_hourly_scale(residuals, hour, 1e-6 * scale)
    level = residuals / level_scale[hour]
    means = [sliding_mean(level, window) for window in windows]
    means += [compute_change(level, window, windows[-1]) for window in (_FAST, windows[-1])]
    # A window that never fits into the readings has the unit of a single residual.
    units = np.array([_quantile(np.abs(mean), 1.0) for mean in means])
    scaled = innovations / innovation_scale[hour]
    clipped = _measure_roughness(scaled, np.concatenate([scaled[:1], scaled])[:-1])
    noise = [sliding_mean(clipped, window) for window in _NOISE_WINDOWS]
    middle = [float(np.nanmedian(mean)) if np.isfinite(mean).any() else 0.8 for mean in noise]
    noise_units = np.array([[m, _quantile(mean - m, 1.0)] for m, mean in zip(middle, noise, strict=True)])
    size = max(float(np.minimum(np.abs(scaled), _MAX_INNOVATION).mean()), 1e-3)
    return PartsModel(
        season, weights, innovation_scale, level_scale, interval_s, windows, units, noise_units, size
    )


def _quantile(values: Array, default: float) -> float:
    values = values[np.isfinite(values)]
    if len(values) < 2 * _NOISE_WINDOWS[0]:
        return default
    # Without interpolation, as NumPy's quantile takes a fifth of the time of a training.
    rank = int(0.99 * (len(values) - 1))
    return max(float(np.partition(values, rank)[rank]), 1e-3)


def _fit_hourly_scale(values: Array, hour: Array, floor: float) -> Array:
    """Return a robust deviation for each hour; that of all readings where an hour has few."""
    overall = max(estimate_centre_and_scale(values)[1], floor)
    scale = np.full(24, overall)
    count = np.bincount(hour, minlength=24)
    if count.min() < _MIN_PER_HOUR:
        return scale
    order = np.lexsort((np.abs(values), hour))
    first = np.cumsum(count) - count
    # Median absolute deviation of a normal distribution, in standard deviations.
    hourly = np.abs(values)[order][first + count // 2] / 0.6745
    smoothed = (np.roll(hourly, 1) + hourly + np.roll(hourly, -1)) / 3
    bounded: Array = np.maximum(smoothed, 0.5 * overall)
    return bounded


def _fit_autoregression(residuals: Array, scale: float) -> Array:
    """Return weights by least squares, fitted again without the readings that fit badly."""
    if len(residuals) < 10 * _ORDER:
        return np.zeros(1 + _ORDER)
    bounded = np.clip(residuals, -6 * scale, 6 * scale)
    lagged = [bounded[_ORDER - lag : len(bounded) - lag] for lag in range(1, _ORDER + 1)]
    rows, targets = np.stack([np.ones(len(lagged[0])), *lagged], axis=1), bounded[_ORDER:]
    weights = np.zeros(1 + _ORDER)
    fits = np.ones(len(targets), dtype=bool)
    for _ in range(2):
        gram = rows[fits].T @ rows[fits]
        ridge = 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
        weights = np.linalg.solve(gram + ridge, rows[fits].T @ targets[fits])
        errors = np.abs(targets - rows @ weights)
        fits = errors <= max(5 * float(np.median(errors)), 1e-12)
    return weights
