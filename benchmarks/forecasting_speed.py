"""Training speed beside a plain hand-written PyTorch loop, memory over rows, and ONNX Runtime beside torch.

``python -m benchmarks.forecasting_speed`` compares in turns and prints medians. With ``--peer-python PATH``,
the Python of an environment that has Darts and the same torch, Darts takes part in the turns.
"""

from __future__ import annotations

import argparse
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

from prediction.forecasting.networks import ARCHITECTURES, arguments
from prediction.forecasting.windows import create_direct_sequences
from prediction.listeners import Recipe
from prediction.neural import Examples, fit
from prediction.onnx import OnnxModel, export

WINDOW, STEPS, COLUMNS, BATCH, EPOCHS = 50, 24, 7, 32, 2
PEER = Path(__file__).parent / "forecasting_peer.py"
MEMORY = """
import resource, sys, io, tempfile, pathlib
import numpy as np, torch
torch.set_num_threads(1)
from prediction.contract import Resources
from prediction.forecasting.family import ForecastingFamily
from prediction.forecasting.intake import ForecastingIntake
from storage.datasets.store import DatasetStore
rows, home = int(sys.argv[1]), pathlib.Path(tempfile.mkdtemp())
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
options = ForecastingIntake(home).options({"dataset": dataset, "target_columns": list("abcdefg"),
    "architecture": "NLinear", "epochs": 1, "batch_size": 512})
family = ForecastingFamily()
prepared = family.prepare({"datasets": str(home / "datasets"), "tenant": "default"}, options, Resources(home))
family.evaluate(family.fit(prepared, options, lambda stage, **facts: None), prepared)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def series(rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, COLUMNS)).astype(np.float32)


def network(architecture: str) -> nn.Module:
    """The same weights at every call."""
    torch.manual_seed(0)
    offered = {
        "input_size": COLUMNS, "output_size": COLUMNS * STEPS, "window_size": WINDOW, "future_steps": STEPS,
        "hidden_size": 64, "num_layers": 2, "dropout": 0.2,
    }  # fmt: skip
    return ARCHITECTURES[architecture](**arguments(architecture, offered))


def ours(net: nn.Module, data: np.ndarray, epochs: int) -> None:
    histories, futures = create_direct_sequences(data, range(COLUMNS), WINDOW, STEPS)
    fit(net, Examples.of_arrays(histories, futures), None, Recipe(epochs=epochs, batch_size=BATCH))


def plain(net: nn.Module, data: np.ndarray, epochs: int) -> None:
    """What people write first: all windows copied into tensors, a DataLoader, one epoch loop."""
    windows = range(len(data) - WINDOW - STEPS + 1)
    x = torch.from_numpy(np.stack([data[i : i + WINDOW] for i in windows]))
    y = torch.from_numpy(np.stack([data[i + WINDOW : i + WINDOW + STEPS].ravel() for i in windows]))
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    _train(net, epochs, lambda: loader)


def tight(net: nn.Module, data: np.ndarray, epochs: int) -> None:
    """The fastest plain loop: windows copied into tensors once, batches by index, no DataLoader."""
    histories, futures = create_direct_sequences(data, range(COLUMNS), WINDOW, STEPS)
    x, y = torch.from_numpy(histories.copy()), torch.from_numpy(futures.copy())
    _train(net, epochs, lambda: ((x[i], y[i]) for i in torch.randperm(len(x)).split(BATCH)))


def _train(net: nn.Module, epochs: int, batches: Callable) -> None:
    optimiser, loss_of = torch.optim.Adam(net.parameters(), lr=1e-3), nn.MSELoss()
    net.train()
    for _ in range(epochs):
        for inputs, targets in batches():
            optimiser.zero_grad()
            loss = loss_of(net(inputs), targets)
            loss.backward()
            optimiser.step()


def seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def training(architecture: str, rows: int, repeats: int, peer_python: str | None) -> dict[str, object]:
    """Windows a second of ours, of the plain loops and of Darts, in turn, by processor time."""
    data = series(rows)
    count = rows - WINDOW - STEPS + 1
    loops = {"ours": ours, "plain": plain, "tight": tight}
    speeds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(repeats):
        for name, loop in loops.items():
            taken = seconds(lambda loop=loop: loop(network(architecture), data, EPOCHS))
            speeds[name].append(count * EPOCHS / taken)
        if peer_python and architecture != "PatchTransformer":  # which Darts does not have
            speeds.setdefault("darts", []).append(by_darts(peer_python, architecture, rows))
    middle = {name: statistics.median(found) for name, found in speeds.items()}
    ratios = {f"ours_to_{name}": round(middle["ours"] / middle[name], 3) for name in middle if name != "ours"}
    told = {f"{name}_windows_per_s": round(speed) for name, speed in middle.items()}
    return {"architecture": architecture, **told, **ratios}


def by_darts(python: str, architecture: str, rows: int) -> float:
    """Windows a second of Darts with the same architecture, window and batch, warm."""
    sizes = map(str, (rows, WINDOW, STEPS, BATCH, EPOCHS))
    told = subprocess.run(
        [python, str(PEER), architecture, *sizes], capture_output=True, text=True, check=True
    )
    return float(json.loads(told.stdout.splitlines()[-1])["windows_per_s"])


def serving(architecture: str, repeats: int = 300) -> dict[str, object]:
    """Milliseconds of processor time for one window."""
    net, window = network(architecture).eval(), np.zeros((1, WINDOW, COLUMNS), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        export(net, np.repeat(window, 2, axis=0), Path(folder) / "model.onnx")
        model = OnnxModel(Path(folder) / "model.onnx")

    def by_torch() -> None:
        with torch.inference_mode():
            net(torch.from_numpy(window))

    found = {}
    for name, work in (("onnx", lambda: model(window)), ("torch", by_torch)):
        work()
        found[name] = 1000 * seconds(lambda work=work: [work() for _ in range(repeats)]) / repeats
    times = {f"{name}_ms": round(value, 3) for name, value in found.items()}
    return {"architecture": architecture, **times, "torch_to_onnx": round(found["torch"] / found["onnx"], 2)}


def memory(rows: int) -> dict[str, int]:
    """Peak megabytes of a process that reads a CSV of so many rows, trains an epoch and judges the result."""
    told = subprocess.run(
        [sys.executable, "-c", MEMORY, str(rows)], capture_output=True, text=True, check=True
    )
    return {"rows": rows, "peak_mb": int(told.stdout)}


def main() -> None:
    """Measure; one JSON line a result."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--rows", type=int, default=4_000)
    command.add_argument("--repeats", type=int, default=5)
    command.add_argument("--peer-python", help="Python of an environment with Darts")
    command.add_argument("--memory", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    asked = command.parse_args()
    torch.set_num_threads(1)
    for architecture in ARCHITECTURES:
        print(json.dumps(training(architecture, asked.rows, asked.repeats, asked.peer_python)), flush=True)
        print(json.dumps(serving(architecture)), flush=True)
    for rows in asked.memory:
        print(json.dumps(memory(rows)), flush=True)


if __name__ == "__main__":
    main()
