"""The drift model that serves: forecasts in per cent of the baseline, with a measured interval."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.drift.methods import (
    DAMPED_WINDOW,
    MAX_CONTEXT,
    REGRESSION,
    MethodBacktest,
    count_needed_values,
    forecast_by_rule,
    readings_per_day,
    select_method,
    select_methods,
)
from prediction.sensors.drift.regression import LinearRegression, compute_drift
from prediction.sensors.readings.prediction_input import PredictionInput, stack_values
from prediction.sensors.readings.series import HOUR, Array
from storage.filesystem.checked_write import save_json
from storage.sensors.baseline import Baseline

FILE_NAME = "drift.json"


class DriftPoint(TypedDict):
    """One step of a forecast: time in seconds since 1970, drift and interval in per cent.

    ``confidence`` is the measured coverage of the interval, None beyond the backtested horizon.
    """

    step: int
    time: float
    drift: float
    low: float | None
    high: float | None
    confidence: float | None


class BacktestFacts(TypedDict):
    """What the backtest of a drift model measured; errors in per cent points."""

    asked_coverage: float
    measured_coverage: float
    backtest_mae: float
    naive_mae: float
    origins: int
    horizon: int
    beats_naive: bool


class DriftForecast(TypedDict):
    """The drift now and its next steps; a fallback rule has no backtest."""

    current_drift: float
    predictions: list[DriftPoint]
    backtest: BacktestFacts | None
    baseline: float
    model_used: str
    fallback_reason: str | None
    model_version: NotRequired[int | None]


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
    facts : BacktestFacts
    mean_error : tuple of float
        Mean error of the regression in the backtest at 1, 2, … steps ahead; empty for versions that did not
        measure it.
    worst_ratio : tuple of float
        Its largest ratio to the error of the last value, of the thirds of the backtest.
    rules : tuple of MethodBacktest
        The simple rules, backtested on the same origins.
    by_step : bool
        Whether each step has a method of its own; versions before this one had a single one for all.
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
    facts: BacktestFacts
    mean_error: tuple[float, ...] = ()
    rules: tuple[MethodBacktest, ...] = ()
    by_step: bool = False
    worst_ratio: tuple[float, ...] = ()

    @property
    def context_length(self) -> int:
        """Return how many values a forecast depends on, the latest included."""
        season = readings_per_day(self.interval_s)
        methods = [rule["method"] for rule in self.rules]
        needed = max((count_needed_values(method, season) for method in methods), default=1)
        return min(MAX_CONTEXT, max(self.window, DAMPED_WINDOW if self.by_step else 1, needed))

    def choose_methods(self, steps: int, num_values: int) -> tuple[list[MethodBacktest], str]:
        """Return the method for each of the next steps, and why the last is not the regression."""
        own: MethodBacktest = {
            "method": REGRESSION,
            "mean_error": self.mean_error,
            "half_width": self.half_width,
            "coverage": self.coverage,
            "worst_ratio": self.worst_ratio,
        }
        if not self.rules:
            return [own] * steps, ""
        season = readings_per_day(self.interval_s)
        if self.by_step:
            return select_methods([own, *self.rules], steps, num_values, season)
        method, reason = select_method([own, *self.rules], steps, num_values, season)
        return [method] * steps, reason

    @property
    def regression(self) -> LinearRegression:
        """Return the regression with its weights as an array."""
        return LinearRegression(np.array(self.weights), self.intercept)

    def compute_drift(self, values: Array) -> Array:
        """Return the distance from the baseline in per cent."""
        return compute_drift(Baseline(self.baseline_value, self.baseline_scale), values)

    def predict(self, inputs: Sequence[PredictionInput]) -> list[DriftForecast]:
        """Return the drift at each input and the steps after it."""
        values, times = stack_values(inputs)
        current = self.compute_drift(values).tolist()
        known = [
            self.compute_drift(np.array([*item["recent"], item["value"]], dtype=np.float64))
            for item in inputs
        ]
        max_steps = max(item["future_points"] for item in inputs)
        # All at once: ten thousand regressions one by one would take seconds.
        windows = np.stack([_pad_to_window(drift, self.window) for drift in known])
        hours = (times - self.start) / HOUR
        regression_paths = self.regression.forecast(windows, hours, self.interval_s / HOUR, max_steps)
        answers: list[DriftForecast] = []
        for row, (item, drift, time) in enumerate(zip(inputs, current, times.tolist(), strict=True)):
            steps = item["future_points"]
            methods, reason = self.choose_methods(steps, len(known[row]))
            origin = np.array([len(known[row])])
            path = self.combine(methods, regression_paths[row : row + 1, :steps], known[row], origin)[0]
            answers.append(
                {
                    "current_drift": drift,
                    "predictions": [
                        self._build_point(method, step, time, value)
                        for step, (method, value) in enumerate(zip(methods, path.tolist(), strict=True), 1)
                    ],
                    "backtest": self.facts,
                    "baseline": self.baseline_value,
                    "model_used": methods[-1]["method"],
                    "fallback_reason": reason or None,
                }
            )
        return answers

    def combine(
        self,
        methods: Sequence[MethodBacktest],
        by_regression: Array,
        drift: Array,
        origins: NDArray[np.int64],
    ) -> Array:
        """Return the forecast of its method at each step, shape (origins, steps).

        Parameters
        ----------
        by_regression : float64, shape (origins, steps)
        drift : float64, shape (n,)
        origins : int64, shape (origins,)
            Positions of the first drift values that are not known.
        """
        names, season = [method["method"] for method in methods], readings_per_day(self.interval_s)
        path = by_regression.copy()
        for name in {*names} - {REGRESSION}:
            is_its = np.array([other == name for other in names])
            path[:, is_its] = forecast_by_rule(name, drift, origins, len(names), season)[:, is_its]
        return path

    def forecast(self, values: Array, last_time: float, steps: int) -> list[DriftPoint]:
        """Return the next drift values.

        Parameters
        ----------
        values : float, shape (k,)
            The latest raw values, oldest first, at least one.
        last_time : float
            Time of the last of them.
        steps : int
        """
        *recent, value = values.tolist()
        question: PredictionInput = {
            "value": value,
            "time": last_time,
            "recent": recent,
            "future_points": steps,
        }
        return self.predict([question])[0]["predictions"]

    def _build_point(self, method: MethodBacktest, step: int, last_time: float, drift: float) -> DriftPoint:
        half_width, horizon = None, len(method["half_width"])
        if horizon:
            # Beyond the backtested horizon the error is taken to grow as that of a random walk.
            growth = math.sqrt(max(1.0, step / horizon))
            half_width = method["half_width"][min(step, horizon) - 1] * growth
        coverage = method["coverage"]
        return {
            "step": step,
            "time": last_time + step * self.interval_s,
            "drift": drift,
            "low": None if half_width is None else drift - half_width,
            "high": None if half_width is None else drift + half_width,
            "confidence": coverage[step - 1] if step <= len(coverage) else None,
        }

    def save(self, folder: Path) -> None:
        """Write ``drift.json``."""
        save_json(folder / FILE_NAME, {"format": 1, **asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> DriftModel:
        """Read a drift model from its folder."""
        document = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        document.pop("format")
        for name in ("weights", "half_width", "coverage", "mean_error", "rules", "worst_ratio"):
            document[name] = tuple(document.get(name, ()))
        return cls(**document)


def _pad_to_window(drift: Array, window: int) -> Array:
    """Return the last ``window`` values, the first repeated where there are fewer."""
    last = drift[-window:]
    return np.concatenate([np.full(window - len(last), last[0]), last])
