"""Windows a second that Darts trains: run by another Python, one that has Darts, for `forecasting_speed`.

``PYTHON benchmarks/forecasting/torch_peer.py BiLSTM series.npy 50 24 32 2`` (architecture, values, window, steps,
batch, epochs) prints one JSON line. Networks and training are those of a Darts user: its own NLinear and
DLinear, and the same recurrent networks behind its interface for recurrent blocks. Nothing of Millwright is
imported.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from darts.models import BlockRNNModel, DLinearModel, NLinearModel
from darts.models.forecasting.block_rnn_model import CustomBlockRNNModule
from darts.utils.data.torch_datasets.utils import PLModuleInput, PLModuleOutput
from torch import Tensor, nn

COLUMNS, HIDDEN, LAYERS, DROPOUT = 7, 64, 2, 0.2


class Recurrent(CustomBlockRNNModule):
    """Last states of a recurrent net over the window, and one linear layer."""

    kind: type[nn.LSTM] | type[nn.GRU] = nn.LSTM
    both_ways = True

    def __init__(self, **given: object) -> None:
        super().__init__(**given)
        ways = 2 if self.both_ways else 1
        self.rnn = self.kind(
            self.first(), HIDDEN, LAYERS, batch_first=True, bidirectional=self.both_ways, dropout=DROPOUT
        )
        self.rest = nn.Dropout(DROPOUT)
        self.fc = nn.Linear(ways * HIDDEN, self.output_chunk_length * self.target_size)

    def first(self) -> int:
        """Return inputs of the recurrent net."""
        return COLUMNS

    def seen(self, window: Tensor) -> Tensor:
        """Return what the recurrent net sees."""
        return window

    def forward(self, given: PLModuleInput) -> PLModuleOutput:
        _, state = self.rnn(self.seen(given.past_target))
        last = state[0] if isinstance(state, tuple) else state
        joined = torch.cat([last[-2], last[-1]], dim=1) if self.both_ways else last[-1]
        shape = -1, self.output_chunk_length, self.target_size, self.nr_params
        return PLModuleOutput(prediction=self.fc(self.rest(joined)).view(shape))


class Gated(Recurrent):
    """With gated recurrent units."""

    kind = nn.GRU


class Convolved(Recurrent):
    """A convolution before a one-way LSTM."""

    both_ways = False

    def first(self) -> int:
        """Its filters."""
        self.conv = nn.Conv1d(COLUMNS, 64, 3, padding="same")
        return 64

    def seen(self, window: Tensor) -> Tensor:
        """Return the filtered window."""
        return torch.relu(self.conv(window.transpose(1, 2))).transpose(1, 2)


RECURRENT = {"BiLSTM": Recurrent, "BiGRU": Gated, "Conv1D-LSTM": Convolved}


def make_model(architecture: str, window: int, steps: int, batch: int, epochs: int) -> Any:
    """Return a Darts model, told to use one CPU thread's worth of everything and to show nothing."""
    quiet = {
        "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False,
        "logger": False, "enable_checkpointing": False,
    }  # fmt: skip
    common = {
        "input_chunk_length": window, "output_chunk_length": steps, "batch_size": batch, "n_epochs": epochs,
        "random_state": 0, "pl_trainer_kwargs": quiet,
    }  # fmt: skip
    if architecture in RECURRENT:
        return BlockRNNModel(
            model=RECURRENT[architecture], hidden_dim=HIDDEN, n_rnn_layers=LAYERS, dropout=DROPOUT, **common
        )
    if architecture == "NLinear":
        return NLinearModel(shared_weights=True, normalize=True, **common)
    return DLinearModel(shared_weights=True, kernel_size=25, **common)


def main() -> None:
    """Train once to warm up, then measure by processor time."""
    architecture, values = sys.argv[1], np.load(sys.argv[2])
    window, steps, batch, epochs = map(int, sys.argv[3:])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    series = TimeSeries.from_values(values)
    make_model(architecture, window, steps, batch, 1).fit(series[: window + steps + 4 * batch])
    model = make_model(architecture, window, steps, batch, epochs)
    began = time.process_time()
    model.fit(series)
    taken = time.process_time() - began
    windows = (len(values) - window - steps + 1) * epochs
    told = {"windows_per_s": windows / taken, "torch": torch.__version__}
    print(json.dumps({**told, "last_loss": float(model.trainer.callback_metrics["train_loss"])}))


if __name__ == "__main__":
    main()
