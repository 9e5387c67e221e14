"""ETT with the literature's protocol: every architecture beside the published rows.

``python -m benchmarks.forecasting.ett --data FOLDER --sets ETTh1 --architectures NLinear --horizons 24 96``

Split 12/4/4 months, z-scores of the training part, all channels in and out, stride-1 test windows whose
history may reach into the months before, MSE and MAE in z units over all windows, steps and channels.
Hyper-parameters are chosen on the validation months. Rows are appended to ``--out`` as JSON lines; a row that
stands there already is not measured again, so a run that was cut off goes on where it ended.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from prediction.forecasting.data.series import ForecastSeries, StandardScaling, WindowSplit
from prediction.forecasting.data.windows import create_direct_sequences
from prediction.forecasting.model.ridge import ClosedFormFit, num_maps, solve_ridge
from prediction.forecasting.networks import ARCHITECTURES, Forecaster, RidgeLinear
from prediction.neural.callbacks import (
    Callback,
    CosineAnnealing,
    EarlyStopping,
    ExponentialDecay,
    NeuralHyperparameters,
    ReduceOnPlateau,
    TrainingRun,
)
from prediction.neural.export import select_arguments
from prediction.neural.training import TrainingExamples, fit

MONTH = {"ETTh1": 30 * 24, "ETTh2": 30 * 24, "ETTm1": 30 * 24 * 4, "ETTm2": 30 * 24 * 4}


@dataclass(frozen=True)
class Setup:
    """How one architecture is trained here; the choices were made on validation months only."""

    window: int
    recipe: NeuralHyperparameters
    decay: ExponentialDecay
    patience: int = 3
    residual_to_last: bool = True
    hidden_size: int = 64
    num_layers: int = 1
    dropout: float = 0.2
    schedule: str = "decay"
    strides: tuple[int, int] = (1, 1)
    """Rows between the first rows of two training windows, in hourly and in quarter-hourly sets."""


LINEAR = NeuralHyperparameters(epochs=15, batch_size=32, learning_rate=5e-3, max_gradient_norm=None)
RECURRENT = NeuralHyperparameters(epochs=12, batch_size=64, learning_rate=1e-3)
SETUPS = {
    "NLinear": Setup(336, LINEAR, ExponentialDecay(0.5)),
    "DLinear": Setup(336, LINEAR, ExponentialDecay(0.5), residual_to_last=False),
    "RidgeLinear": Setup(720, LINEAR, ExponentialDecay(0.5)),  # no epochs: of the set-up, the window counts alone
    "BiLSTM": Setup(96, RECURRENT, ExponentialDecay(0.7), schedule="plateau", strides=(2, 8)),
    "BiGRU": Setup(96, RECURRENT, ExponentialDecay(0.7), schedule="plateau", strides=(2, 8)),
    "Conv1D-LSTM": Setup(96, RECURRENT, ExponentialDecay(0.7), schedule="plateau", strides=(2, 8)),
    "PatchTransformer": Setup(
        336, NeuralHyperparameters(epochs=10, batch_size=128, learning_rate=1e-3), ExponentialDecay(0.7, 2),
        residual_to_last=False,
        hidden_size=16, num_layers=3, dropout=0.3, strides=(2, 8),
    ),
}  # fmt: skip


def read(folder: Path, name: str) -> np.ndarray:
    """All channels of one set, rows in order of time."""
    plain = folder / f"{name}.csv"
    with plain.open() if plain.exists() else gzip.open(folder / f"{name}.csv.gz", "rt") as lines:
        next(lines)
        return np.array([line.split(",")[1:] for line in lines], dtype=np.float64)


def parts(data: np.ndarray, month: int, window: int) -> dict[str, np.ndarray]:
    """z-scored training, validation and test rows; the last two begin with one window of history."""
    cuts = 12 * month, 16 * month, 20 * month
    mean, scale = data[: cuts[0]].mean(0), data[: cuts[0]].std(0)
    z = np.ascontiguousarray((data - mean) / scale, dtype=np.float32)
    return {
        "train": z[: cuts[0]],
        "validation": z[cuts[0] - window : cuts[1]],
        "test": z[cuts[1] - window : cuts[2]],
    }


def examples(rows: np.ndarray, window: int, horizon: int, stride: int = 1) -> TrainingExamples:
    """Return the windows of rows as training examples."""
    histories, futures = create_direct_sequences(rows, range(rows.shape[1]), window, horizon)
    return TrainingExamples.from_arrays(histories, futures, np.arange(0, len(histories), stride))


def whole(rows: np.ndarray, window: int, horizon: int) -> WindowSplit:
    """All windows of z-scored rows, as the family's own parts are."""
    channels = tuple(range(rows.shape[1]))
    scaler = StandardScaling(np.zeros(len(channels)), np.ones(len(channels)), len(rows))
    series = ForecastSeries(tuple(map(str, channels)), channels, rows, scaler, window, horizon)
    return WindowSplit(series, np.arange(len(rows) - series.span + 1))


