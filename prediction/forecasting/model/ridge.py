"""Linear forecasts without an epoch: ridge regression in closed form, and a mixture of several of them.

What a linear map can learn of a series is determined by the series' second moments; solved in closed form,
such forecasters do as well as trained ones or better (Toner and Darlow, ICML 2024). Maps are solved for several
lengths of the window and several penalties: shared by all targets, and each target's own, pulled towards the
shared one. Starting with "the last value stays" and "the last season repeats", the maps of each length are mixed
with the mixture so far, by positive weights of sum one with the least error on the validation windows. A mixture
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
from prediction.contract import Progress, no_progress
from prediction.forecasting.data.series import WindowSplit
from prediction.forecasting.networks import RidgeLinear
from prediction.neural.callbacks import EpochRecord

# Shares of the window that maps use: its newest rows.
WINDOW_SHARES = (0.0625, 0.125, 0.25, 0.5, 0.7, 1.0)
# Of the squared weights, in mean variances of an input.
PENALTIES = (0.01, 0.1, 1.0)
# Multiplications for the normal equations of one split: half a minute of a core.
MAX_PRODUCTS = 3e11
_CHUNK_WINDOWS = 4096
# In the normal equations of all targets together: half a gigabyte.
_MAX_NUMBERS = 64_000_000
# Weight of "the weights sum to one" in the non-negative least squares; it is met exactly afterwards.
_SUM_WEIGHT = 1e3


@dataclass(frozen=True)
class ClosedFormFit:
    """The course of a solution, in the form of a `TrainingRun`: one entry a window length, from the shortest.

    Parameters
    ----------
    mixing : tuple of ndarray
        Weights of each mixture, the naive one first; a second fit to more rows uses them again.
    """

    history: list[EpochRecord]
    best_epoch: int
    stop_reason: str = ""
    mixing: tuple[NDArray[np.float64], ...] = ()


@dataclass(frozen=True)
class NormalEquations:
    """Mean products of inputs (history and a one) and futures of one target.

    Parameters
    ----------
    inputs : Tensor of float64, shape (window + 1, window + 1)
    cross : Tensor of float64, shape (window + 1, steps)
        Of inputs and futures.
    future : float
        Mean square of a future value, relative to the level.
    """

    inputs: Tensor
    cross: Tensor
    future: float

    def newest(self, length: int) -> tuple[Tensor, Tensor]:
        """Return the products of the newest rows of the window and of the one."""
        first = len(self.inputs) - 1 - length
        return self.inputs[first:, first:], self.cross[first:]

    def error(self, weights: Tensor) -> float:
        """Return the mean squared error of a map ``(window + 1, steps)``."""
        explained = float((weights * (self.inputs @ weights - 2 * self.cross)).sum())
        return self.future + explained / self.cross.shape[1]


def num_maps(targets: int, window: int, steps: int) -> int:
    """Return how many linear maps a network has: one a target, or one for all where memory is short."""
    return targets if 2 * targets * (window + 1) * (window + 1 + steps) <= _MAX_NUMBERS else 1


def solve_ridge(
    network: RidgeLinear,
    train: WindowSplit,
    validation: WindowSplit,
    progress: Progress = no_progress,
    *,
    max_products: float = MAX_PRODUCTS,
    cancelled: Callable[[], bool] = lambda: False,
) -> ClosedFormFit:
    """Set the network's weights; deterministic, in memory that does not grow with the number of windows.

    Progress is reported like a network's epochs, one a window length.

    Parameters
    ----------
    max_products : float
        Of more windows than so many multiplications allow, some are left out evenly.
    cancelled : callable
        Called between pieces of the work; the lengths that were solved until then count.

    Raises
    ------
    TrainingFailed
        The data has values so extreme that the normal equations are no finite numbers.
    TrainingCancelled
        ``cancelled`` returned True before one length was solved.
    """
    started = time.monotonic()
    train_equations = _build_equations(train, network, max_products, cancelled)
    validation_equations = _build_equations(validation, network, max_products, cancelled)
    history: list[EpochRecord] = []
    mixing = [_find_mixture(candidates := _naive_maps(network, train.series.season), validation_equations)]
    mixture = _combine(candidates, mixing[0])
    lengths = _list_lengths(network)
    for epoch, length in enumerate(lengths, 1):
        try:
            candidates = [mixture, *_solve_length(train_equations, length, cancelled)]
        except TrainingCancelled:
            if not history:
                raise
            break
        mixing.append(_find_mixture(candidates, validation_equations))
        mixture = _combine(candidates, mixing[-1])
        train_loss = _mean_error(mixture, train_equations)
        val_loss = _mean_error(mixture, validation_equations)
        seconds = time.monotonic() - started
        history.append({"epoch": epoch, "train_loss": train_loss, "val_loss": val_loss, "seconds": seconds})
        progress(
            "epoch",
            epoch=epoch,
            done=epoch,
            of=len(lengths),
            train_loss=train_loss,
            val_loss=val_loss,
            eta_seconds=round(seconds / epoch * (len(lengths) - epoch), 1),
        )
    network.set_weights(mixture)
    is_complete = len(history) == len(lengths)
    reason = "the longest window is solved" if is_complete else "the time is up"
    return ClosedFormFit(history, len(history), reason, tuple(mixing))


def resolve_ridge(
    network: RidgeLinear, windows: WindowSplit, fit: ClosedFormFit, *, max_products: float = MAX_PRODUCTS
) -> None:
    """Solve the maps of an earlier fit again, on other windows, and mix them as then."""
    equations = _build_equations(windows, network, max_products, lambda: False)
    mixture = _combine(_naive_maps(network, windows.series.season), fit.mixing[0])
    for length, weights in zip(_list_lengths(network), fit.mixing[1:], strict=False):
        mixture = _combine([mixture, *_solve_length(equations, length, lambda: False)], weights)
    network.set_weights(mixture)


def _list_lengths(network: RidgeLinear) -> list[int]:
    return sorted({max(1, round(share * network.window_size)) for share in WINDOW_SHARES})


def measure_products_per_second(network: RidgeLinear) -> float:
    """Measure how quickly this machine computes the normal equations of such a network."""
    histories = torch.zeros(_CHUNK_WINDOWS // 4, network.window_size + 1)
    both = torch.zeros(_CHUNK_WINDOWS // 4, network.window_size + 1 + network.future_steps)
    started = time.monotonic()
    histories.T @ both
    return histories.shape[1] * both.numel() / max(time.monotonic() - started, 1e-6)


def _build_equations(
    split: WindowSplit, network: RidgeLinear, max_products: float, cancelled: Callable[[], bool]
) -> list[NormalEquations]:
    """Return the equations of each target, or of all together where one map serves them all."""
    series = split.series
    products = len(series.targets) * (network.window_size + 1) * (network.window_size + 1 + series.steps)
    starts = split.subsample(max(1, int(max_products / products))).starts
    equations = [
        _build_target_equations(series.z[:, column], starts, network, cancelled) for column in series.targets
    ]
    return equations if network.maps > 1 else [_average(equations)]


def _build_target_equations(
    column: NDArray[np.float32],
    starts: NDArray[np.int64],
    network: RidgeLinear,
    cancelled: Callable[[], bool],
) -> NormalEquations:
    window = network.window_size
    views = sliding_window_view(column, window + network.future_steps)
    inputs = torch.zeros(window + 1, window + 1, dtype=torch.float64)
    cross = torch.zeros(window + 1, network.future_steps, dtype=torch.float64)
    future = 0.0
    for rows in np.array_split(starts, -(-len(starts) // _CHUNK_WINDOWS)):
        _raise_if(cancelled)
        spans = torch.from_numpy(views[rows])
        level = spans[:, window - 1 : window] * network.residual_to_last
        histories = torch.cat([spans[:, :window] - level, torch.ones(len(rows), 1)], dim=1)
        futures = spans[:, window:] - level
        # float32 products of one chunk, summed in float64: four times as fast and exact enough.
        inputs += histories.T @ histories
        cross += histories.T @ futures
        future += float((futures.double() ** 2).sum())
    if not torch.isfinite(inputs).all() or not torch.isfinite(cross).all():
        raise TrainingFailed("The sums over the windows are no finite numbers: look for extreme values.")
    count = len(starts)
    return NormalEquations(inputs / count, cross / count, future / (count * network.future_steps))


def _average(equations: Sequence[NormalEquations]) -> NormalEquations:
    count = len(equations)
    # Summed one by one: a stack would hold the equations of all targets a second time.
    inputs = sum((target.inputs for target in equations[1:]), equations[0].inputs)
    cross = sum((target.cross for target in equations[1:]), equations[0].cross)
    future = sum(target.future for target in equations)
    return NormalEquations(inputs / count, cross / count, future / count)


def _naive_maps(network: RidgeLinear, season: int) -> list[Tensor]:
    """Return maps that keep the last value and, if the window holds a season, that repeat the last one."""
    shape = network.maps, network.window_size + 1, network.future_steps
    last_value = torch.zeros(shape, dtype=torch.float64)
    if not 0 < season <= network.window_size:
        return [last_value]
    last_season, steps = torch.zeros(shape, dtype=torch.float64), torch.arange(network.future_steps)
    last_season[:, network.window_size - season + steps % season, steps] = 1.0
    return [last_value, last_season]


def _raise_if(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise TrainingCancelled("The training was cancelled. Nothing has changed.")


def _solve_length(
    equations: Sequence[NormalEquations], length: int, cancelled: Callable[[], bool]
) -> list[Tensor]:
    """Return maps ``(maps, window + 1, steps)`` that use the newest rows only: shared and own ones."""
    inputs, cross = _average(equations).newest(length)
    unused_rows = len(equations[0].cross) - length - 1
    maps = []
    for penalty in PENALTIES:
        _raise_if(cancelled)
        # All weights are penalised but that of the constant.
        diagonal = torch.full((len(inputs),), penalty * float(inputs.diagonal()[:-1].mean()) + 1e-9)
        diagonal[-1] = 1e-9
        ridge = torch.diag(diagonal.double())
        shared = torch.linalg.solve(inputs + ridge, cross)
        solutions = [shared.expand(len(equations), -1, -1)]
        if len(equations) > 1:
            # Ridge regression towards the shared map instead of towards zero.
            pull = ridge @ shared
            newest = (target.newest(length) for target in equations)
            solutions.append(torch.stack([torch.linalg.solve(g + ridge, b + pull) for g, b in newest]))
        maps += [torch.nn.functional.pad(solution, (0, 0, unused_rows, 0)) for solution in solutions]
    return maps


def _combine(candidates: Sequence[Tensor], weights: NDArray[np.float64]) -> Tensor:
    """Return the weighted sum of some maps."""
    shares = torch.from_numpy(weights)
    return sum((share * maps for share, maps in zip(shares, candidates, strict=True)), torch.zeros(()))


def _find_mixture(candidates: Sequence[Tensor], equations: Sequence[NormalEquations]) -> NDArray[np.float64]:
    """Return the weights, positive and of sum one, with which the mean of the candidates errs least.

    The error of a mixture is a quadratic form of its weights, whose matrix follows from the equations.
    """
    products = torch.zeros(len(candidates), len(candidates), dtype=torch.float64)
    for number, target in enumerate(equations):
        flat = torch.stack([maps[number].flatten() for maps in candidates])
        images = torch.stack([(target.inputs @ maps[number]).flatten() for maps in candidates])
        along = flat @ target.cross.flatten()
        products += flat @ images.T - along[:, None] - along[None, :]
        products += target.future * target.cross.shape[1]
    return _minimise_on_simplex(products.numpy())


def _minimise_on_simplex(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights ``w >= 0`` of sum one with the least ``w @ products @ w``."""
    # nnls minimises a norm, so the quadratic form is written as one: by a square root of its matrix,
    # scaled to trace one so that the weight of the sum is always large beside it.
    values, vectors = np.linalg.eigh(products / max(float(np.trace(products)), 1e-12))
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    count = len(products)
    matrix = np.vstack([root, np.full((1, count), _SUM_WEIGHT)])
    solution, _ = nnls(matrix, np.append(np.zeros(count), _SUM_WEIGHT))
    weights: NDArray[np.float64] = solution / solution.sum()
    return weights


def _mean_error(maps: Tensor, equations: Sequence[NormalEquations]) -> float:
    errors = [target.error(weights) for target, weights in zip(equations, maps, strict=True)]
    return max(sum(errors) / len(errors), 0.0)
