"""The one PyTorch epoch loop of every neural family. It prints nothing; callbacks react to its epochs.

The random numbers of an epoch (order of the examples, dropout, augmentation) depend on the seed and the
number of the epoch only. A run that resumes from a checkpoint therefore ends with the same weights, bit by
bit, as a run that was never interrupted.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from errors import NotEnoughData, TrainingCancelled, TrainingFailed
from prediction.contract import Progress, no_progress
from prediction.neural.callbacks import Callback, EpochRecord, NeuralHyperparameters, TrainingRun
from prediction.neural.checkpoint import Checkpoint

# Output and target of a batch in, their mean loss or quality as a tensor of one number out.
MetricFunction = Callable[[Tensor, Tensor], Tensor]

_EVALUATION_BATCH_SIZE = 512


@dataclass(frozen=True)
class TrainingExamples:
    """Inputs and targets of a network, both with one example for each first index.

    Parameters
    ----------
    inputs, targets : Tensor
        ``(n, …)``; strided views of a series cost no memory, whatever the number of windows.
    indices : Tensor, optional
        int64 ``(m,)``: the examples that take part, where not all do.
    augment : callable, optional
        Applied to the inputs of each training batch.
    """

    inputs: Tensor
    targets: Tensor
    indices: Tensor | None = None
    augment: Callable[[Tensor], Tensor] | None = None

    @classmethod
    def from_arrays(
        cls,
        inputs: NDArray[np.generic],
        targets: NDArray[np.generic],
        indices: NDArray[np.int64] | None = None,
    ) -> TrainingExamples:
        """Wrap NumPy arrays, which may be read-only views: nothing is copied and nothing written."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns of tensors over read-only memory
            rows = None if indices is None else torch.from_numpy(indices)
            return cls(torch.from_numpy(inputs), torch.from_numpy(targets), rows)

    def __len__(self) -> int:
        return len(self.inputs) if self.indices is None else len(self.indices)

    def batch(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Copy the inputs and targets at these positions."""
        rows = positions if self.indices is None else self.indices[positions]
        return self.inputs[rows], self.targets[rows]

    def to(self, device: torch.device) -> TrainingExamples:
        """Return the same examples on a device; views stay views of one series."""
        if device.type == "cpu":
            return self
        indices = None if self.indices is None else self.indices.to(device)
        inputs, targets = move_to_device(self.inputs, device), move_to_device(self.targets, device)
        return TrainingExamples(inputs, targets, indices, self.augment)


def fit(
    network: nn.Module,
    train: TrainingExamples,
    validation: TrainingExamples | None,
    hyperparameters: NeuralHyperparameters,
    *,
    loss: MetricFunction | None = None,
    accuracy: MetricFunction | None = None,
    callbacks: Sequence[Callback] = (),
    progress: Progress = no_progress,
    checkpoint: Checkpoint | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> TrainingRun:
    """Train with Adam. The network is changed in place and ends with its best weights, on the CPU.

    Parameters
    ----------
    accuracy : callable, optional
        Recorded as ``train_accuracy`` and ``val_accuracy`` of each epoch.
    progress : callable
        Gets ``epoch, done, of, train_loss, val_loss, eta_seconds`` and the accuracies after each epoch.
    checkpoint : Checkpoint, optional
        Written between epochs; a run with the same identity resumes from it.

    Returns
    -------
    TrainingRun
        With its history, its best epoch and the reason where it ended early.

    Raises
    ------
    TrainingFailed, TrainingCancelled
        The loss is not a finite number; ``cancelled`` returned true.
    """
    device = pick_device(hyperparameters.device)
    network.to(device)
    optimizer = torch.optim.Adam(
        network.parameters(),
        lr=hyperparameters.learning_rate,
        weight_decay=hyperparameters.weight_decay,
        fused=device.type in {"cpu", "cuda"},
    )
    run = TrainingRun(network, optimizer, hyperparameters)
    functions: dict[str, MetricFunction] = {"loss": loss or nn.functional.mse_loss}
    if accuracy is not None:
        functions["accuracy"] = accuracy
    train, validation = train.to(device), validation and validation.to(device)
    if checkpoint is not None:
        checkpoint.resume(run, callbacks)
    while run.epoch < hyperparameters.epochs and not run.stop_reason:
        run.history.append(_run_epoch(run, train, validation, functions, cancelled))
        run.keep_best()
        for callback in callbacks:
            callback.on_epoch_end(run)
        # The checkpoint comes last: it must hold what the callbacks have changed.
        if checkpoint is not None and checkpoint.is_due():
            checkpoint.save(run, callbacks)
        progress("epoch", **_progress_facts(run))
    network.load_state_dict(run.best)
    network.to("cpu").eval()
    return run


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``"auto"`` is CUDA where there is a GPU and the CPU otherwise."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def predict(network: nn.Module, inputs: Tensor, batch_size: int = _EVALUATION_BATCH_SIZE) -> Tensor:
    """Return the outputs for all inputs ``(n, …)``, computed in batches without gradients."""
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(batch.contiguous()) for batch in torch.split(inputs, batch_size)])


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch; those of neighbours are far apart, so two runs never share an order."""
    return (seed * 1_000_003 + epoch * 7_919) % 2**63


def evaluate_network(
    network: nn.Module, examples: TrainingExamples, functions: Mapping[str, MetricFunction]
) -> dict[str, float]:
    """Return the mean of each function over all examples, in evaluation mode."""
    device = examples.targets.device
    sums = {name: torch.zeros((), dtype=torch.float64, device=device) for name in functions}
    network.eval()
    with torch.inference_mode():
        for positions in torch.split(torch.arange(len(examples), device=device), _EVALUATION_BATCH_SIZE):
            inputs, targets = examples.batch(positions)
            output = network(inputs)
            for name, function in functions.items():
                sums[name] += function(output, targets) * len(positions)
    return {name: float(total) / len(examples) for name, total in sums.items()}


def move_to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device. Overlapping windows are copied as the series below them, once."""
    extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if extent >= tensor.numel():
        return tensor.to(device)
    series = tensor.as_strided((extent,), (1,)).to(device)
    return series.as_strided(tensor.shape, tensor.stride())


def _run_epoch(
    run: TrainingRun,
    train: TrainingExamples,
    validation: TrainingExamples | None,
    functions: Mapping[str, MetricFunction],
    cancelled: Callable[[], bool],
) -> EpochRecord:
    """Train and validate once; return the epoch's entry of the history."""
    if not len(train):
        raise NotEnoughData("There is no training example")
    started = time.monotonic()
    epoch = run.epoch + 1
    torch.manual_seed(epoch_seed(run.hyperparameters.seed, epoch))
    learning_rate = run.optimizer.param_groups[0]["lr"]
    train_means = _train_epoch(run, train, functions, cancelled)
    val_means: dict[str, float] = {}
    if validation is not None and len(validation):
        val_means = evaluate_network(run.network, validation, functions)
    if not math.isfinite(train_means["loss"] + val_means.get("loss", 0.0)):
        raise TrainingFailed(
            f"The loss is no finite number in epoch {epoch}: "
            "try a lower learning rate, or look for extreme values in the data."
        )
    entry: EpochRecord = {
        "epoch": epoch,
        "train_loss": train_means["loss"],
        "val_loss": val_means.get("loss"),
        "learning_rate": learning_rate,
        "seconds": time.monotonic() - started,
    }
    if "accuracy" in train_means:
        entry["train_accuracy"] = train_means["accuracy"]
    if "accuracy" in val_means:
        entry["val_accuracy"] = val_means["accuracy"]
    return entry


def _train_epoch(
    run: TrainingRun,
    train: TrainingExamples,
    functions: Mapping[str, MetricFunction],
    cancelled: Callable[[], bool],
) -> dict[str, float]:
    """Take a step for each batch of the shuffled examples; return the mean of each function."""
    network, optimizer, hyperparameters = run.network, run.optimizer, run.hyperparameters
    device = train.targets.device
    mixed = hyperparameters.mixed_precision and device.type == "cuda"
    precision = torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed)
    metrics = {name: function for name, function in functions.items() if name != "loss"}
    # The sums stay on the device: reading one after each batch would wait for the GPU.
    sums = {name: torch.zeros((), device=device) for name in functions}
    network.train()
    order = torch.randperm(len(train)).to(device)
    for positions in torch.split(order, hyperparameters.batch_size):
        if cancelled():
            raise TrainingCancelled("The training was cancelled. Nothing has changed.")
        inputs, targets = train.batch(positions)
        if train.augment is not None:
            inputs = train.augment(inputs)
        with precision:
            output = network(inputs)
            loss = functions["loss"](output, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if hyperparameters.max_gradient_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), hyperparameters.max_gradient_norm)
        optimizer.step()
        sums["loss"] += loss.detach() * len(positions)
        with torch.no_grad():
            for name, function in metrics.items():
                sums[name] += function(output.detach(), targets) * len(positions)
    return {name: float(total) / len(train) for name, total in sums.items()}


def _progress_facts(run: TrainingRun) -> dict[str, object]:
    entry = run.history[-1]
    remaining = 0 if run.stop_reason else run.hyperparameters.epochs - run.epoch
    recent = [past["seconds"] for past in run.history[-5:]]
    facts = {name: value for name, value in entry.items() if name not in {"seconds", "learning_rate"}}
    eta = round(remaining * sum(recent) / len(recent), 1)
    return {**facts, "done": run.epoch, "of": run.hyperparameters.epochs, "eta_seconds": eta}
