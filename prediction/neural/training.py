"""The one PyTorch epoch loop, for every neural family. It announces, never prints; what reacts is a listener.

An epoch's random numbers (order of the examples, dropout, augmentation) depend on the seed and the epoch's
number only, so a run that goes on from a checkpoint makes the same weights, bit by bit, as one never cut off.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from errors import NotEnoughData, TrainingCancelled, TrainingFailed
from prediction.contract import JSON, Progress, no_progress
from prediction.neural.callbacks import Callback, NeuralHyperparameters, TrainingRun
from prediction.neural.checkpoint import Checkpoint

MetricFunction = Callable[[Tensor, Tensor], Tensor]
"""Output and target of a batch in, their mean quality as a tensor of one number out: a loss, an accuracy."""

_VALIDATION_BATCH = 512


@dataclass(frozen=True)
class TrainingExamples:
    """Inputs and targets of a network, both with one example a first index.

    Parameters
    ----------
    inputs, targets : Tensor
        ``(n, …)``; strided views of a series cost no memory, whatever the number of windows.
    chosen : Tensor, optional
        int64 ``(m,)``: the examples that take part, where not all do.
    change : callable, optional
        Applied to the inputs of each training batch (augmentation).
    """

    inputs: Tensor
    targets: Tensor
    chosen: Tensor | None = None
    change: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def from_arrays(
        cls, inputs: NDArray[Any], targets: NDArray[Any], chosen: NDArray[np.int64] | None = None
    ) -> TrainingExamples:
        """Examples in NumPy arrays, which may be read-only views: nothing is copied and nothing written."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns of tensors over read-only memory
            rows = None if chosen is None else torch.from_numpy(chosen)
            return cls(torch.from_numpy(inputs), torch.from_numpy(targets), rows)

    def __len__(self) -> int:
        return len(self.inputs) if self.chosen is None else len(self.chosen)

    def batch(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """The examples at these positions, copied."""
        rows = order if self.chosen is None else self.chosen[order]
        return self.inputs[rows], self.targets[rows]

    def to(self, device: torch.device) -> TrainingExamples:
        """The same examples on a device; a view moves with what it looks at and stays a view."""
        if device.type == "cpu":
            return self
        chosen = None if self.chosen is None else self.chosen.to(device)
        return TrainingExamples(
            _moved(self.inputs, device), _moved(self.targets, device), chosen, self.change
        )


def fit(
    network: nn.Module,
    train: TrainingExamples,
    validation: TrainingExamples | None,
    recipe: NeuralHyperparameters,
    *,
    loss: MetricFunction | None = None,
    measures: Mapping[str, MetricFunction] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainingRun:
    """Train with Adam; the network is changed in place and ends with its best epoch's weights, on the CPU.

    Parameters
    ----------
    measures : mapping, optional
        Further qualities, kept as ``train_<name>`` and ``val_<name>`` of each epoch.
    progress : callable
        Told ``epoch, done, of, train_loss, val_loss, eta_seconds`` and the measures after each epoch.
    checkpoint : Checkpoint, optional
        Written between epochs; a run of the same identity goes on from it.

    Returns
    -------
    Run
        With its history, best epoch and, where it ended early, why.

    Raises
    ------
    TrainingFailed, TrainingCancelled
        The loss is not a finite number; ``cancelled`` said so.
    """
    device = pick_device(recipe.device)
    network.to(device)
    run = TrainingRun(network, _adam(network, recipe, device), recipe)
    goals = {"loss": loss or nn.functional.mse_loss, **(measures or {})}
    parts = train.to(device), validation and validation.to(device)
    if checkpoint is not None:
        checkpoint.resume(run, callbacks)
    while run.epoch < recipe.epochs and not run.stopped:
        run.history.append(_one_epoch(run, *parts, goals, cancelled))
        _react(run, callbacks, checkpoint)
        progress("epoch", **_announcement(run))
    network.load_state_dict(run.best)
    network.to("cpu").eval()
    return run


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name; ``"auto"`` is CUDA where there is a GPU and the CPU otherwise."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def predict(network: nn.Module, inputs: Tensor, batch_size: int = _VALIDATION_BATCH) -> Tensor:
    """Outputs for all inputs ``(n, …)``, batch by batch, without gradients."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(batch.contiguous()) for batch in torch.split(inputs, batch_size)])


def epoch_seed(seed: int, epoch: int) -> int:
    """One number for seed and epoch; neighbours are far apart, so two runs never share an epoch's order."""
    return (seed * 1_000_003 + epoch * 7_919) % 2**63


def _react(run: TrainingRun, callbacks: Sequence[Callback], checkpoint: Checkpoint | None) -> None:
    """What happens between two epochs; the checkpoint comes last, so that it holds what the listeners did."""
    run.keep_best()
    for listener in callbacks:
        listener.on_epoch_end(run)
    if checkpoint is not None and checkpoint.is_due():
        checkpoint.keep(run, callbacks)


def _one_epoch(
    run: TrainingRun,
    train: TrainingExamples,
    validation: TrainingExamples | None,
    goals: Mapping[str, MetricFunction],
    cancelled: Callable[[], bool],
) -> JSON:
    if not len(train):
        raise NotEnoughData("There is no training example")
    began = time.monotonic()
    epoch = run.epoch + 1
    torch.manual_seed(epoch_seed(run.recipe.seed, epoch))
    rate = run.optimiser.param_groups[0]["lr"]
    learnt = _learn(run, train, goals, cancelled)
    facts: JSON = {"epoch": epoch, "train_loss": learnt.pop("loss"), "val_loss": None}
    facts |= {f"train_{name}": value for name, value in learnt.items()}
    if validation is not None and len(validation):
        facts |= {
            f"val_{name}": value for name, value in evaluate_network(run.network, validation, goals).items()
        }
    if not math.isfinite(facts["train_loss"] + (facts["val_loss"] or 0.0)):
        raise TrainingFailed(
            f"The loss is no finite number in epoch {epoch}: "
            "try a lower learning rate, or look for extreme values in the data."
        )
    return {**facts, "learning_rate": rate, "seconds": time.monotonic() - began}


def _learn(
    run: TrainingRun,
    train: TrainingExamples,
    goals: Mapping[str, MetricFunction],
    cancelled: Callable[[], bool],
) -> dict[str, float]:
    """One pass over the shuffled examples. Sums stay on the device: reading one would wait for the GPU."""
    network, optimiser, recipe = run.network, run.optimiser, run.recipe
    device = train.targets.device
    precise = _precision(device, recipe)
    loss_of = goals["loss"]
    sums = {name: torch.zeros((), device=device) for name in goals}
    network.train()
    order = torch.randperm(len(train)).to(device)
    for positions in torch.split(order, recipe.batch_size):
        if cancelled():
            raise TrainingCancelled("The training was cancelled. Nothing has changed.")
        inputs, targets = train.batch(positions)
        if train.change is not None:
            inputs = train.change(inputs)
        with precise:
            output = network(inputs)
            loss = loss_of(output, targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), recipe.max_gradient_norm)
        optimiser.step()
        sums["loss"] += loss.detach() * len(positions)
        _add(sums, goals, output.detach(), targets)
    return {name: float(total) / len(train) for name, total in sums.items()}


def evaluate_network(
    network: nn.Module, examples: TrainingExamples, goals: Mapping[str, MetricFunction]
) -> dict[str, float]:
    """The mean of each goal over all examples, in evaluation mode."""
    device = examples.targets.device
    sums = {name: torch.zeros((), dtype=torch.float64, device=device) for name in goals}
    network.eval()
    with torch.inference_mode():
        for positions in torch.split(torch.arange(len(examples), device=device), _VALIDATION_BATCH):
            inputs, targets = examples.batch(positions)
            output = network(inputs)
            for name, goal in goals.items():
                sums[name] += goal(output, targets) * len(positions)
    return {name: float(total) / len(examples) for name, total in sums.items()}


def _add(
    sums: dict[str, Tensor], goals: Mapping[str, MetricFunction], output: Tensor, targets: Tensor
) -> None:
    if len(sums) == 1:
        return
    with torch.no_grad():
        for name, goal in goals.items():
            if name != "loss":
                sums[name] += goal(output, targets) * len(targets)


def _precision(device: torch.device, recipe: NeuralHyperparameters) -> torch.autocast:
    mixed = recipe.mixed_precision and device.type == "cuda"
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed)


def _adam(network: nn.Module, recipe: NeuralHyperparameters, device: torch.device) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        network.parameters(),
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        fused=device.type in {"cpu", "cuda"},
    )


def _announcement(run: TrainingRun) -> JSON:
    last = run.history[-1]
    left = 0 if run.stopped else run.recipe.epochs - run.epoch
    recent = [entry["seconds"] for entry in run.history[-5:]]
    facts = {name: value for name, value in last.items() if name not in {"seconds", "learning_rate"}}
    eta = round(left * sum(recent) / len(recent), 1)
    return {**facts, "done": run.epoch, "of": run.recipe.epochs, "eta_seconds": eta}


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Overlapping windows are moved as the series they look at, not window by window."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if extent >= tensor.numel():
        return tensor.to(device)
    series = tensor.as_strided((extent,), (1,)).to(device)
    return series.as_strided(tensor.shape, tensor.stride())
