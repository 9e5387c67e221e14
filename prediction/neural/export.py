"""The files that every version of a network has: its weights in three formats, and how it was trained."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from prediction.neural.callbacks import EpochRecord
from prediction.onnx import check_parity, export
from storage.filesystem.checked_write import write_checked

# Of ``model_info.json`` and ``training_history.json``; rises when a field changes its meaning.
FORMAT = 1


class FitHistory(Protocol):
    """How a network came to its weights: epoch by epoch, or in the steps of a solution."""

    @property
    def history(self) -> Sequence[EpochRecord]:
        """One entry an epoch."""

    @property
    def best_epoch(self) -> int:
        """Number of the epoch whose weights were kept, counted from 1."""

    @property
    def stop_reason(self) -> str:
        """Why there were no more epochs; empty where there was no reason."""


def export_network(
    network: nn.Module,
    examples: NDArray[np.float32],
    folder: Path,
    onnx_file: str = "model.onnx",
    *,
    atol: float = 1e-5,
    opset: int | None = None,
) -> float:
    """Write the network as ONNX, ``model.pth`` and ``model.safetensors``.

    Returns
    -------
    float
        The largest difference between the outputs of network and ONNX file.

    Raises
    ------
    ParityFailed
        The ONNX file does not answer like the network.
    """
    # Two examples: with one, the exporter may bake in a batch of one.
    export(network, np.repeat(examples[:1], 2, axis=0), folder / onnx_file, opset)
    deviation = check_parity(network, folder / onnx_file, examples, atol=atol)
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    # Through memory and one checked write: a stream of a library may lose an error of its last block.
    pickled = io.BytesIO()
    torch.save(weights, pickled)
    write_checked(folder / "model.pth", pickled.getbuffer())
    write_checked(folder / "model.safetensors", save(weights))
    return deviation


def describe_loading(
    network: type[nn.Module], arguments: Mapping[str, object], own_class: str, members: int = 1
) -> dict[str, object]:
    """Return how ``model.pth`` is opened, for ``model_info.json``.

    Parameters
    ----------
    own_class : str
        What somebody has to know who loads the weights into a class of their own.
    members : int
        How many networks of the class were trained; the mean of several answers.
    """
    name, module = network.__name__, network.__module__
    create = f"{name}(**info['pytorch']['arguments'])"
    if members > 1:
        name, create = f"Ensemble, {name}", f"Ensemble([{create} for _ in range({members})])"
    return {
        "class": f"{module}:{network.__name__}",
        "arguments": dict(arguments),
        "members": members,
        "load": [
            "import json, torch",
            f"from {module} import {name}",
            "info = json.load(open('model_info.json'))",
            f"network = {create}",
            "network.load_state_dict(torch.load('model.pth', weights_only=True))",
            "network.eval()",
        ],
        "needs": f"{module.replace('.', '/')}.py of Millwright's folder, or a copy of it, and PyTorch",
        "own_class": own_class,
    }


def training_history(run: FitHistory) -> dict[str, object]:
    """Return ``training_history.json``: one entry an epoch."""
    return {
        "format": FORMAT,
        "epochs": run.history,
        "best_epoch": run.best_epoch,
        "stopped": run.stop_reason or "the last epoch",
    }


def as_numpy_function(network: nn.Module) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the network as a function of arrays, as an `OnnxModel` is one."""

    def run(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            outputs: NDArray[np.float32] = network(torch.from_numpy(np.ascontiguousarray(inputs))).numpy()
        return outputs

    return run


def select_arguments(network: type[nn.Module], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the values that the network's class takes, by name."""
    parameters = inspect.signature(network).parameters
    return {name: value for name, value in values.items() if name in parameters}