def build(architecture: str, setup: Setup, channels: int, horizon: int, seed: int) -> Forecaster:
    """Return an untrained forecaster."""
    torch.manual_seed(seed)
    offered = {
        "input_size": channels, "output_size": channels * horizon, "window_size": setup.window,
        "future_steps": horizon, "hidden_size": setup.hidden_size, "num_layers": setup.num_layers,
        "dropout": setup.dropout, "maps": num_maps(channels, setup.window, horizon),
    }  # fmt: skip
    network = ARCHITECTURES[architecture](**select_arguments(ARCHITECTURES[architecture], offered))
    network.set_targets(list(range(channels)), residual_to_last=setup.residual_to_last)
    return network


def create_schedule(name: str, setup: Setup) -> Callback:
    """Return a fresh learning-rate schedule."""
    if name == "cosine":
        return CosineAnnealing()
    if name == "plateau":
        return ReduceOnPlateau(0.5, 2)
    return ExponentialDecay(setup.decay.factor, setup.decay.start)


def test_errors(network: Forecaster, test: TrainingExamples) -> tuple[float, float]:
    """MSE and MAE over every window, step and channel."""
    squared = absolute = 0.0
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(test)), 256):
            inputs, targets = test.batch(rows)
            off = (network(inputs) - targets).double()
            squared += float((off**2).sum())
            absolute += float(off.abs().sum())
    count = len(test) * test.targets.shape[1]
    return squared / count, absolute / count


def measure(
    data: np.ndarray, name: str, architecture: str, horizon: int, seed: int, *,
    stride: int | None = None, window: int | None = None, schedule: str | None = None,
) -> dict[str, object]:  # fmt: skip
    """One row of the table."""
    setup = replace(SETUPS[architecture], window=window or SETUPS[architecture].window)
    rows = parts(data, MONTH[name], setup.window)
    stride = stride or setup.strides[name.startswith("ETTm")]
    strides = {"train": stride, "validation": stride, "test": 1}
    split = {part: examples(rows[part], setup.window, horizon, every) for part, every in strides.items()}
    network = build(architecture, setup, data.shape[1], horizon, seed)
    began = time.process_time()
    if isinstance(network, RidgeLinear):
        learnt, judged = (whole(rows[part], setup.window, horizon) for part in ("train", "validation"))
        run: ClosedFormFit | TrainingRun = solve_ridge(network, learnt, judged)
    else:
        recipe = NeuralHyperparameters(**{**setup.recipe.__dict__, "seed": seed})
        callbacks = [EarlyStopping(setup.patience), create_schedule(schedule or setup.schedule, setup)]
        run = fit(network, split["train"], split["validation"], recipe, callbacks=callbacks)
    mse, mae = test_errors(network, split["test"])
    val_mse = run.history[run.best_epoch - 1]["val_loss"]
    assert val_mse is not None, "every run has a validation part"
    return {
        "set": name, "architecture": architecture, "horizon": horizon, "seed": seed, "window": setup.window,
        "stride": stride, "schedule": schedule or setup.schedule,
        "mse": round(mse, 4), "mae": round(mae, 4), "epochs": len(run.history), "best_epoch": run.best_epoch,
        "val_mse": round(val_mse, 4),
        "processor_seconds": round(time.process_time() - began, 1),
    }  # fmt: skip


def main() -> None:
    """Measure what is asked, one row at a time."""
    command = argparse.ArgumentParser(description=main.__doc__)
    command.add_argument("--data", type=Path, required=True, help="folder with ETTh1.csv, ETTm1.csv.gz, …")
    command.add_argument("--sets", nargs="+", default=["ETTh1"], choices=sorted(MONTH))
    command.add_argument("--architectures", nargs="+", default=list(SETUPS), choices=list(SETUPS))
    command.add_argument("--horizons", nargs="+", type=int, default=[24, 48, 96, 192, 336, 720])
    command.add_argument("--seeds", nargs="+", type=int, default=[1])
    command.add_argument("--stride", type=int, help="rows between two training windows, not as set here")
    command.add_argument("--window", type=int, help="rows of a window, not as set here")
    command.add_argument(
        "--schedule", choices=["decay", "cosine", "plateau"], help="of the learning rate, not as set here"
    )
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--out", type=Path, help="file to append rows to, and to look for rows done")
    command.add_argument("--minutes", type=float, default=float("inf"), help="begin no row after that")
    asked = command.parse_args()
    torch.set_num_threads(asked.threads)
    end = time.monotonic() + 60 * asked.minutes
    wanted = itertools.product(asked.sets, asked.architectures, asked.horizons, asked.seeds)
    for cell in wanted:
        if cell not in done(asked.out) and time.monotonic() < end:
            keep(
                measure(
                    read(asked.data, cell[0]),
                    *cell,
                    stride=asked.stride,
                    window=asked.window,
                    schedule=asked.schedule,
                ),
                asked.out,
            )


def done(out: Path | None) -> set[tuple[str, str, int, int]]:
    """Set, architecture, horizon and seed of the rows in that file."""
    if out is None or not out.exists():
        return set()
    rows = map(json.loads, out.read_text().splitlines())
    return {(row["set"], row["architecture"], row["horizon"], row["seed"]) for row in rows}


def keep(row: dict[str, object], out: Path | None) -> None:
    """Print a row, and append it to the file."""
    print(json.dumps(row), flush=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a") as lines:
            lines.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
