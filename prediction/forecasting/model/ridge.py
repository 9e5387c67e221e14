"""Linear forecasts without an epoch: ridge regression in closed form, and a mixture of several of them.

What a linear map can learn of a series stands in the series' second moments; solved in closed form, such
forecasters do as well as their trained kin or better (Toner & Darlow, ICML 2024). Maps are solved for several
lengths of the window and several penalties: shared by all targets, and each target's own, pulled towards the
shared one. From "it stays as it is" and "it goes as it went a season ago" on, the maps of each length are
mixed with what is there, by positive weights of sum one that err least on the validation windows. A mixture
of linear maps is a linear map again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor

from errors import TrainingCancelled, TrainingFailed
from prediction.contract import JSON, Progress, no_progress
from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.networks import RidgeLinear

WINDOW_SHARES = (0.0625, 0.125, 0.25, 0.5, 0.7, 1.0)
"""Shares of the window that maps look at: its newest rows."""
PENALTIES = (0.01, 0.1, 1.0)
"""Of the squared weights, in mean variances of an input."""

MAX_PRODUCTS = 3e11
"""Of numbers, for one part's moments: half a minute of a core. Of more windows, some are left out evenly."""
_PIECE = 4096
_MOST_NUMBERS = 64_000_000
"""Of the moments of all targets together: half a gigabyte."""


@dataclass(frozen=True)
class ClosedFormFit:
    """The course of a solution: one entry a window length, from the shortest to the longest."""

    history: list[JSON]
    best_epoch: int
    stop_reason: str = ""


@dataclass(frozen=True)
class NormalEquations:
    """Mean products of inputs ``(window + 1: history and a one)`` and futures ``(steps)`` of one target.

    Parameters
    ----------
    inputs : Tensor of float64, shape (window + 1, window + 1)
    both : Tensor of float64, shape (window + 1, steps)
    future : float
        Mean square of a future value, relative to the level.
    """

    inputs: Tensor
    both: Tensor
    future: float

    def newest(self, length: int) -> tuple[Tensor, Tensor]:
        """Those of the newest rows of the window and of the one."""
        first = len(self.inputs) - 1 - length
        return self.inputs[first:, first:], self.both[first:]


def num_maps(targets: int, window: int, steps: int) -> int:
    """How many linear maps a network needs: one a target, or one for all where they would take too much."""
    return targets if 2 * targets * (window + 1) * (window + 1 + steps) <= _MOST_NUMBERS else 1


def solve_ridge(
    network: RidgeLinear,
    train: WindowSplit,
    validation: WindowSplit,
    progress: Progress = no_progress,
    *,
    products: float = MAX_PRODUCTS,
    cancelled: Callable[[], bool] = lambda: False,
) -> ClosedFormFit:
    """Set the network's weights; deterministic, and in memory that does not grow with the number of windows.

    Progress is told like a network's epochs, one a window length.

    Parameters
    ----------
    products : float
        Most products of numbers for one part's moments: of more windows, some are left out evenly.
    cancelled : callable
        Asked between pieces of the work; the lengths that were solved until then count.

    Raises
    ------
    TrainingFailed
        The data has values so extreme that the moments are no finite numbers.
    TrainingCancelled
        ``cancelled`` said so before one length was solved.
    """
    began = time.monotonic()
    learnt, judged = (_moments(part, network, products, cancelled) for part in (train, validation))
    course: list[JSON] = []
    naive = [_stays(network), *_season_ago(network, train.series.season)]
    mixed = _mixed(naive, judged)
    lengths = sorted({max(1, round(share * network.window_size)) for share in WINDOW_SHARES})
    for done, length in enumerate(lengths, 1):
        try:
            mixed = _mixed([mixed, *_of_length(learnt, length, cancelled)], judged)
        except TrainingCancelled:
            if not course:
                raise
            break
        losses = {"train_loss": _error(mixed, learnt), "val_loss": _error(mixed, judged)}
        course.append({"epoch": done, **losses, "seconds": time.monotonic() - began})
        left = course[-1]["seconds"] / done * (len(lengths) - done)
        progress("epoch", epoch=done, done=done, of=len(lengths), **losses, eta_seconds=round(left, 1))
    network.take(mixed)
    whole = len(course) == len(lengths)
    return ClosedFormFit(course, len(course), "the longest window is solved" if whole else "the time is up")


