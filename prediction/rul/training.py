"""Training of one network, or of several with different seeds, in the shared epoch loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prediction.contract import Options, Progress, no_progress
from prediction.neural.callbacks import Callback, CosineAnnealing, EarlyStopping, TrainingRun
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.family import default_callbacks, read_hyperparameters
from prediction.neural.training import MetricFunction, TrainingExamples, fit, predict
from prediction.rul.data.windows import FleetSplit
from prediction.rul.evaluation.intervals import Residuals
from prediction.rul.networks import QUANTILES, Ensemble, build_network

_SEED_STEP: Final = 1_009
_MAX_GRADIENT_NORM: Final = 1.0
# In standard deviations of a channel; chosen on training engines, see docs/BENCHMARKS.md.
_DEFAULT_JITTER: Final = 0.3
_BATCH_SIZE: Final = 4_096


@dataclass(frozen=True)
class RulModel:
    """A trained network with everything that its saved copy needs.

    Parameters
    ----------
    network : Module
        Windows in, hours out; of quantiles the middle one is the prediction.
    runs : list of TrainingRun
        The training of each member.
    residuals : Residuals
        The errors on the validation devices.
    """

    network: nn.Module
    runs: list[TrainingRun]
    residuals: Residuals
    options: Options


def train_networks(
    train: FleetSplit,
    validation: FleetSplit,
    options: Options,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
) -> RulModel:
    """Train the members one after the other; progress counts the epochs of all of them."""
    members: list[nn.Module] = []
    runs: list[TrainingRun] = []
    for number in range(options["members"]):
        member_options = {**options, "seed": options["seed"] + number * _SEED_STEP}
        member = build_network(train.runs.matrix.shape[1], options, member_options["seed"])
        run = fit(
            member,
            replace(_to_examples(train), augment=choose_augmentation(options)),
            _to_examples(validation),
            read_hyperparameters(member_options, _MAX_GRADIENT_NORM),
            loss=create_loss(options),
            callbacks=_create_callbacks(options),
            progress=_count_over_members(progress, number, options),
            checkpoint=checkpoint and checkpoint.for_member(number),
        )
        members.append(member)
        runs.append(run)
    network = members[0] if len(members) == 1 else Ensemble(members).eval()
    predictions = predict_hours(network, validation, options["prediction_horizon_hours"])
    residuals = Residuals.fit(predictions, validation.targets, validation.devices)
    return RulModel(network, runs, residuals, options)


def predict_hours(network: nn.Module, split: FleetSplit, horizon_hours: float) -> NDArray[np.float64]:
    """Return the predictions for a split, between 0 and the horizon."""
    batches = [
        predict(network, torch.from_numpy(split.windows(slice(start, start + _BATCH_SIZE)))).numpy()
        for start in range(0, len(split), _BATCH_SIZE)
    ]
    predictions = point_predictions(np.concatenate(batches))
    return np.clip(predictions, 0.0, horizon_hours).astype(np.float64)


def point_predictions(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the predictions of outputs ``(n, 1)``, or of quantiles their middle one."""
    return output[:, output.shape[1] // 2]


def choose_augmentation(options: Options) -> Callable[[Tensor], Tensor] | None:
    """Return a function that shifts each channel of each training window by a random offset.

    Devices differ by such offsets from the day they are built. With few devices a recurrent network learns
    the offsets by heart, and not the wear.
    """
    size = options["jitter"]
    if size is None:
        size = _DEFAULT_JITTER if options["model_type"] != "mlp" else 0.0

    def shift(windows: Tensor) -> Tensor:
        offsets = torch.randn(len(windows), 1, windows.shape[2], device=windows.device)
        return torch.add(windows, offsets, alpha=size)

    return shift if size else None


def _to_examples(split: FleetSplit) -> TrainingExamples:
    """Return the windows of a split as views of the one matrix."""
    runs = split.runs
    return TrainingExamples.from_arrays(runs.windows(), runs.targets_of_windows(), runs.starts(split.rows))


def _create_callbacks(options: Options) -> list[Callback]:
    if options["schedule"] == "cosine":
        return [CosineAnnealing(), EarlyStopping(options["early_stopping_patience"])]
    return default_callbacks(options["early_stopping_patience"])


def create_loss(options: Options) -> MetricFunction:
    """Return the squared error, or the pinball loss of the quantiles; both in shares of the horizon.

    Errors near the failure count more where the options say so: few windows lie there, and without a weight a
    network pays for the many that are far from it by calling the last hours too late.
    """
    horizon, ramp = float(options["prediction_horizon_hours"]), max(float(options["warning_hours"]), 1e-9)
    extra = float(options["end_weight"]) - 1.0

    def average(losses: Tensor, target: Tensor) -> Tensor:
        if not extra:
            return losses.mean()
        weights = 1.0 + extra * (1.0 - target / ramp).clamp(min=0.0)
        return (weights * losses).sum() / weights.sum()

    def squared_error(output: Tensor, target: Tensor) -> Tensor:
        return average(((output.squeeze(1) - target) / horizon) ** 2, target)

    def pinball_loss(output: Tensor, target: Tensor) -> Tensor:
        errors = (target.unsqueeze(1) - output) / horizon
        levels = torch.tensor(QUANTILES, device=errors.device)
        return average(torch.maximum(levels * errors, (levels - 1) * errors).mean(dim=1), target)

    return pinball_loss if options["output"] == "quantiles" else squared_error


def _count_over_members(progress: Progress, number: int, options: Options) -> Progress:
    """Return a progress that counts the epochs of all members as one."""

    def report(stage: str, **facts: object) -> None:
        done = facts.get("done", 0) + number * options["epochs"]
        progress(stage, **{**facts, "done": done, "of": options["epochs"] * options["members"]})

    return report if options["members"] > 1 else progress
