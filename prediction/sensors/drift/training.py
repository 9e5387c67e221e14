"""Train, backtest and evaluate drift models."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prediction.contract import Scores
from prediction.figures import line
from prediction.sensors.drift.model import BacktestFacts, DriftModel
from prediction.sensors.drift.regression import (
    LinearRegression,
    build_features,
    choose_window,
    compute_drift,
)
from prediction.sensors.readings.series import HOUR, Array, SensorSeries, estimate_interval_seconds
from storage.sensors.baseline import Baseline

MIN_READINGS = 20
_MAX_HORIZON = 24
"""Steps ahead that a backtest evaluates, where the readings reach that far."""
# Evenly spaced origins: neighbouring ones share their targets, so more would hardly change the figures.
_MAX_ORIGINS = 400
_MAX_CHART_POINTS = 100
_BACKTEST_TRAINING_SHARE = 0.6


def train(series: SensorSeries, baseline: Baseline, coverage: float = 0.9) -> DriftModel:
    """Return a drift model, backtested on its own later readings.

    The regression is fitted on the first 60 % and forecasts from origins in the rest: the earlier half of those
    sets the interval, the later half measures its coverage. Then it is fitted again on all readings.
    """
    drift, hours = compute_drift(baseline, series.values), (series.times - series.times[0]) / HOUR
    window = choose_window(len(series))
    interval = estimate_interval_seconds(series.times)
    half_width, measured, facts = _backtest(drift, hours, interval / HOUR, coverage)
    regression = LinearRegression.fit(*build_features(drift, hours, window))
    return DriftModel(
        tuple(regression.weights.tolist()),
        regression.intercept,
        window,
        float(series.times[0]),
        interval,
        baseline.value,
        baseline.scale,
        tuple(half_width.tolist()),
        tuple(measured.tolist()),
        facts,
    )


def _backtest(
    drift: Array, hours: Array, step_hours: float, coverage: float
) -> tuple[Array, Array, BacktestFacts]:
    """Return the half width of the interval and its measured coverage by step, and the figures of both."""
    cut, window = int(_BACKTEST_TRAINING_SHARE * len(drift)), choose_window(len(drift))
    horizon = max(1, min(_MAX_HORIZON, (len(drift) - cut) // 4))
    origins = np.arange(cut, len(drift) - horizon + 1)
    count = min(_MAX_ORIGINS, len(origins))
    origins = origins[np.linspace(0, len(origins) - 1, count).round().astype(int)]
    recent = sliding_window_view(drift, window)[origins - window]
    truth = sliding_window_view(drift, horizon)[origins]
    regression = LinearRegression.fit(*build_features(drift[:cut], hours[:cut], window))
    error = np.abs(regression.forecast(recent, hours[origins - 1], step_hours, horizon) - truth)
    naive_error = np.abs(recent[:, -1:] - truth)

    half = max(1, len(origins) // 2)
    # Split conformal: the order statistic that covers the share, the largest error where there are too few.
    rank = min(half, math.ceil((half + 1) * coverage))
    half_width: Array = np.sort(error[:half], axis=0)[rank - 1]
    # The coverage is measured where no target was also a target of the origins that set the width.
    is_later = origins >= origins[half - 1] + horizon
    if not is_later.any():
        is_later = np.arange(len(origins)) >= half
    measured: Array = (error[is_later] <= half_width).mean(axis=0)
    facts: BacktestFacts = {
        "asked_coverage": coverage,
        "measured_coverage": float(measured.mean()),
        "backtest_mae": float(error.mean()),
        "naive_mae": float(naive_error.mean()),
        "origins": len(origins),
        "horizon": horizon,
        "beats_naive": bool(error.mean() < naive_error.mean()),
    }
    return half_width, measured, facts


def evaluate(model: DriftModel, series: SensorSeries, first: int) -> Scores:
    """Measure one-step errors on the readings from position ``first`` on, against two naive forecasts.

    Parameters
    ----------
    model : DriftModel
        Fitted on readings before ``first`` only.
    series : SensorSeries
        All readings, the held-out ones last.
    first : int
        At least the model's window.
    """
    drift, hours = model.compute_drift(series.values), (series.times - model.start) / HOUR
    rows, targets = build_features(drift[first - model.window :], hours[first - model.window :], model.window)
    forecast = model.regression.predict(rows)
    error = np.abs(forecast - targets)
    mae = float(error.mean())
    baselines = {
        "last_value": float(np.abs(rows[:, 0] - targets).mean()),
        "no_drift": float(np.abs(targets).mean()),
    }
    metrics = {"error": mae}
    metrics |= {name: value for name, value in model.facts.items() if isinstance(value, float)}
    newest = slice(-_MAX_CHART_POINTS, None)
    chart_hours = ((series.times[first:] - series.times[first]) / HOUR)[newest]
    curves = {"measured": (chart_hours, targets[newest]), "forecast": (chart_hours, forecast[newest])}
    chart = line("Drift one reading ahead, newest held-out readings", "hours", "drift", curves)
    beats_baselines = mae < min(baselines.values())
    return Scores(mae, metrics, baselines, len(targets), beats_baselines, error.tolist(), [chart])