def products_per_second(network: RidgeLinear) -> float:
    """How quickly this machine multiplies what the moments of such a network are made of."""
    histories = torch.zeros(_PIECE // 4, network.window_size + 1)
    both = torch.zeros(_PIECE // 4, network.window_size + 1 + network.future_steps)
    began = time.monotonic()
    histories.T @ both
    return histories.shape[1] * both.numel() / max(time.monotonic() - began, 1e-6)


def _moments(
    part: WindowSplit, network: RidgeLinear, products: float, cancelled: Callable[[], bool]
) -> list[NormalEquations]:
    """Of each target, or of all together where one map serves them all."""
    series = part.series
    each = len(series.targets) * (network.window_size + 1) * (network.window_size + 1 + series.steps)
    starts = part.subsample(max(1, int(products / each))).starts
    found = [_of_column(series.z[:, column], starts, network, cancelled) for column in series.targets]
    return found if network.maps > 1 else [_mean(found)]


def _of_column(
    column: NDArray[np.float32],
    starts: NDArray[np.int64],
    network: RidgeLinear,
    cancelled: Callable[[], bool],
) -> NormalEquations:
    window = network.window_size
    views = sliding_window_view(column, window + network.future_steps)
    inputs = torch.zeros(window + 1, window + 1, dtype=torch.float64)
    both = torch.zeros(window + 1, network.future_steps, dtype=torch.float64)
    future = 0.0
    for rows in np.array_split(starts, -(-len(starts) // _PIECE)):
        _go_on(cancelled)
        spans = torch.from_numpy(views[rows])
        level = spans[:, window - 1 : window] * network.residual_to_last
        histories = torch.cat([spans[:, :window] - level, torch.ones(len(rows), 1)], dim=1)
        futures = spans[:, window:] - level
        inputs += histories.T @ histories
        both += histories.T @ futures
        future += float((futures.double() ** 2).sum())
    if not torch.isfinite(inputs).all() or not torch.isfinite(both).all():
        raise TrainingFailed("The sums over the windows are no finite numbers: look for extreme values.")
    count = len(starts)
    return NormalEquations(inputs / count, both / count, future / (count * network.future_steps))


def _mean(moments: Sequence[NormalEquations]) -> NormalEquations:
    count = len(moments)
    inputs = sum((one.inputs for one in moments[1:]), moments[0].inputs) / count
    both = sum((one.both for one in moments[1:]), moments[0].both) / count
    return NormalEquations(inputs, both, sum(one.future for one in moments) / count)


def _stays(network: RidgeLinear) -> Tensor:
    """The maps of no change."""
    return torch.zeros(network.maps, network.window_size + 1, network.future_steps, dtype=torch.float64)


def _season_ago(network: RidgeLinear, season: int) -> list[Tensor]:
    """The maps that repeat the window's last season, where there is a whole one in it."""
    if not 0 < season <= network.window_size:
        return []
    maps, steps = _stays(network), torch.arange(network.future_steps)
    maps[:, network.window_size - season + steps % season, steps] = 1.0
    return [maps]


def _go_on(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise TrainingCancelled("The training was cancelled. Nothing has changed.")


def _of_length(
    moments: Sequence[NormalEquations], length: int, cancelled: Callable[[], bool]
) -> list[Tensor]:
    """Maps ``(maps, window + 1, steps)`` that look at the newest rows only: shared ones, and own ones."""
    inputs, both = _mean(moments).newest(length)
    absent = len(moments[0].both) - length - 1
    found = []
    for penalty in PENALTIES:
        _go_on(cancelled)
        ridge = _ridge(inputs, penalty)
        shared = torch.linalg.solve(inputs + ridge, both)
        maps = [shared.expand(len(moments), -1, -1)]
        if len(moments) > 1:
            pulled = ridge @ shared
            own = (one.newest(length) for one in moments)
            maps.append(torch.stack([torch.linalg.solve(g + ridge, b + pulled) for g, b in own]))
        found += [torch.nn.functional.pad(one, (0, 0, absent, 0)) for one in maps]
    return found


def _ridge(inputs: Tensor, penalty: float) -> Tensor:
    """The penalty on all weights but the constant's."""
    diagonal = torch.full((len(inputs),), penalty * float(inputs.diagonal()[:-1].mean()) + 1e-9)
    diagonal[-1] = 1e-9
    return torch.diag(diagonal.double())


def _mixed(candidates: Sequence[Tensor], judged: Sequence[NormalEquations]) -> Tensor:
    """The mean of the candidates that errs least, its weights positive and of sum one.

    The error of a mixture is a quadratic form of its weights, whose matrix the moments give.
    """
    products = torch.zeros(len(candidates), len(candidates), dtype=torch.float64)
    for place, moments in enumerate(judged):
        flat = torch.stack([maps[place].flatten() for maps in candidates])
        seen = torch.stack([(moments.inputs @ maps[place]).flatten() for maps in candidates])
        along = flat @ moments.both.flatten()
        products += flat @ seen.T - along[:, None] - along[None, :]
        products += moments.future * moments.both.shape[1]
    weights = torch.from_numpy(_simplex(products.numpy()))
    return sum((w * maps for w, maps in zip(weights, candidates, strict=True)), torch.zeros(()))


def _simplex(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights ``w >= 0`` of sum one with the least ``w @ products @ w``."""
    values, vectors = np.linalg.eigh(products / max(float(np.trace(products)), 1e-12))
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    count = len(products)
    found, _ = nnls(np.vstack([root, np.full((1, count), 1e3)]), np.r_[np.zeros(count), 1e3])
    weights: NDArray[np.float64] = found / found.sum()
    return weights


def _error(maps: Tensor, moments: Sequence[NormalEquations]) -> float:
    """Mean squared error, from the moments alone."""
    total = 0.0
    for one, weights in zip(moments, maps, strict=True):
        fit = float((weights * (one.inputs @ weights - 2 * one.both)).sum())
        total += one.future + fit / one.both.shape[1]
    return max(total / len(moments), 0.0)
