"""Exponential smoothing, theta and naive forecasts, averaged by their past errors: for series of a few hundred rows.

With fixed parameters and starting values taken from the window, each of these forecasts is a linear map of the
window (Hyndman et al., "Forecasting with exponential smoothing", 2008, chapter 3). So a grid of parameters is a
list of maps; nothing is estimated but how well each did on past windows, which a few hundred rows allow. The
forecast is their mean, weighted at each step by the errors there: averages of such methods err less than the best
of them does (Makridakis et al., "The M4 competition", 2020). A mean of linear maps is a linear map again, so it is
stored, exported and served like that of `RidgeLinear`.

Own code, because statsforecast and statsmodels fit one parameter set to one series and keep their own models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from errors import TrainingCancelled, TrainingFailed
from prediction.contract import Progress, no_progress
from prediction.forecasting.data.series import ForecastSeries, WindowSplit
from prediction.forecasting.model.ridge import ClosedFormFit
from prediction.forecasting.networks import Smoothing
from prediction.neural.callbacks import EpochRecord

Floats = NDArray[np.float64]

# Share of the newest value in the level; 1 is the last value itself.
_LEVELS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
# Share of the newest change in the trend, and what remains of the trend a step later: none, slow, quick.
_TRENDS = ((0.0, 0.0), (0.05, 0.9), (0.15, 0.97))
# Share of the newest deviation in the season; 0 keeps the mean season of the window.
_SEASONS = (0.0, 0.1, 0.3, 0.5)
# What remains, a step later, of the last deviation from level and season. Only beside slow levels without a trend:
# quick ones follow the deviation themselves.
_RETURNS = (0.0, 0.7, 0.85, 0.95)
_MAX_RETURN_LEVEL = 0.2
_THETA_LEVELS = (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
# Seasons that a mean season is taken of, and rows of the first level where there is no season.
_MAX_SEASONS, FIRST_ROWS = 6, 8
FIRST_SEASONS = 3
# A map whose error is a tenth above the best has exp(-1.5) of its weight. Chosen on 37 series of 64 to 600 rows:
# 10 to 20 do equally well, 80 (nearly the best map alone) errs 3 % more.
_SHARPNESS = 15.0
# Newest rows of a window that the rules look at: older ones hardly count, and time grows with their square.
MAX_ROWS = 336
# Windows that the errors are measured on: more change the weights little.
_MAX_WINDOWS = 600
# Numbers in one block of maps, and in their errors: 160 MB.
_MAX_NUMBERS = 20_000_000


@dataclass(frozen=True)
class SmoothingRule:
    """One set of parameters, each a share as explained at the grids above."""

    level: float
    trend: float
    damping: float
    season: float
    returning: float


def solve_smoothing(
    network: Smoothing,
    train: WindowSplit,
    validation: WindowSplit | None = None,
    progress: Progress = no_progress,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> ClosedFormFit:
    """Set the network's weights from the errors on training windows; deterministic.

    Parameters
    ----------
    validation : WindowSplit, optional
        Only measured, for the history.

    Raises
    ------
    TrainingFailed
        The data has values so extreme that their errors are no finite numbers.
    TrainingCancelled
        ``cancelled`` returned True before the end.
    """
    started = time.monotonic()
    series, seasons = train.series, list_seasons(train.series)
    rows = min(series.window, MAX_ROWS)
    split = train.subsample(_MAX_WINDOWS)
    histories = split.histories(split.starts)[:, -rows:, series.targets].astype(np.float64)
    futures = split.futures(split.starts).astype(np.float64)
    errors = np.concatenate(
        [
            _measure_errors(maps, histories, futures)
            for maps in build_maps(rows, series.steps, seasons, cancelled)
        ]
    )
    if not np.isfinite(errors).all():
        raise TrainingFailed("The errors over the windows are no finite numbers: look for extreme values.")
    if network.maps == 1:
        errors = errors.mean(axis=2, keepdims=True)
    history: list[EpochRecord] = []
    # The plain mean first, so that one sees what the weights are worth.
    for epoch, weights in enumerate((np.full_like(errors, 1 / len(errors)), weigh(errors)), 1):
        mixed = np.zeros((network.maps, series.window + 1, series.steps))
        first = 0
        for maps in build_maps(rows, series.steps, seasons, cancelled):
            share = weights[first : first + len(maps)]
            mixed[:, -1 - rows : -1] += np.einsum("pwh,pht->twh", maps, share, optimize=True)
            first += len(maps)
        train_loss = _mean_error(mixed, train)
        val_loss = _mean_error(mixed, validation) if validation is not None and len(validation) else None
        seconds = time.monotonic() - started
        history.append({"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "seconds": seconds})
        progress(
            "epoch",
            epoch=epoch,
            done=epoch,
            of=2,
            train_loss=train_loss,
            val_loss=val_loss,
            eta_seconds=0.0,
        )
    network.set_weights(torch.from_numpy(mixed))
    return ClosedFormFit(history, len(history), "all rules are weighed")


def list_seasons(series: ForecastSeries) -> tuple[int, ...]:
    """Return the rows of each season that a window holds: the strongest one, a day, a week, a year."""
    if not series.season:
        return ()
    calendar = series.step.seasons() if series.step else ()
    return tuple(
        season
        for season in dict.fromkeys([series.season, *calendar])
        if 1 < season <= min(series.window, MAX_ROWS)
    )


def weigh(errors: Floats) -> Floats:
    """Return weights of sum one over the maps, at each step by the mean absolute errors there.

    Parameters
    ----------
    errors : ndarray, shape (maps, steps, targets)
    """
    best = np.maximum(errors.min(axis=0), 1e-12)
    weights = np.exp(-_SHARPNESS * (errors / best - 1.0).clip(0.0, 50.0))
    normalized: Floats = weights / weights.sum(axis=0)
    return normalized


def build_maps(
    window: int, steps: int, seasons: Sequence[int], cancelled: Callable[[], bool] = lambda: False
) -> Iterator[Floats]:
    """Yield the maps of all rules, in blocks ``(n, window, steps)`` that fit into memory.

    The weights of a map sum to one at each step, so levels and units do not matter.
    """
    block = max(1, _MAX_NUMBERS // (window * max(steps, window)))
    yield _build_naive_maps(window, steps, seasons)
    for season in (0, *(season for season in seasons if 2 * season <= window)):
        rules = list_rules(has_season=bool(season))
        for first in range(0, len(rules), block):
            if cancelled():
                raise TrainingCancelled("The training was cancelled. Nothing has changed.")
            yield build_smoothing_maps(rules[first : first + block], window, steps, season)
        yield _build_theta_maps(window, steps, season)


def list_rules(*, has_season: bool) -> list[SmoothingRule]:
    """Return the grid of parameters."""
    return [
        SmoothingRule(level, trend, damping, season, returning)
        for level in _LEVELS
        for trend, damping in _TRENDS
        for season in (_SEASONS if has_season else (0.0,))
        for returning in (_RETURNS if level <= _MAX_RETURN_LEVEL and not trend else (0.0,))
    ]


def build_smoothing_maps(rules: Sequence[SmoothingRule], window: int, steps: int, season: int) -> Floats:
    """Run damped additive Holt-Winters on functionals of the window instead of on values.

    Level, trend and seasons are vectors: how much each row of the window contributes to them.

    Parameters
    ----------
    season : int
        Rows; 0 for none.

    Returns
    -------
    ndarray, shape (len(rules), window, steps)
    """
    level_share, trend_share, damping, season_share, returning = (
        np.array([[getattr(rule, name)] for rule in rules])
        for name in ("level", "trend", "damping", "season", "returning")
    )
    rows = np.eye(window)
    level, seasonal = _start(len(rules), window, season)
    trend = np.zeros((len(rules), window))
    deviation = trend
    for row in range(window):
        current = seasonal[row % season] if season else 0.0
        expected = level + damping * trend
        new = level_share * (rows[row] - current) + (1 - level_share) * expected
        trend = trend_share * (new - level) + (1 - trend_share) * damping * trend
        if season:
            seasonal[row % season] = season_share * (rows[row] - expected) + (1 - season_share) * current
        level, deviation = new, rows[row] - new - current
    maps = np.empty((len(rules), window, steps))
    summed = np.zeros((len(rules), 1))
    for step in range(1, steps + 1):
        summed = summed + damping**step
        ahead = seasonal[(window + step - 1) % season] if season else 0.0
        maps[:, :, step - 1] = level + summed * trend + ahead + returning**step * deviation
    return maps


def _start(count: int, window: int, season: int) -> tuple[Floats, Floats]:
    """Return the level and the seasons before the first row, from the first rows of the window."""
    level = np.zeros((count, window))
    if not season:
        first = min(window, FIRST_ROWS)
        level[:, :first] = 1 / first
        return level, np.zeros((0, count, window))
    length = min(window // season, FIRST_SEASONS) * season
    level[:, :length] = 1 / length
    seasonal = np.zeros((season, count, window))
    for phase in range(season):
        seasonal[phase, :, phase:length:season] = season / length
        seasonal[phase, :, :length] -= 1 / length
    return level, seasonal


def _build_theta_maps(window: int, steps: int, season: int) -> Floats:
    """Return theta forecasts: a smoothed level with half the trend, without the mean season of the window.

    Assimakopoulos and Nikolopoulos (2000), in the form of Hyndman and Billah (2003).
    """
    phases = (np.arange(window + steps) - window % season) % season if season else np.arange(window + steps)
    seasonal = np.zeros((season or window + steps, window))
    first = window % season if season else 0
    for phase in range(season):
        seasonal[phase, first + phase :: season] = season / (window - first)
        seasonal[phase, first:] -= 1 / (window - first)
    adjusted = np.eye(window) - seasonal[phases[:window]]
    centered = np.arange(window) - (window - 1) / 2
    slope = centered / max(float(centered @ centered), 1e-12)
    maps = []
    for share in _THETA_LEVELS:
        weights = share * (1 - share) ** np.arange(window - 1, -1, -1.0)
        weights[: min(window, FIRST_ROWS)] += (1 - weights.sum()) / min(window, FIRST_ROWS)
        drift = np.arange(steps) + (1 - (1 - share) ** window) / share
        ahead = weights[:, None] + 0.5 * slope[:, None] * drift
        maps.append(adjusted.T @ ahead + seasonal[phases[window:]].T)
    return np.stack(maps)


def _build_naive_maps(window: int, steps: int, seasons: Sequence[int]) -> Floats:
    """Return the last value, the drift, the mean, and means of the last seasons."""
    ahead = np.arange(1, steps + 1)
    last, drift = np.zeros((2, window, steps))
    last[-1] = 1.0
    drift[-1] += 1 + ahead / (window - 1)
    drift[0] -= ahead / (window - 1)
    maps = [last, drift, np.full((window, steps), 1 / window)]
    for season in seasons:
        for count in range(1, min(window // season, _MAX_SEASONS) + 1):
            repeated = np.zeros((window, steps))
            for back in range(1, count + 1):
                repeated[window - back * season + (ahead - 1) % season, ahead - 1] += 1 / count
            maps.append(repeated)
    return np.stack(maps)


def _measure_errors(maps: Floats, histories: Floats, futures: Floats) -> Floats:
    """Return mean absolute errors ``(maps, steps, targets)``."""
    errors = np.zeros((len(maps), *futures.shape[1:]))
    block = max(1, _MAX_NUMBERS // (len(histories) * futures.shape[1]))
    for first in range(0, len(maps), block):
        some = maps[first : first + block]
        for target in range(futures.shape[2]):
            forecasts = np.tensordot(histories[:, :, target], some, (1, 1))
            off = np.abs(forecasts - futures[:, None, :, target])
            errors[first : first + block, :, target] = off.mean(axis=0)
    return errors


def _mean_error(mixed: Floats, split: WindowSplit) -> float:
    """Return the mean squared error of the weighted maps on some windows."""
    some = split.subsample(_MAX_WINDOWS)
    histories = some.histories(some.starts)[:, :, some.series.targets]
    maps = np.broadcast_to(mixed[:, :-1], (histories.shape[2], *mixed[0, :-1].shape))
    forecasts = np.einsum("nwt,twh->nht", histories, maps, optimize=True)
    return float(((forecasts - some.futures(some.starts)) ** 2).mean())
