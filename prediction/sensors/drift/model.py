"""The drift model that serves: forecasts in per cent of the baseline, with a measured interval."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from prediction.sensors.drift.regression import LinearRegression, compute_drift
from prediction.sensors.readings.prediction_input import PredictionInput, stack_values
from prediction.sensors.readings.series import HOUR, Array
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
        recent = [np.array([*item["recent"], item["value"]], dtype=np.float64) for item in inputs]
        paths = self.forecast_many(recent, times, max(item["future_points"] for item in inputs))
        return [
            {
                "current_drift": drift,
                "predictions": path[: item["future_points"]],
                "backtest": self.facts,
                "baseline": self.baseline_value,
                "model_used": "linear_regression",
                "fallback_reason": None,
            }
            for item, drift, path in zip(inputs, current, paths, strict=True)
        ]

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
        return self.forecast_many([values], np.array([last_time]), steps)[0]

    def forecast_many(self, recent: Sequence[Array], last_times: Array, steps: int) -> list[list[DriftPoint]]:
        """Return forecasts from many starts at once, each as :meth:`forecast` makes it."""
        windows = np.stack([_pad_to_window(self.compute_drift(values), self.window) for values in recent])
        hours = (last_times - self.start) / HOUR
        paths = self.regression.forecast(windows, hours, self.interval_s / HOUR, steps)
        return [
            [self._build_point(step, last_time, drift) for step, drift in enumerate(path, 1)]
            for path, last_time in zip(paths.tolist(), last_times.tolist(), strict=True)
        ]

    def _build_point(self, step: int, last_time: float, drift: float) -> DriftPoint:
        half_width = None
        if self.half_width:
            horizon = len(self.half_width)
            # Beyond the backtested horizon the error is taken to grow as that of a random walk.
            growth = math.sqrt(max(1.0, step / horizon))
            half_width = self.half_width[min(step, horizon) - 1] * growth
        return {
            "step": step,
            "time": last_time + step * self.interval_s,
            "drift": drift,
            "low": None if half_width is None else drift - half_width,
            "high": None if half_width is None else drift + half_width,
            "confidence": self.coverage[step - 1] if step <= len(self.coverage) else None,
        }

    def save(self, folder: Path) -> None:
        """Write ``drift.json``."""
        document = json.dumps({"format": 1, **asdict(self)}, indent=1)
        (folder / FILE_NAME).write_text(document, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> DriftModel:
        """Read a drift model from its folder."""
        document = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        document.pop("format")
        for name in ("weights", "half_width", "coverage"):
            document[name] = tuple(document[name])
        return cls(**document)


def _pad_to_window(drift: Array, window: int) -> Array:
    """Return the last ``window`` values, the first repeated where there are fewer."""
    last = drift[-window:]
    return np.concatenate([np.full(window - len(last), last[0]), last])
