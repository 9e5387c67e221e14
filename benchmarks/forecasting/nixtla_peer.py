"""Windows a second that neuralforecast trains: run by a Python that has it, for `forecasting_speed`.

``PYTHON benchmarks/forecasting/nixtla_peer.py BiLSTM series.npy 50 24 32 2`` (architecture, values, window,
steps, batch, epochs) prints one JSON line. Training is that of a neuralforecast user: its own NLinear and
DLinear, which take every channel as a series (so a batch of 32 windows is one of 32 times the channels), and
the same recurrent networks behind its interface for multivariate models. Nothing of Millwright is imported.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings

import numpy as np
import pandas as pd
import torch
from neuralforecast import NeuralForecast
from neuralforecast.common._base_model import BaseModel
from neuralforecast.losses.pytorch import MSE
from neuralforecast.models import DLinear, NLinear
from torch import Tensor, nn

HIDDEN, LAYERS, DROPOUT = 64, 2, 0.2


class Recurrent(BaseModel):
    """Last states of a recurrent net over the window, and one linear layer."""

    EXOGENOUS_FUTR = EXOGENOUS_HIST = EXOGENOUS_STAT = RECURRENT = False
    MULTIVARIATE = True
    kind: type[nn.LSTM] | type[nn.GRU] = nn.LSTM
    both_ways = True

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        ways = 2 if self.both_ways else 1
        self.rnn = self.kind(
            self.first(), HIDDEN, LAYERS, batch_first=True, bidirectional=self.both_ways, dropout=DROPOUT
        )
        self.rest = nn.Dropout(DROPOUT)
        self.fc = nn.Linear(ways * HIDDEN, self.h * self.n_series)

    def fit(self, dataset: object, **asked: object) -> object:
        """With the channels in one order: by itself it deals them anew in each batch, and learns little."""
        sizes = {"batch_size": self.batch_size, "valid_batch_size": self.valid_batch_size}
        return self._fit(dataset=dataset, shuffle_train=False, **sizes, **asked)

    def first(self) -> int:
        """Return inputs of the recurrent net."""
        return self.n_series

    def seen(self, window: Tensor) -> Tensor:
        """Return what the recurrent net sees."""
        return window

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        _, state = self.rnn(self.seen(given["insample_y"]))
        last = state[0] if isinstance(state, tuple) else state
        joined = torch.cat([last[-2], last[-1]], dim=1) if self.both_ways else last[-1]
        return self.fc(self.rest(joined)).view(-1, self.h, self.n_series)


class Gated(Recurrent):
    """With gated recurrent units."""

    kind = nn.GRU


class Convolved(Recurrent):
    """A convolution before a one-way LSTM."""

    both_ways = False

    def first(self) -> int:
        """Its filters."""
        self.conv = nn.Conv1d(self.n_series, 64, 3, padding="same")
        return 64

    def seen(self, window: Tensor) -> Tensor:
        """Return the filtered window."""
        return torch.relu(self.conv(window.transpose(1, 2))).transpose(1, 2)


RECURRENT = {"BiLSTM": Recurrent, "BiGRU": Gated, "Conv1D-LSTM": Convolved}


def make_model(architecture: str, channels: int, sizes: list[int], most: int) -> BaseModel:
    """Return a model that learns ``most`` batches, on one CPU device, and shows nothing."""
    window, steps, batch, _ = sizes
    common = {
        "h": steps, "input_size": window, "loss": MSE(), "learning_rate": 1e-3, "scaler_type": "identity",
        "max_steps": most, "batch_size": channels, "random_seed": 1, "accelerator": "cpu", "devices": 1,
        "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
        "enable_checkpointing": False,
    }  # fmt: skip
    if architecture in RECURRENT:
        offered = {"n_series": channels, "valid_batch_size": None, "inference_windows_batch_size": batch}
        offered |= {"val_check_steps": most, "start_padding_enabled": False, "valid_loss": None}
        return RECURRENT[architecture](windows_batch_size=batch, **offered, **common)
    kind = NLinear if architecture == "NLinear" else DLinear
    return kind(windows_batch_size=batch * channels, val_check_steps=most, **common)


def table(values: np.ndarray) -> pd.DataFrame:
    """One row a channel and moment, as neuralforecast takes it."""
    rows, channels = values.shape
    return pd.DataFrame({
        "unique_id": np.repeat([f"c{place}" for place in range(channels)], rows),
        "ds": np.tile(pd.date_range("2020-01-01", periods=rows, freq="h"), channels),
        "y": values.T.reshape(-1),
    })  # fmt: skip


def main() -> None:
    """Train a few batches to warm up, then measure by processor time."""
    architecture, values = sys.argv[1], np.load(sys.argv[2])
    window, steps, batch, epochs = sizes = [*map(int, sys.argv[3:])]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    rows, channels = values.shape
    an_epoch = -(-(rows - window - steps + 1) // batch)
    short = table(values[: window + steps + 4 * batch])
    NeuralForecast([make_model(architecture, channels, sizes, 4)], freq="h").fit(short)
    model = make_model(architecture, channels, sizes, an_epoch * epochs)
    given = table(values)
    began = time.process_time()
    trained = NeuralForecast([model], freq="h")
    trained.fit(given)
    taken = time.process_time() - began
    losses = [loss for _, loss in trained.models[0].train_trajectories]
    told = {"windows_per_s": (rows - window - steps + 1) * epochs / taken, "torch": torch.__version__}
    print(json.dumps({**told, "last_loss": float(np.mean(losses[-an_epoch:])), "batches": len(losses)}))


if __name__ == "__main__":
    main()
