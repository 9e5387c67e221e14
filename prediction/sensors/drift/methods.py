"""Forecast drift in several ways, and choose the one that was closest in the backtest at the horizon asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from prediction.sensors.readings.series import DAY, Array

REGRESSION, LAST_VALUE, YESTERDAY = "linear_regression", "last_value", "same_hour_yesterday"
_NAMES = {LAST_VALUE: "the last value", YESTERDAY: "the value of the same hour yesterday"}


class MethodBacktest(TypedDict):
    """How a way to forecast did in the backtest, by step: mean error, interval and its measured coverage."""

    method: str
    mean_error: Sequence[float]
    half_width: Sequence[float]
    coverage: Sequence[float]


def readings_per_day(interval_s: float) -> int:
    """Return the readings of a day; 0 where readings are too rare for a daily rhythm."""
    count = round(DAY / interval_s)
    return count if count > 1 else 0


def forecast_by_rule(method: str, drift: Array, steps: int, season: int) -> Array:
    """Return the drift at the next steps by a simple rule, shape (starts, steps).

    Parameters
    ----------
    method : str
    drift : float64, shape (starts, n)
        The drift values before each start; a day of them for ``same_hour_yesterday``.
    steps : int
    season : int
        Readings per day.
    """
    if method == LAST_VALUE:
        return np.repeat(drift[:, -1:], steps, axis=1)
    return drift[:, -season:][:, np.arange(steps) % season]


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
    usable = [item for item in backtests if item["method"] != YESTERDAY or num_values >= season]
    errors = [float(np.mean(item["mean_error"][:steps])) for item in usable]
    best = int(np.argmin(errors))
    if best == 0:
        return usable[0], ""
    reason = (
        f"{_NAMES[usable[best]['method']]} was closer over {steps} steps of the backtest: "
        f"off by {errors[best]:.3g} per cent points, the regression by {errors[0]:.3g}"
    )
    return usable[best], reason
