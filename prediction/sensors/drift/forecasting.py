"""Where a sensor drifts: per cent from its baseline, forecast step by step with a measured interval."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from prediction.contract import JSON, Scores
from prediction.figures import line
from prediction.sensors.drift.linear_regression import Lines, fit
from prediction.sensors.readings.series import HOUR, SensorSeries, estimate_interval_seconds
from storage.sensors.baseline import Baseline

Array = NDArray[Any]

MIN_READINGS = 20
FILE_NAME = "drift.json"
HORIZON = 24
"""Steps ahead that a backtest looks at, where the readings reach that far."""
_ORIGINS = 400
_DRAWN = 100
_FITTED = 0.6
_LARGEST = 1e12


def compute_drift(base: Baseline, values: Array) -> Array:
    """Per cent away from the baseline, shape as ``values``."""
    return np.clip((values - base.value) / base.scale * 100.0, -_LARGEST, _LARGEST)


@dataclass(frozen=True)
class DriftModel:
    """A linear regression on the last drift values, with the errors it made in a backtest.

    Parameters
    ----------
    weights : tuple of 4 floats
        For previous value, rolling mean, rolling standard deviation (per cent) and hours since the start.
    intercept : float
    window : int
        Drift values in the rolling statistics.
    start, interval_s : float
        Time of the first reading (seconds since 1970) and the usual step in seconds.
    baseline_value, baseline_scale : float
    half_width : tuple of float
        Half the width of the interval at 1, 2, … steps ahead, in per cent points.
    coverage : tuple of float
        Share of backtest forecasts inside it at each step, measured on later origins than set the width.
    facts : mapping
        The backtest's figures.
    """

    weights: tuple[float, ...]
    intercept: float
    window: int
    start: float
    interval_s: float
    baseline_value: float
    baseline_scale: float
    half_width: tuple[float, ...]
    coverage: tuple[float, ...]
    facts: JSON

    @property
    def lines(self) -> Lines:
        """The regression as a batch of one."""
        return Lines(np.array([self.weights]), np.array([self.intercept]))

    def drift(self, values: Array) -> Array:
        """Per cent away from the baseline."""
        return compute_drift(Baseline(self.baseline_value, self.baseline_scale), values)

    def forecast(self, values: Array, last_time: float, steps: int) -> list[JSON]:
        """The next drift values.

        Parameters
        ----------
        values : float, shape (k,)
            The latest raw values, oldest first, at least one.
        last_time : float
            Time of the last of them.
        steps : int

        Returns
        -------
        list of mapping
            ``step``, ``time`` (seconds since 1970), ``drift``, ``low``, ``high`` (per cent) and
            ``confidence``: the measured coverage, None beyond the backtested horizon.
        """
        return self.forecasts([values], np.array([last_time]), steps)[0]

    def forecasts(self, recent: Sequence[Array], last_times: Array, steps: int) -> list[list[JSON]]:
        """Forecasts from many starts at once, each as :meth:`forecast` makes it."""
        known = np.stack([_padded(self.drift(values), self.window) for values in recent])
        at = (last_times - self.start) / HOUR
        paths = roll_forward(self.lines, known, at, self.interval_s / HOUR, steps)
        return [
            [self._point(step, last_time, drift) for step, drift in enumerate(path, 1)]
            for path, last_time in zip(paths.tolist(), last_times.tolist(), strict=True)
        ]

    def _point(self, step: int, last_time: float, drift: float) -> JSON:
        room = self._room(step)
        return {
            "step": step,
            "time": last_time + step * self.interval_s,
            "drift": drift,
            "low": None if room is None else drift - room,
            "high": None if room is None else drift + room,
            "confidence": self.coverage[step - 1] if step <= len(self.coverage) else None,
        }

    def _room(self, step: int) -> float | None:
        """Half the interval; beyond the backtested horizon it grows with the root of the steps."""
        if not self.half_width:
            return None
        last = len(self.half_width)
        return self.half_width[min(step, last) - 1] * math.sqrt(max(1.0, step / last))

    def save(self, folder: Path) -> None:
        """Write ``drift.json``."""
        (folder / FILE_NAME).write_text(json.dumps({"format": 1, **asdict(self)}, indent=1), encoding="utf-8")


def load(folder: Path) -> DriftModel:
    """A drift model from its folder."""
    said = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    said.pop("format")
    for name in ("weights", "half_width", "coverage"):
        said[name] = tuple(said[name])
    return DriftModel(**said)


def choose_window(readings: int) -> int:
    """Readings in the rolling statistics: five, fewer where there are under twenty."""
    return max(1, min(5, readings // 4))


def build_features(drift: Array, times: Array, window: int) -> tuple[Array, Array]:
    """Rows and targets of one sensor.

    Parameters
    ----------
    drift : float64, shape (n,)
    times : float64, shape (n,)
        Hours since the first reading.
    window : int

    Returns
    -------
    rows : float64, shape (n - window, 4)
        Previous value, rolling mean, rolling standard deviation, hours since the start.
    targets : float64, shape (n - window,)
        The drift value that follows.
    """
    windows = sliding_window_view(drift, window)[:-1]
    previous = windows[:, -1]
    rows = np.stack([previous, windows.mean(axis=1), windows.std(axis=1), times[window - 1 : -1]], axis=1)
    return rows, drift[window:]


def roll_forward(lines: Lines, recent: Array, hours_at: Array, step_hours: float, steps: int) -> Array:
    """Forecast many starts at once, each step fed with the one before.

    Parameters
    ----------
    lines : Lines
        One model.
    recent : float64, shape (starts, window)
        The last drift values before each start, oldest first.
    hours_at : float64, shape (starts,)
        Hours since the first reading at the last of them.
    step_hours : float
    steps : int

    Returns
    -------
    float64, shape (starts, steps)
    """
    window, path = recent, np.empty((len(recent), steps))
    for step in range(steps):
        clock = hours_at + step * step_hours
        rows = np.stack([window[:, -1], window.mean(axis=1), window.std(axis=1), clock], axis=1)
        path[:, step] = np.clip(lines.predict(rows[None])[0], -_LARGEST, _LARGEST)
        window = np.concatenate([window[:, 1:], path[:, step : step + 1]], axis=1)
    return path


def train(series: SensorSeries, base: Baseline, coverage: float = 0.9) -> DriftModel:
    """A drift model of readings in order of time, backtested on its own later readings.

    The regression is fitted on the first 60 % and makes forecasts from origins in the rest: the earlier half
    of those sets the interval, the later half measures it. Then it is fitted again on everything.
    """
    window = choose_window(len(series))
    drift, clock = compute_drift(base, series.values), (series.times - series.times[0]) / HOUR
    interval = estimate_interval_seconds(series.times)
    half_width, covered, facts = _backtest(drift, clock, interval / HOUR, coverage)
    lines = _fitted(drift, clock, window)
    return DriftModel(
        tuple(lines.weights[0].tolist()),
        float(lines.intercepts[0]),
        window,
        float(series.times[0]),
        interval,
        base.value,
        base.scale,
        half_width,
        covered,
        facts,
    )


def _fitted(drift: Array, clock: Array, window: int) -> Lines:
    rows, targets = build_features(drift, clock, window)
    return fit(rows[None], targets[None])


def _backtest(
    drift: Array, clock: Array, step_hours: float, coverage: float
) -> tuple[tuple[float, ...], tuple[float, ...], JSON]:
    """Interval and its measured coverage by horizon, and the errors beside those of the last value."""
    cut, window = int(_FITTED * len(drift)), choose_window(len(drift))
    horizon = max(1, min(HORIZON, (len(drift) - cut) // 4))
    origins = _spaced(np.arange(cut, len(drift) - horizon + 1))
    recent = sliding_window_view(drift, window)[origins - window]
    truth = sliding_window_view(drift, horizon)[origins]
    lines = _fitted(drift[:cut], clock[:cut], window)
    path = roll_forward(lines, recent, clock[origins - 1], step_hours, horizon)
    error, naive = np.abs(path - truth), np.abs(recent[:, -1:] - truth)
    width, covered = _interval(error, origins, coverage)
    facts = {
        "asked_coverage": coverage,
        "measured_coverage": float(covered.mean()),
        "backtest_mae": float(error.mean()),
        "naive_mae": float(naive.mean()),
        "origins": len(origins),
        "horizon": horizon,
        "beats_naive": bool(error.mean() < naive.mean()),
    }
    return tuple(width.tolist()), tuple(covered.tolist()), facts


def _spaced(origins: Array) -> Array:
    """At most 400 of the origins, evenly spaced."""
    chosen: Array = origins[np.linspace(0, len(origins) - 1, min(_ORIGINS, len(origins))).round().astype(int)]
    return chosen


def _interval(error: Array, origins: Array, coverage: float) -> tuple[Array, Array]:
    """Half widths from the earlier origins, their coverage on later ones whose targets are all new."""
    half = max(1, len(origins) // 2)
    width = _conformal_width(error[:half], coverage)
    later = origins >= origins[half - 1] + error.shape[1]
    if not later.any():
        later = np.arange(len(origins)) >= half
    return width, (error[later] <= width).mean(axis=0)


def _conformal_width(errors: Array, coverage: float) -> Array:
    """The order statistic of each column that covers the share, the largest where there are too few."""
    rank = min(len(errors), math.ceil((len(errors) + 1) * coverage))
    width: Array = np.sort(errors, axis=0)[rank - 1]
    return width


def _padded(drift: Array, window: int) -> Array:
    """The last ``window`` values, the first repeated where there are fewer."""
    last = drift[-window:]
    return np.concatenate([np.full(window - len(last), last[0]), last])


def evaluate(model: DriftModel, series: SensorSeries, first: int) -> Scores:
    """One-step errors on the readings from position ``first`` on, beside the last value and the baseline.

    Parameters
    ----------
    model : DriftModel
        Fitted on readings before ``first`` only.
    series : Series
        All readings, the held-out ones last.
    first : int
        At least the model's window.
    """
    drift, clock = model.drift(series.values), (series.times - model.start) / HOUR
    rows, targets = build_features(drift[first - model.window :], clock[first - model.window :], model.window)
    told = model.lines.predict(rows[None])[0]
    error = np.abs(told - targets)
    naive = {"last_value": np.abs(rows[:, 0] - targets), "no_drift": np.abs(targets)}
    means = {name: float(loss.mean()) for name, loss in naive.items()}
    mae = float(error.mean())
    metrics = {"error": mae, **{k: v for k, v in model.facts.items() if isinstance(v, float)}}
    newest = slice(-_DRAWN, None)
    hours = (series.times[first:] - series.times[first]) / HOUR
    curves = {"measured": (hours[newest], targets[newest]), "forecast": (hours[newest], told[newest])}
    drawn = line("Drift one reading ahead, newest held-out readings", "hours", "drift", curves)
    return Scores(mae, metrics, means, len(targets), mae < min(means.values()), error.tolist(), [drawn])
