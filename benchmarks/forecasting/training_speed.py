"""Training speed beside a plain hand-written PyTorch loop, memory over rows, and ONNX Runtime beside torch.

``python -m benchmarks.forecasting.training_speed`` compares in turns and prints medians. With ``--peer-python PATH``,
the Python of an environment that has the ``--peer`` and the same torch, that peer takes part in the turns.
Losses are those of the last epoch, in training: equal networks reach about equal ones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from prediction.forecasting.data.windows import create_direct_sequences
from prediction.forecasting.networks import ARCHITECTURES, Forecaster, RidgeLinear
from prediction.neural.callbacks import NeuralHyperparameters
from prediction.neural.export import select_arguments
from prediction.neural.training import TrainingExamples, fit
from prediction.onnx import OnnxModel, export

WINDOW, STEPS, COLUMNS, BATCH = 50, 24, 7, 32
PERIODS = np.array([12, 24, 24, 48, 168, 7, 33])
PEERS = {
    name: Path(__file__).parent / file
    for name, file in (
        ("darts", "torch_peer.py"),
        ("neuralforecast", "nixtla_peer.py"),
    )
}
PEERS_HAVE = ("BiLSTM", "BiGRU", "Conv1D-LSTM", "NLinear", "DLinear")
Speeds = dict[str, list[float]]
MEMORY = """
import resource, sys, io, tempfile, pathlib
import numpy as np, torch
torch.set_num_threads(1)
from prediction.contract import Resources
from prediction.forecasting.family import ForecastingFamily
from prediction.forecasting.requests import ForecastingParser
from storage.datasets.store import DatasetStore
rows, architecture, home = int(sys.argv[1]), sys.argv[2], pathlib.Path(tempfile.mkdtemp())
file = home / "long.csv"
with file.open("w") as out:
    out.write("time," + ",".join("abcdefg") + "\\n")
    stamps = np.datetime64("2000-01-01T00:00:00") + np.arange(rows) * np.timedelta64(60, "s")
    values = np.random.default_rng(0).normal(size=(rows, 7)).cumsum(axis=0) / 50
    for start in range(0, rows, 50_000):
        out.writelines(f"{t}," + ",".join(f"{v:.3f}" for v in row) + "\\n"
                       for t, row in zip(stamps[start:start + 50_000], values[start:start + 50_000]))
del stamps, values
with file.open("rb") as stream:
    dataset = DatasetStore(home / "datasets").receive(stream, "long.csv").id
options = ForecastingParser().parse_options({"dataset": dataset, "target_columns": list("abcdefg"),
    "architecture": architecture, "epochs": 1, "batch_size": 512})
family = ForecastingFamily()
prepared = family.prepare({"datasets": str(home / "datasets"), "tenant": "default"}, options, Resources(home))
family.evaluate(family.fit(prepared, options, lambda stage, **facts: None), prepared)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def series(rows: int) -> np.ndarray:
    """Waves with noise, which a network can learn."""
    noise = np.random.default_rng(0).normal(size=(rows, COLUMNS))
    waves = np.sin(2 * np.pi * np.arange(rows)[:, None] / PERIODS)
    return (waves + 0.3 * noise).astype(np.float32)


def network(architecture: str) -> Forecaster:
    """Return the same weights at every call; NLinear looks at changes from the last row, as its paper has it."""
    torch.manual_seed(0)
    offered = {
        "input_size": COLUMNS, "output_size": COLUMNS * STEPS, "window_size": WINDOW, "future_steps": STEPS,
        "hidden_size": 64, "num_layers": 2, "dropout": 0.2,
    }  # fmt: skip
    made = ARCHITECTURES[architecture](**select_arguments(ARCHITECTURES[architecture], offered))
    made.set_targets(list(range(COLUMNS)), residual_to_last=architecture == "NLinear")
    return made


def ours(net: nn.Module, data: np.ndarray, epochs: int) -> float:
    """Train with Millwright's loop; return the last training loss."""
    histories, futures = create_direct_sequences(data, range(COLUMNS), WINDOW, STEPS)
    recipe = NeuralHyperparameters(epochs=epochs, batch_size=BATCH)
    return float(
        fit(net, TrainingExamples.from_arrays(histories, futures), None, recipe).history[-1]["train_loss"]
    )


def plain(net: nn.Module, data: np.ndarray, epochs: int) -> float:
    """Run what people write first: all windows copied into tensors, a DataLoader, one epoch loop."""
    windows = range(len(data) - WINDOW - STEPS + 1)
    x = torch.from_numpy(np.stack([data[i : i + WINDOW] for i in windows]))
    y = torch.from_numpy(np.stack([data[i + WINDOW : i + WINDOW + STEPS].ravel() for i in windows]))
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    return _train(net, epochs, lambda: loader)


def tight(net: nn.Module, data: np.ndarray, epochs: int) -> float:
    """Run the fastest plain loop: windows copied into tensors once, batches by index, no DataLoader."""
    histories, futures = create_direct_sequences(data, range(COLUMNS), WINDOW, STEPS)
    x, y = torch.from_numpy(histories.copy()), torch.from_numpy(futures.copy())
    return _train(net, epochs, lambda: ((x[i], y[i]) for i in torch.randperm(len(x)).split(BATCH)))


