"""Forecast drift in several ways, and choose the one that was closest in the backtest at the horizon asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.readings.series import DAY, Array

REGRESSION, LAST_VALUE, YESTERDAY = "linear_regression", "last_value", "same_hour_yesterday"
DAMPED_TREND, USUAL_DAY = "damped_trend", "same_hour_of_three_days"
_NAMES = {
    LAST_VALUE: "the last value",
    YESTERDAY: "the value of the same hour yesterday",
    DAMPED_TREND: "a damped trend",
    USUAL_DAY: "the mean of the same hour of three days",
}
# Days that ``same_hour_of_three_days`` averages.
USUAL_DAYS = 3
# A forecast reads no more values than this: daily rules need sensors with a reading every 26 seconds or rarer. Ahead
# of faster ones lie minutes at most, and there a day before says less than the last value.
MAX_CONTEXT = 10_000
# Exponential smoothing with a damped trend (Gardner, McKenzie, 1985). Fixed weights, so that a forecast depends on a
# bounded number of values: the oldest of 48 has a weight of 2e-5.
DAMPED_WINDOW = 48
# Another method than the last value is used where its error was smaller by this in each third of the backtest.
_MAX_WORST_RATIO = 0.98
# A path changes its method where the error becomes smaller by more than this.
_MAX_KEPT_RATIO = 1.01
_LEVEL_WEIGHT, _TREND_WEIGHT, _DAMPING = 0.2, 0.05, 0.95


class MethodBacktest(TypedDict):
    """How a way to forecast did in the backtest, by step: mean error, interval and its measured coverage.

    ``worst_ratio`` is the largest ratio of its error to that of the last value, of the thirds of the backtest.
    """

    method: str
    mean_error: Sequence[float]
    half_width: Sequence[float]
    coverage: Sequence[float]
    worst_ratio: NotRequired[Sequence[float]]


def readings_per_day(interval_s: float) -> int:
    """Return the readings of a day; 0 where readings are too rare for a daily rhythm."""
    count = round(DAY / interval_s)
    return count if count > 1 else 0


def count_needed_values(method: str, season: int) -> int:
    """Return how many known drift values a method needs."""
    return {YESTERDAY: season, USUAL_DAY: USUAL_DAYS * season}.get(method, 1)


def forecast_by_rule(method: str, drift: Array, origins: NDArray[np.int64], steps: int, season: int) -> Array:
    """Return the drift at the next steps by a simple rule, shape (origins, steps).

    Only the values that a rule uses are gathered: windows of three days of a reading per second would take gigabytes.

    Parameters
    ----------
    method : str
    drift : float64, shape (n,)
    origins : int64, shape (origins,)
        Positions of the first values that are not known; at least what `count_needed_values` returns.
    steps : int
    season : int
        Readings per day.
    """
    if method == LAST_VALUE:
        return np.repeat(drift[origins - 1, None], steps, axis=1)
    if method == DAMPED_TREND:
        # The first known value is repeated where fewer than 48 are known.
        window = np.maximum(origins[:, None] + np.arange(-DAMPED_WINDOW, 0), 0)
        return _forecast_damped_trend(drift[window], steps)
    days = USUAL_DAYS if method == USUAL_DAY else 1
    starts = [origins - day * season for day in range(days, 0, -1)]
    path: Array = np.mean([drift[start[:, None] + np.arange(steps) % season] for start in starts], axis=0)
    return path


def _forecast_damped_trend(values: Array, steps: int) -> Array:
    """Return level plus damped trend at the next steps, shape (origins, steps)."""
    level, trend = values[:, 0].copy(), np.zeros(len(values))
    for value in values.T[1:]:
        before = level
        level = _LEVEL_WEIGHT * value + (1 - _LEVEL_WEIGHT) * (before + _DAMPING * trend)
        trend = _TREND_WEIGHT * (level - before) + (1 - _TREND_WEIGHT) * _DAMPING * trend
    growth = np.cumsum(_DAMPING ** np.arange(1, steps + 1))
    path: Array = level[:, None] + trend[:, None] * growth
    return path


def select_methods(
    backtests: Sequence[MethodBacktest], steps: int, num_values: int, season: int
) -> tuple[list[MethodBacktest], str]:
    """Return the method that was closest at each of the next steps, and why the last is not the regression.

    A backtest is not the future, so a method replaces the last value only where it was closer in each third.

    Parameters
    ----------
    backtests : sequence of MethodBacktest
        The regression's first, the last value among the others.
    steps : int
        Steps asked for; beyond the backtested horizon, the horizon counts.
    num_values : int
        Known drift values.
    season : int
        Readings per day.
    """
    usable = [item for item in backtests if num_values >= count_needed_values(item["method"], season)]
    error = np.array([item["mean_error"] for item in usable])
    horizon = error.shape[1]
    is_last = [item["method"] == LAST_VALUE for item in usable]
    worst = np.array([item.get("worst_ratio", ()) for item in usable])
    worst[is_last] = 0.0
    error = np.where(worst <= _MAX_WORST_RATIO, error, np.inf)
    best = np.argmin(error, axis=0).tolist()
    for step in range(1, horizon):
        # A day ahead the last value is that of yesterday: of two methods that are as good, the path keeps its own.
        if error[best[step - 1], step] <= _MAX_KEPT_RATIO * error[best[step], step]:
            best[step] = best[step - 1]
    methods = [usable[best[min(step, horizon) - 1]] for step in range(1, steps + 1)]
    last, position = methods[-1], min(steps, horizon) - 1
    if last["method"] == REGRESSION:
        return methods, ""
    return methods, (
        f"{_NAMES[last['method']]} was closer {position + 1} steps ahead in the backtest: "
        f"off by {last['mean_error'][position]:.3g} per cent points, "
        f"the regression by {backtests[0]['mean_error'][position]:.3g}"
    )


def select_method(
    backtests: Sequence[MethodBacktest], steps: int, num_values: int, season: int
) -> tuple[MethodBacktest, str]:
    """Return the method that was closest over the next steps, and why it is not the regression.

    Parameters
    ----------
    backtests : sequence of MethodBacktest
        The regression's first.
    steps : int
        Steps asked for; beyond the backtested horizon, the horizon counts.
    num_values : int
        Known drift values.
    season : int
        Readings per day.
    """
    steps = min(steps, len(backtests[0]["mean_error"]))
    usable = [item for item in backtests if num_values >= count_needed_values(item["method"], season)]
    errors = [float(np.mean(item["mean_error"][:steps])) for item in usable]
    best = int(np.argmin(errors))
    if best == 0:
        return usable[0], ""
    reason = (
        f"{_NAMES[usable[best]['method']]} was closer over {steps} steps of the backtest: "
        f"off by {errors[best]:.3g} per cent points, the regression by {errors[0]:.3g}"
    )
    return usable[best], reason
