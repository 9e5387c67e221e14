"""Train, backtest and evaluate drift models."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from prediction.contract import Scores
from prediction.figures import line
from prediction.sensors.drift.methods import (
    DAMPED_TREND,
    LAST_VALUE,
    MAX_CONTEXT,
    REGRESSION,
    USUAL_DAY,
    YESTERDAY,
    MethodBacktest,
    count_needed_values,
    forecast_by_rule,
    readings_per_day,
)
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
# Steps ahead that a backtest evaluates, where the readings reach that far.
_MAX_HORIZON = 24
# Evenly spaced origins: neighbouring ones share their targets, so more would hardly change the figures.
_MAX_ORIGINS = 400
_MAX_CHART_POINTS = 100
_BACKTEST_TRAINING_SHARE = 0.6
# A sensor that never changes has no error with the last value: bounds of the ratio.
_MIN_ERROR, _MAX_RATIO = 1e-12, 1e9


def train(series: SensorSeries, baseline: Baseline, coverage: float = 0.9) -> DriftModel:
    """Return a drift model, backtested on its own later readings.

    The regression is fitted on the first 60 % and forecasts from origins in the rest, as the simple rules do. Then it
    is fitted again on all readings.
    """
    drift, hours = compute_drift(baseline, series.values), (series.times - series.times[0]) / HOUR
    window = choose_window(len(series))
    interval = estimate_interval_seconds(series.times)
    (own, *rules), facts = _backtest(drift, hours, interval, coverage)
    regression = LinearRegression.fit(*build_features(drift, hours, window))
    return DriftModel(
        tuple(regression.weights.tolist()),
        regression.intercept,
        window,
        float(series.times[0]),
        interval,
        baseline.value,
        baseline.scale,
        tuple(own["half_width"]),
        tuple(own["coverage"]),
        facts,
        tuple(own["mean_error"]),
        tuple(rules),
        by_step=True,
        worst_ratio=tuple(own["worst_ratio"]),
    )


def _backtest(
    drift: Array, hours: Array, interval_s: float, coverage: float
) -> tuple[list[MethodBacktest], BacktestFacts]:
    """Return the backtests of the regression and of the simple rules, and the figures of the regression."""
    cut, window = int(_BACKTEST_TRAINING_SHARE * len(drift)), choose_window(len(drift))
    horizon = max(1, min(_MAX_HORIZON, (len(drift) - cut) // 4))
    origins = np.arange(cut, len(drift) - horizon + 1)
    count = min(_MAX_ORIGINS, len(origins))
    origins = origins[np.linspace(0, len(origins) - 1, count).round().astype(int)]
    truth = sliding_window_view(drift, horizon)[origins]
    regression = LinearRegression.fit(*build_features(drift[:cut], hours[:cut], window))
    recent = sliding_window_view(drift, window)[origins - window]
    path = regression.forecast(recent, hours[origins - 1], interval_s / HOUR, horizon)
    paths = {REGRESSION: path, **_forecast_by_rules(drift, origins, horizon, interval_s)}
    errors = {method: np.abs(path - truth) for method, path in paths.items()}
    backtests = [
        _measure(method, error, errors[LAST_VALUE], origins, coverage) for method, error in errors.items()
    ]
    error, naive_error = errors[REGRESSION], errors[LAST_VALUE]
    facts: BacktestFacts = {
        "asked_coverage": coverage,
        "measured_coverage": float(np.mean(backtests[0]["coverage"])),
        "backtest_mae": float(error.mean()),
        "naive_mae": float(naive_error.mean()),
        "origins": len(origins),
        "horizon": horizon,
        "beats_naive": bool(error.mean() < naive_error.mean()),
    }
    return backtests, facts


def _forecast_by_rules(
    drift: Array, origins: NDArray[np.int64], horizon: int, interval_s: float
) -> dict[str, Array]:
    """Return the forecasts of the simple rules from each origin, shape (origins, horizon) each."""
    season = readings_per_day(interval_s)
    most = min(int(origins[0]), MAX_CONTEXT)
    daily = [rule for rule in (YESTERDAY, USUAL_DAY) if 0 < count_needed_values(rule, season) <= most]
    return {
        rule: forecast_by_rule(rule, drift, origins, horizon, season)
        for rule in (LAST_VALUE, *daily, DAMPED_TREND)
    }


def _measure(method: str, error: Array, last_error: Array, origins: Array, coverage: float) -> MethodBacktest:
    """Return mean error, half width of the interval and its coverage by step.

    A sensor has calm and restless times, so the interval is the wider one of two parts of the origins. The last two
    thirds set it; its coverage is measured in the last third, with the interval that the first two would have set.
    """
    third = max(1, len(origins) // 3)
    earlier, later = error[: 2 * third], error[third:]
    # The coverage is measured where no target was also a target of the origins that set the width.
    is_last = origins >= origins[min(2 * third, len(origins)) - 1] + error.shape[1]
    if not is_last.any():
        is_last = np.arange(len(origins)) >= min(2 * third, len(origins) - 1)
    return {
        "method": method,
        "mean_error": error.mean(axis=0).tolist(),
        "half_width": _find_half_width(later, coverage).tolist(),
        "coverage": (error[is_last] <= _find_half_width(earlier, coverage)).mean(axis=0).tolist(),
        "worst_ratio": _find_worst_ratio(error, last_error).tolist(),
    }


def _find_worst_ratio(error: Array, last_error: Array) -> Array:
    """Return the largest ratio of the mean errors of a third of the origins at each step, shape (steps,)."""
    pairs = zip(np.array_split(error, 3), np.array_split(last_error, 3), strict=True)
    ratios = [
        part.mean(axis=0) / np.maximum(last.mean(axis=0), _MIN_ERROR) for part, last in pairs if len(part)
    ]
    worst: Array = np.max(ratios, axis=0)
    return np.minimum(worst, _MAX_RATIO)


def _find_half_width(error: Array, coverage: float) -> Array:
    """Return the half width that covers the share of both halves of the errors at each step, shape (steps,)."""
    half = max(1, len(error) // 2)
    widths = []
    for part in (error[:half], error[-half:]):
        # Split conformal: the order statistic that covers the share, the largest error where there are too few.
        rank = min(len(part), math.ceil((len(part) + 1) * coverage))
        widths.append(np.sort(part, axis=0)[rank - 1])
    wider: Array = np.max(widths, axis=0)
    return wider


def evaluate(model: DriftModel, series: SensorSeries, first: int) -> Scores:
    """Measure the errors of the model's answers on the readings from position ``first`` on.

    The headline is the mean error over the backtested horizon, as the backtest and the answers report it, and so
    are the errors of the simple rules.

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
    # Half of the held-out readings at most, so that there are as many origins as steps.
    horizon = max(1, min(model.facts["horizon"], (len(series) - first) // 2))
    origins = np.arange(first, len(series) - horizon + 1)
    truth = sliding_window_view(drift, horizon)[origins]
    recent = sliding_window_view(drift, model.window)[origins - model.window]
    regression_path = model.regression.forecast(recent, hours[origins - 1], model.interval_s / HOUR, horizon)
    rules = _forecast_by_rules(drift, origins, horizon, model.interval_s)
    methods, _ = model.choose_methods(horizon, first)
    path = model.combine(methods, regression_path, drift, origins)
    losses = np.abs(path - truth).mean(axis=1)
    error = float(losses.mean())
    baselines = {
        name: float(np.abs(forecast - truth).mean())
        for name, forecast in rules.items()
        if name in (LAST_VALUE, YESTERDAY)
    }
    baselines["no_drift"] = float(np.abs(truth).mean())
    metrics = {
        "error": error,
        "horizon": float(horizon),
        "regression_error": float(np.abs(regression_path - truth).mean()),
    }
    metrics |= {name: value for name, value in model.facts.items() if isinstance(value, float)}
    newest = slice(-_MAX_CHART_POINTS, None)
    chart_hours = ((series.times[origins] - series.times[first]) / HOUR)[newest]
    curves = {"measured": (chart_hours, truth[newest, 0]), "forecast": (chart_hours, path[newest, 0])}
    chart = line("Drift one reading ahead, newest held-out readings", "hours", "drift", curves)
    beats_baselines = error < min(baselines.values())
    return Scores(error, metrics, baselines, len(origins), beats_baselines, losses.tolist(), [chart])
