"""What learns: one network, or several from different seeds, in the shared loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prediction.contract import JSON, Progress, no_progress
from prediction.neural.callbacks import (
    Callback,
    CosineAnnealing,
    EarlyStopping,
    NeuralHyperparameters,
    ReduceOnPlateau,
    TrainingRun,
)
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.training import TrainingExamples, fit, predict
from prediction.rul.data.windows import FleetSplit
from prediction.rul.evaluation.intervals import Residuals
from prediction.rul.networks import QUANTILES, Ensemble, build

_SEEDS_APART = 1_009
_LARGEST_GRADIENT = 1.0
_JITTER = 0.3
"""In standard deviations of a channel: chosen on training engines, see docs/BENCHMARKS.md."""


@dataclass(frozen=True)
class RulModel:
    """A trained network with everything that its saved copy needs.

    Parameters
    ----------
    network : Module
        Windows in, hours out; with quantiles the middle one is the answer.
    runs : list of Run
        The training of each member.
    residuals : Residuals
        What the validation devices taught about the answers' errors.
    """

    network: nn.Module
    runs: list[TrainingRun]
    residuals: Residuals
    options: JSON


def train_networks(
    train: FleetSplit,
    validation: FleetSplit,
    options: JSON,
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
) -> RulModel:
    """Train the members one after the other; epochs are announced through all of them."""
    members: list[nn.Module] = []
    runs: list[TrainingRun] = []
    for number in range(options["members"]):
        chosen = {**options, "seed": options["seed"] + number * _SEEDS_APART}
        member = build(train.fleet.matrix.shape[1], options, chosen["seed"])
        run = fit(
            member,
            replace(_examples(train), augment=_offsets(options)),
            _examples(validation),
            recipe(chosen),
            loss=_loss(options),
            callbacks=callbacks(options),
            progress=_told(progress, number, options),
            checkpoint=checkpoint and checkpoint.for_member(number),
        )
        members.append(member)
        runs.append(run)
    network = members[0] if len(members) == 1 else Ensemble(members).eval()
    horizon = options["prediction_horizon_hours"]
    residuals = Residuals.of(
        predict_hours(network, validation, horizon), validation.targets, validation.devices
    )
    return RulModel(network, runs, residuals, options)


def _told(progress: Progress, number: int, options: JSON) -> Progress:
    """One count of epochs over all members."""

    def tell(stage: str, **facts: Any) -> None:
        done = facts.get("done", 0) + number * options["epochs"]
        progress(stage, **{**facts, "done": done, "of": options["epochs"] * options["members"]})

    return tell if options["members"] > 1 else progress


def recipe(options: JSON) -> NeuralHyperparameters:
    """How the loop trains, from the options."""
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "seed")
    return NeuralHyperparameters(
        **{name: options[name] for name in names}, max_gradient_norm=_LARGEST_GRADIENT
    )


def callbacks(options: JSON) -> list[Callback]:
    """A rate that falls along a cosine, or is halved on a plateau; the end when patience is at its end."""
    patience = options["early_stopping_patience"]
    falling = (
        CosineAnnealing() if options["schedule"] == "cosine" else ReduceOnPlateau(0.5, max(2, patience // 3))
    )
    return [falling, EarlyStopping(patience)]


def _loss(options: JSON) -> Any:
    """Squared error, or the pinball loss of the quantiles; both in shares of the horizon."""
    horizon = float(options["prediction_horizon_hours"])

    def squared(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.mse_loss(output.squeeze(1) / horizon, target / horizon)

    def pinball(output: Tensor, target: Tensor) -> Tensor:
        off = (target.unsqueeze(1) - output) / horizon
        levels = torch.tensor(QUANTILES, device=off.device)
        return torch.maximum(levels * off, (levels - 1) * off).mean()

    return pinball if options["output"] == "quantiles" else squared


def _examples(part: FleetSplit) -> TrainingExamples:
    """The windows of a part as the loop takes them: views of the one matrix."""
    fleet = part.fleet
    return TrainingExamples.from_arrays(fleet.views(), fleet.targets_at_starts(), fleet.starts(part.rows))


def _offsets(options: JSON) -> Callable[[Tensor], Tensor] | None:
    """What moves each channel of each training window as a whole, at random.

    Devices differ by such offsets from the day they are built. With few of them a recurrent network learns
    the devices by heart, and not their wear.
    """
    size = options["jitter"]
    if size is None:
        size = _JITTER if options["model_type"] != "mlp" else 0.0

    def moved(windows: Tensor) -> Tensor:
        offsets = torch.randn(len(windows), 1, windows.shape[2], device=windows.device)
        return torch.add(windows, offsets, alpha=size)

    return moved if size else None


def predict_hours(network: nn.Module, part: FleetSplit, horizon_hours: float) -> NDArray[np.float64]:
    """The network's answers for a part, between nothing and the horizon."""
    pieces = [np.arange(start, min(start + 4096, len(part))) for start in range(0, len(part), 4096)]
    found = [
        point_predictions(predict(network, torch.from_numpy(part.windows(piece))).numpy()) for piece in pieces
    ]
    return np.clip(np.concatenate(found), 0.0, horizon_hours).astype(np.float64)


def point_predictions(output: NDArray[np.float32]) -> NDArray[np.float32]:
    """The point answers of outputs ``(n, 1)``, or of quantiles their middle one."""
    return output[:, output.shape[1] // 2]
