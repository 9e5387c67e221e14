"""The one exponential smoothing, with or without a season, that would have forecast each next row best.

The classical way to choose its parameters (Hyndman et al., "Forecasting with exponential smoothing", 2008, chapter
5), by a grid instead of a search. `solve_smoothing` weighs many rules by their errors at every step within windows;
this one runs through all rows once and takes one rule, so their errors differ and their mean errs less than either.
Rules with trends are left out: in a mean with others they lowered no error on series of 64 to 600 rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.model.smoothing import (
    FIRST_ROWS,
    FIRST_SEASONS,
    MAX_ROWS,
    SmoothingRule,
    build_smoothing_maps,
    list_seasons,
)
from prediction.forecasting.networks import RidgeLinear

Floats = NDArray[np.float64]

_LEVELS = (0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 0.95)
_SEASONS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
# Newest rows that rules run through, a third of a second for each season.
_MAX_FIT_ROWS = 2_000
# Seasons, or rows without one, whose errors are those of the starting values.
_SKIPPED_SEASONS, _MIN_SKIPPED_ROWS = 2, 10


def solve_exponential(network: RidgeLinear, windows: WindowSplit) -> None:
    """Set the network's weights to those of the best rule on the rows of some windows; each map has its own."""
    series = windows.series
    rows = min(series.window, MAX_ROWS)
    seasons = [season for season in list_seasons(series) if 2 * season <= rows]
    values, is_known = _list_rows(windows)
    skipped = max([_MIN_SKIPPED_ROWS, *(_SKIPPED_SEASONS * season for season in seasons)])
    is_counted = is_known & (np.arange(len(values)) >= min(skipped, len(values) // 2))
    best = np.full(network.maps, np.inf)
    maps = np.zeros((network.maps, series.window + 1, series.steps))
    for season in (0, *seasons):
        rules = list_rules(has_season=bool(season))
        errors = measure_next_row_errors(rules, values, is_known, is_counted, season)
        if network.maps == 1:
            errors = errors.sum(axis=1, keepdims=True)
        for number in np.flatnonzero(errors.min(axis=0) < best):
            chosen = int(errors[:, number].argmin())
            best[number] = errors[chosen, number]
            maps[number, -1 - rows : -1] = build_smoothing_maps([rules[chosen]], rows, series.steps, season)[
                0
            ]
    network.set_weights(torch.from_numpy(maps))


def list_rules(*, has_season: bool) -> list[SmoothingRule]:
    """Return the grid of parameters."""
    seasons = _SEASONS if has_season else (0.0,)
    return [
        SmoothingRule(level, 0.0, 0.0, season, 0.0) for level, season in itertools.product(_LEVELS, seasons)
    ]


def measure_next_row_errors(
    rules: Sequence[SmoothingRule],
    values: Floats,
    is_known: NDArray[np.bool_],
    is_counted: NDArray[np.bool_],
    season: int,
) -> Floats:
    """Run rules through rows and return the squared errors of the next row, summed, ``(rules, targets)``.

    Parameters
    ----------
    values : ndarray, shape (rows, targets)
    is_known, is_counted : ndarray of bool, shape (rows,)
        Rows that are learnt from, and those whose errors count.
    season : int
        Rows; 0 for none.
    """
    level_share, season_share = (
        np.array([[getattr(rule, name)] for rule in rules]) for name in ("level", "season")
    )
    count, targets = len(values), values.shape[1]
    first = min(count // season, FIRST_SEASONS) * season if season else min(count, FIRST_ROWS)
    start = values[:first].mean(axis=0)
    level = np.tile(start, (len(rules), 1))
    seasonal = np.zeros((max(season, 1), len(rules), targets))
    for phase in range(season):
        seasonal[phase] = values[phase:first:season].mean(axis=0) - start
    errors = np.zeros((len(rules), targets))
    for row in np.flatnonzero(is_known):
        phase = int(row) % season if season else 0
        change = values[row] - level - seasonal[phase]
        if is_counted[row]:
            errors += change**2
        seasonal[phase] += season_share * (change if season else 0.0)
        level = level + level_share * change
    return errors


def _list_rows(windows: WindowSplit) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the newest rows of the targets under the windows, and which of them no window leaves out."""
    series, starts = windows.series, windows.starts
    last = int(starts[-1]) + series.span
    first = max(int(starts[0]), last - _MAX_FIT_ROWS)
    changes = np.zeros(last + 1, dtype=np.int64)
    np.add.at(changes, starts, 1)
    np.add.at(changes, starts + series.span, -1)
    is_known = np.cumsum(changes)[first:last] > 0
    return series.z[first:last, list(series.targets)].astype(np.float64), is_known
