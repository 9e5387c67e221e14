"""The networks, as PyTorch modules: ``(batch, window, input_size)`` in, hours ``(batch, outputs)`` out.

Inputs are normalised within their operating condition. The network learns in shares of the horizon, which is a
buffer of it: so the exported network returns hours, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

import torch
from torch import Tensor, nn

from prediction.contract import Options
from prediction.rul.options import choose_step

QUANTILES = (0.05, 0.5, 0.95)
_FILTERS = 32
_HEAD = 64


class NetworkArguments(TypedDict, total=False):
    """Arguments of the networks besides the number of channels; a window MLP has no ``num_layers``."""

    hidden_size: int
    num_layers: int
    dropout: float
    outputs: int
    horizon_hours: float
    window_size: int
    every: int


class RulNetwork(nn.Module):
    """Base of the networks: it selects rows of a window and turns shares of the horizon into hours.

    Neighbours in a smoothed window are nearly equal: with ``every`` above 1 only every so many rows are used,
    the last one always.
    """

    horizon: Tensor
    rows: Tensor

    def __init__(self, horizon_hours: float, window_size: int = 50, every: int = 1) -> None:
        super().__init__()
        self.register_buffer("horizon", torch.tensor(float(horizon_hours)))
        self.every = every
        if every > 1:
            self.register_buffer("rows", torch.arange(window_size - 1, -1, -every).flip(0))

    def forward(self, window: Tensor) -> Tensor:
        """Return remaining hours ``(batch, outputs)`` of windows ``(batch, window, input_size)``."""
        rows = window.index_select(1, self.rows) if self.every > 1 else window
        hours: Tensor = self.share(rows) * self.horizon
        return hours

    def share(self, window: Tensor) -> Tensor:
        """Return the remaining life in shares of the horizon."""
        raise NotImplementedError


def head(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Return the layers from the last hidden state to the output."""
    return nn.Sequential(nn.Linear(inputs, _HEAD), nn.ReLU(), nn.Dropout(dropout), nn.Linear(_HEAD, outputs))


class LSTMRULPredictor(RulNetwork):
    """An LSTM over the window; its last hidden state gives the output (after Zheng et al., ICPHM 2017)."""

    def __init__(
        self,
        input_size: int = 5,
        hidden_size: int = 128,
        num_layers: int = 2,
        dropout: float = 0.2,
        *,
        outputs: int = 1,
        horizon_hours: float = 1.0,
        window_size: int = 50,
        every: int = 1,
    ) -> None:
        super().__init__(horizon_hours, window_size, every)
        between = dropout if num_layers > 1 else 0.0
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True, dropout=between)
        self.head = head(hidden_size, outputs, dropout)

    def share(self, window: Tensor) -> Tensor:
        _, (last, _) = self.lstm(window)
        output: Tensor = self.head(last[-1])
        return output


class AttentionLSTM(LSTMRULPredictor):
    """An LSTM whose output uses all hidden states, weighted by attention."""

    def __init__(self, input_size: int = 5, **arguments: Unpack[NetworkArguments]) -> None:
        super().__init__(input_size, **arguments)
        self.worth = nn.Linear(self.lstm.hidden_size, 1)  # the name in stored state dicts

    def share(self, window: Tensor) -> Tensor:
        states, _ = self.lstm(window)
        weights = torch.softmax(self.worth(torch.tanh(states)), dim=1)
        output: Tensor = self.head((states * weights).sum(dim=1))
        return output


class ConvLSTM(LSTMRULPredictor):
    """An LSTM behind two convolutions along time, which find short patterns."""

    def __init__(self, input_size: int = 5, **arguments: Unpack[NetworkArguments]) -> None:
        super().__init__(_FILTERS, **arguments)
        self.front = nn.Sequential(
            nn.Conv1d(input_size, _FILTERS, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(_FILTERS, _FILTERS, 5, padding=2),
            nn.ReLU(),
        )

    def share(self, window: Tensor) -> Tensor:
        return super().share(self.front(window.transpose(1, 2)).transpose(1, 2))


class WindowMLP(RulNetwork):
    """Two hidden layers over the whole window: seconds to train, hard to beat on smooth signals."""

    def __init__(
        self,
        input_size: int = 5,
        hidden_size: int = 128,
        dropout: float = 0.3,
        *,
        outputs: int = 1,
        horizon_hours: float = 1.0,
        window_size: int = 50,
        every: int = 1,
    ) -> None:
        super().__init__(horizon_hours, window_size, every)
        layers: list[nn.Module] = [nn.Flatten()]
        for size in (input_size * -(-window_size // every), hidden_size):
            layers += [nn.Linear(size, hidden_size), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden_size, outputs))

    def share(self, window: Tensor) -> Tensor:
        output: Tensor = self.layers(window)
        return output


class Ensemble(nn.Module):
    """The mean of several networks, exported as one."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, window: Tensor) -> Tensor:
        """Return the mean output of the members."""
        return torch.stack([member(window) for member in self.members]).mean(dim=0)


# Networks by the values of the option ``model_type``.
MODELS: dict[str, Callable[..., RulNetwork]] = {
    "lstm": LSTMRULPredictor,
    "attention_lstm": AttentionLSTM,
    "conv_lstm": ConvLSTM,
    "mlp": WindowMLP,
}


def build_network(input_size: int, options: Options, seed: int) -> RulNetwork:
    """Return a new network, initialised from the seed."""
    torch.manual_seed(seed)
    return MODELS[options["model_type"]](input_size, **network_arguments(options))


def network_arguments(options: Options) -> NetworkArguments:
    """Return the arguments of the network's class besides the number of channels."""
    arguments: NetworkArguments = {
        "hidden_size": options["hidden_size"],
        "dropout": options["dropout"],
        "outputs": len(QUANTILES) if options["output"] == "quantiles" else 1,
        "horizon_hours": options["prediction_horizon_hours"],
        "window_size": options["sequence_length"],
        "every": choose_step(options),
    }
    if options["model_type"] != "mlp":
        arguments["num_layers"] = options["num_layers"]
    return arguments