LOOPS = {"ours": ours, "plain": plain, "tight": tight}


def _train(net: nn.Module, epochs: int, batches: Callable) -> float:
    optimiser, loss_of = torch.optim.Adam(net.parameters(), lr=1e-3), nn.MSELoss()
    net.train()
    for _ in range(epochs):
        losses = []
        for inputs, targets in batches():
            optimiser.zero_grad()
            loss = loss_of(net(inputs), targets)
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of some work."""
    began = time.process_time()
    work()
    return time.process_time() - began


def training(architecture: str, asked: argparse.Namespace) -> dict[str, object]:
    """Windows a second of ours, of the plain loops and of the peer, in turn, by processor time."""
    data = series(asked.rows)
    count = (asked.rows - WINDOW - STEPS + 1) * asked.epochs
    speeds: Speeds = {}
    losses: dict[str, float] = {}
    for name in asked.loops:
        LOOPS[name](network(architecture), data[: WINDOW + STEPS + 4 * BATCH], 1)  # warm, as the peers are
    for _ in range(asked.repeats):
        for name in asked.loops:
            began = time.process_time()
            losses[name] = LOOPS[name](network(architecture), data, asked.epochs)
            speeds.setdefault(name, []).append(count / (time.process_time() - began))
        if asked.peer_python and architecture in PEERS_HAVE:
            told = by_peer(asked, architecture, data)
            speeds.setdefault(asked.peer, []).append(told["windows_per_s"])
            losses[asked.peer] = told["last_loss"]
    rounded = {name: round(loss, 3) for name, loss in losses.items()}
    return {"architecture": architecture, "rows": asked.rows, **compared(speeds), "last_loss": rounded}


def compared(speeds: Speeds) -> dict[str, object]:
    """Median speeds, and ours to each other: the median of the turns' ratios, with the lowest and highest."""
    told: dict[str, object] = {
        f"{name}_windows_per_s": round(statistics.median(found)) for name, found in speeds.items()
    }
    for name, found in speeds.items():
        if name != "ours":
            turns = [mine / theirs for mine, theirs in zip(speeds["ours"], found, strict=True)]
            told[f"ours_to_{name}"] = [round(of(turns), 2) for of in (statistics.median, min, max)]
    return told


def by_peer(asked: argparse.Namespace, architecture: str, data: np.ndarray) -> dict[str, float]:
    """Windows a second of the peer with the same architecture, window and batch, warm; and its last loss."""
    sizes = map(str, (WINDOW, STEPS, BATCH, asked.epochs))
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "series.npy", data)
        command = [asked.peer_python, PEERS[asked.peer], architecture, Path(folder) / "series.npy", *sizes]
        told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    return json.loads(told.stdout.splitlines()[-1])


def serving(architecture: str, repeats: int = 300) -> dict[str, object]:
    """Milliseconds of processor time for one window."""
    net, window = network(architecture).eval(), np.zeros((1, WINDOW, COLUMNS), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        export(net, np.repeat(window, 2, axis=0), Path(folder) / "model.onnx")
        model = OnnxModel(Path(folder) / "model.onnx")

    def by_torch() -> None:
        with torch.inference_mode():
            net(torch.from_numpy(window))

    def per_call(work: Callable[[], object]) -> float:
        work()
        return 1000 * seconds(lambda: [work() for _ in range(repeats)]) / repeats

    found = {"onnx": per_call(lambda: model(window)), "torch": per_call(by_torch)}
    times = {f"{name}_ms": round(value, 3) for name, value in found.items()}
    return {"architecture": architecture, **times, "torch_to_onnx": round(found["torch"] / found["onnx"], 2)}


def memory(rows: int, architecture: str) -> dict[str, object]:
    """Peak megabytes of a process that reads a CSV of so many rows, trains an epoch and judges the result."""
    told = subprocess.run(
        [sys.executable, "-c", MEMORY, str(rows), architecture], capture_output=True, text=True, check=True
    )
    return {"architecture": architecture, "rows": rows, "peak_mb": int(told.stdout)}


def main() -> None:
    """Measure; one JSON line a result."""
    command = argparse.ArgumentParser(description=main.__doc__)
    trained = [name for name, kind in ARCHITECTURES.items() if kind is not RidgeLinear]
    command.add_argument("--architectures", nargs="*", default=trained, choices=trained)
    command.add_argument("--rows", type=int, default=4_000)
    command.add_argument("--epochs", type=int, default=2)
    command.add_argument("--repeats", type=int, default=5)
    command.add_argument("--loops", nargs="*", default=list(LOOPS), choices=list(LOOPS))
    command.add_argument("--peer", default="darts", choices=list(PEERS))
    command.add_argument("--peer-python", help="Python of an environment with that peer")
    command.add_argument("--memory", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    command.add_argument("--memory-of", nargs="*", default=["NLinear"], choices=list(ARCHITECTURES))
    asked = command.parse_args()
    torch.set_num_threads(1)
    for architecture in asked.architectures:
        print(json.dumps(training(architecture, asked)), flush=True)
        print(json.dumps(serving(architecture)), flush=True)
    for architecture, rows in itertools.product(asked.memory_of, asked.memory):
        print(json.dumps(memory(rows, architecture)), flush=True)


if __name__ == "__main__":
    main()
