"""The state of a training run, and the callbacks that react to its epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict

import torch
from torch import Tensor, nn


class EpochRecord(TypedDict):
    """The numbers of one epoch, as ``training_history.json`` stores them.

    ``val_loss`` is None where there are no validation examples. A solution in closed form has no learning rate, and
    only classifiers have an accuracy.
    """

    epoch: int
    train_loss: float
    val_loss: float | None
    train_accuracy: NotRequired[float]
    val_accuracy: NotRequired[float]
    learning_rate: NotRequired[float]
    seconds: float


@dataclass(frozen=True)
class NeuralHyperparameters:
    """How a network is trained.

    Parameters
    ----------
    device : str
        ``"auto"`` (CUDA where there is a GPU), or a device's name.
    mixed_precision : bool
        Use bfloat16 on a GPU; a CPU always computes in float32.
    max_gradient_norm : float, optional
        Norm to which the gradients of a step are clipped.
    """

    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    seed: int = 42
    device: str = "auto"
    mixed_precision: bool = True
    max_gradient_norm: float | None = None


@dataclass
class TrainingRun:
    """A training in progress, as callbacks see it.

    Parameters
    ----------
    history : list of EpochRecord
    best, best_epoch : dict, int
        Weights with the lowest validation loss so far and their epoch.
    stop_reason : str
        Why the run ends before its last epoch; empty while it continues.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    hyperparameters: NeuralHyperparameters
    history: list[EpochRecord] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = math.inf
    stop_reason: str = ""

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return len(self.history)

    def keep_best(self) -> None:
        """Copy the weights if the last epoch was the best; without validation, always."""
        loss = self.history[-1]["val_loss"]
        if loss is None or loss < self.best_loss:
            self.best_loss = math.inf if loss is None else loss
            self.best_epoch = self.epoch
            self.best = {name: value.detach().clone() for name, value in self.network.state_dict().items()}

    def scale_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate of every parameter group."""
        for group in self.optimizer.param_groups:
            group["lr"] *= factor


class Callback:
    """Reacts to the end of an epoch; a checkpoint stores and restores its ``state``."""

    state: dict[str, float]

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Read ``run.history[-1]``; change the learning rate, or set ``run.stop_reason``."""


class EarlyStopping(Callback):
    """Stops when the validation loss has not fallen for ``patience`` epochs; 0 never stops."""

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.state = {}

    def on_epoch_end(self, run: TrainingRun) -> None:
        waited = run.epoch - run.best_epoch
        if self.patience and waited >= self.patience:
            run.stop_reason = f"no better validation loss for {waited} epochs"


class ReduceOnPlateau(Callback):
    """Multiplies the learning rate by ``factor`` after ``patience`` epochs without a better loss."""

    def __init__(self, factor: float = 0.5, patience: int = 3) -> None:
        self.factor = factor
        self.patience = patience
        self.state = {"since": 0}

    def on_epoch_end(self, run: TrainingRun) -> None:
        last = max(run.best_epoch, self.state["since"])
        if run.epoch - last >= self.patience:
            self.state["since"] = run.epoch
            run.scale_learning_rate(self.factor)


class ExponentialDecay(Callback):
    """Multiplies the learning rate by ``factor`` after every epoch from epoch ``start`` on."""

    def __init__(self, factor: float, start: int = 1) -> None:
        self.factor = factor
        self.start = start
        self.state = {}

    def on_epoch_end(self, run: TrainingRun) -> None:
        if run.epoch >= self.start:
            run.scale_learning_rate(self.factor)


class ReplayLearningRates(Callback):
    """Gives each epoch the learning rate that it had in another run; ``history`` is that run's."""

    def __init__(self, history: Sequence[EpochRecord]) -> None:
        self.history = history
        self.state = {}

    def on_epoch_end(self, run: TrainingRun) -> None:
        if run.epoch < len(self.history):
            for group in run.optimizer.param_groups:
                group["lr"] = self.history[run.epoch]["learning_rate"]


class CosineAnnealing(Callback):
    """Lowers the rate along half a cosine to zero at the last epoch (Loshchilov and Hutter, 2017)."""

    def __init__(self) -> None:
        self.state = {}

    def on_epoch_end(self, run: TrainingRun) -> None:
        share = 0.5 * (1.0 + math.cos(math.pi * run.epoch / run.hyperparameters.epochs))
        for group in run.optimizer.param_groups:
            group["lr"] = run.hyperparameters.learning_rate * share
