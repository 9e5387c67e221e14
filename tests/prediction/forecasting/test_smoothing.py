"""Smoothing: its maps are the forecasts of the textbooks, and its weights follow the errors."""

from __future__ import annotations

import numpy as np
import pytest

from errors import TrainingCancelled
from prediction.forecasting.data.series import ForecastSeries, StandardScaling, WindowSplit
from prediction.forecasting.model.smoothing import (
    SmoothingRule,
    build_maps,
    build_smoothing_maps,
    solve_smoothing,
    weigh,
)
from prediction.forecasting.networks import Smoothing


@pytest.mark.parametrize("season", [0, 7])
def test_a_map_is_the_recursion_of_holt_and_winters(season):
    window, steps, rule = 40, 9, SmoothingRule(0.4, 0.15, 0.97, 0.3 if season else 0.0, 0.0)
    values = np.random.default_rng(0).normal(size=window).cumsum()
    length = 3 * season if season else 8
    level, trend, ahead = values[:length].mean(), 0.0, []
    seasonal = [values[phase:length:season].mean() - level for phase in range(season)] or [0.0]
    for row, value in enumerate(values):
        phase, expected = row % max(season, 1), level + rule.damping * trend
        before, level = level, rule.level * (value - seasonal[phase]) + (1 - rule.level) * expected
        trend = rule.trend * (level - before) + (1 - rule.trend) * rule.damping * trend
        seasonal[phase] = rule.season * (value - expected) + (1 - rule.season) * seasonal[phase]
    for step in range(1, steps + 1):
        damped = sum(rule.damping**power for power in range(1, step + 1))
        ahead.append(level + damped * trend + seasonal[(window + step - 1) % max(season, 1)])
    (made,) = build_smoothing_maps([rule], window, steps, season)
    np.testing.assert_allclose(values @ made, ahead, atol=1e-9)


def test_every_map_keeps_levels_and_units():
    maps = np.concatenate(list(build_maps(60, 10, (7, 28))))
    np.testing.assert_allclose(maps.sum(axis=1), 1.0, atol=1e-9)
    assert np.isfinite(maps).all()


def test_the_theta_forecast_of_a_line_rises_at_half_its_slope():
    maps = np.concatenate(list(build_maps(50, 6, ())))
    ahead = np.arange(50.0) @ maps[-1]
    np.testing.assert_allclose(np.diff(ahead), 0.5, atol=1e-9)


def test_weights_prefer_small_errors_at_each_step():
    errors = np.array([[[1.0], [2.0]], [[1.2], [1.0]]])
    weights = weigh(errors)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0)
    assert weights[0, 0] > 0.9 and weights[1, 1] > 0.99


def test_a_cancelled_fit_ends():
    values = np.random.default_rng(1).normal(size=(200, 1)).astype(np.float32)
    scaler = StandardScaling(np.zeros(1), np.ones(1), 200)
    series = ForecastSeries(("a",), (0,), values, scaler, 30, 5)
    network = Smoothing(1, 5, 30, 5)
    network.set_targets([0], residual_to_last=True)
    with pytest.raises(TrainingCancelled):
        solve_smoothing(network, WindowSplit(series, np.arange(100)), cancelled=lambda: True)
