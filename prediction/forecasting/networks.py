"""The networks, as PyTorch modules: ``(batch, window, input_size)`` in, ``(batch, output_size)`` out.

Inputs are z-scored. ``output_size`` is ``future_steps * n_targets``, flattened step by step. What a network needs
to know besides its sizes (which columns it forecasts) is stored with its weights as buffers, so the documented
arguments and ``model.pth`` are enough to open it. This file needs PyTorch only: people use copies of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Forecaster(nn.Module):
    """Sizes and the level: what all networks here share.

    With ``residual_to_last``, a network sees the window relative to its last row and forecasts the change from
    there (the last-value normalisation of NLinear, Zeng et al., AAAI 2023): a level that never occurred in
    training then does no harm.

    With ``effects``, a network forecasts what the columns known in advance leave unexplained of the targets. Its
    input has the rows of the horizon behind those of the window; of these rows it sees such columns alone.
    """

    target_columns: Tensor
    residual_to_last: Tensor
    effects: Tensor | None

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        self.input_size = input_size
        self.output_size = output_size
        self.register_buffer("target_columns", torch.arange(output_size) % input_size)
        self.register_buffer("residual_to_last", torch.zeros(()))
        self.register_buffer("effects", None)

    def set_targets(self, targets: list[int], *, residual_to_last: bool) -> None:
        """Store which input columns are forecast, and whether relative to the last row."""
        self.target_columns.copy_(torch.tensor(targets).repeat(self.output_size // len(targets)))
        self.residual_to_last.fill_(float(residual_to_last))

    def set_effects(self, effects: Tensor) -> None:
        """Store what each input column changes of each target at the same row, ``(input_size, n_targets)``."""
        self.effects = effects

    def forward(self, rows: Tensor) -> Tensor:
        """Forecast ``(batch, output_size)`` of windows ``(batch, window, input_size)``.

        With effects, the rows of the horizon follow those of the window.
        """
        if self.effects is None:
            return self.forecast_window(rows)
        targets = self.effects.shape[1]
        steps = self.output_size // targets
        expected = rows @ self.effects
        columns = nn.functional.one_hot(self.target_columns[:targets], self.input_size).to(rows.dtype)
        unexplained = self.forecast_window(rows[:, :-steps] - expected[:, :-steps] @ columns)
        return unexplained + expected[:, -steps:].flatten(1)

    def forecast_window(self, window: Tensor) -> Tensor:
        """Return the forecast from the rows of a window, relative to the last one where that is set."""
        level = window[:, -1, :] * self.residual_to_last
        change = self.forecast_change(window - level.unsqueeze(1))
        forecast: Tensor = change + level.index_select(1, self.target_columns)
        return forecast

    def forecast_change(self, window: Tensor) -> Tensor:
        """Return the forecast of a window, both relative to its level."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Weights of version 0.1 have this buffer under another name.
        if f"{prefix}anchored" in state_dict:
            state_dict[f"{prefix}residual_to_last"] = state_dict.pop(f"{prefix}anchored")
        if (effects := state_dict.get(f"{prefix}effects")) is not None:
            self.effects = torch.empty_like(effects)
        super()._load_from_state_dict(state_dict, prefix, *args)


class BiLSTM(Forecaster):
    """A bidirectional LSTM over the window; both directions' last states make the forecast."""

    recurrent: type[nn.LSTM] | type[nn.GRU] = nn.LSTM

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, output_size: int, dropout: float = 0.2
    ) -> None:
        super().__init__(input_size, output_size)
        self.rnn = self.recurrent(
            input_size,
            hidden_size,
            num_layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * hidden_size, output_size)

    def forecast_change(self, window: Tensor) -> Tensor:
        _, state = self.rnn(window)
        last = state[0] if isinstance(state, tuple) else state
        forecast: Tensor = self.fc(self.dropout(torch.cat([last[-2], last[-1]], dim=1)))
        return forecast


class BiGRU(BiLSTM):
    """The same with gated recurrent units."""

    recurrent = nn.GRU


class Conv1DLSTM(Forecaster):
    """``nn.Conv1d`` along time (padding same), ReLU, then an LSTM whose last state makes the forecast."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        output_size: int,
        dropout: float = 0.2,
        *,
        conv_filters: int = 64,
        kernel_size: int = 3,
    ) -> None:
        super().__init__(input_size, output_size)
        between = dropout if num_layers > 1 else 0.0
        self.conv = nn.Conv1d(input_size, conv_filters, kernel_size, padding="same")
        self.lstm = nn.LSTM(conv_filters, hidden_size, num_layers, batch_first=True, dropout=between)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(hidden_size, output_size)

    def forecast_change(self, window: Tensor) -> Tensor:
        filtered = torch.relu(self.conv(window.transpose(1, 2))).transpose(1, 2)
        _, (last, _) = self.lstm(filtered)
        forecast: Tensor = self.fc(self.dropout(last[-1]))
        return forecast


class ChannelForecaster(Forecaster):
    """Networks that forecast every target from its own history, with the same weights for all of them."""

    def __init__(self, input_size: int, output_size: int, window_size: int, future_steps: int) -> None:
        super().__init__(input_size, output_size)
        self.window_size = window_size
        self.future_steps = future_steps

    def forecast_change(self, window: Tensor) -> Tensor:
        columns = self.target_columns[: self.output_size // self.future_steps]
        histories = window.index_select(2, columns).transpose(1, 2)
        return self.forecast_series(histories).transpose(1, 2).flatten(1)

    def forecast_series(self, histories: Tensor) -> Tensor:
        """Forecast ``(batch, n_targets, future_steps)`` of ``(batch, n_targets, window_size)``."""
        raise NotImplementedError


class NLinear(ChannelForecaster):
    """One linear map from history to future (Zeng et al., AAAI 2023; the N is ``residual_to_last``)."""

    def __init__(self, input_size: int, output_size: int, window_size: int, future_steps: int) -> None:
        super().__init__(input_size, output_size, window_size, future_steps)
        self.linear = nn.Linear(window_size, future_steps)

    def forecast_series(self, histories: Tensor) -> Tensor:
        forecast: Tensor = self.linear(histories)
        return forecast


class DLinear(ChannelForecaster):
    """Two linear maps, one for the moving average of the history and one for the rest (same source)."""

    def __init__(
        self, input_size: int, output_size: int, window_size: int, future_steps: int, kernel_size: int = 25
    ) -> None:
        super().__init__(input_size, output_size, window_size, future_steps)
        reach = (kernel_size - 1) // 2
        self.average = nn.Sequential(
            nn.ReplicationPad1d((reach, kernel_size - 1 - reach)), nn.AvgPool1d(kernel_size, stride=1)
        )
        self.seasonal = nn.Linear(window_size, future_steps)
        self.trend = nn.Linear(window_size, future_steps)
        for linear in (self.seasonal, self.trend):
            nn.init.constant_(linear.weight, 1 / window_size)

    def forecast_series(self, histories: Tensor) -> Tensor:
        trend = self.average(histories)
        forecast: Tensor = self.seasonal(histories - trend) + self.trend(trend)
        return forecast


class RidgeLinear(ChannelForecaster):
    """A linear map a target, or one for all; `solve_ridge` sets the weights, without epochs."""

    def __init__(
        self, input_size: int, output_size: int, window_size: int, future_steps: int, *, maps: int = 1
    ) -> None:
        super().__init__(input_size, output_size, window_size, future_steps)
        self.maps = maps
        self.weight = nn.Parameter(torch.zeros(maps, window_size, future_steps))
        self.bias = nn.Parameter(torch.zeros(maps, 1, future_steps))

    def set_weights(self, maps: Tensor) -> None:
        """Store weights ``(maps, window_size + 1, future_steps)``; the last row is the constant."""
        with torch.no_grad():
            self.weight.copy_(maps[:, :-1])
            self.bias.copy_(maps[:, -1:])

    def forecast_series(self, histories: Tensor) -> Tensor:
        return (histories.transpose(0, 1) @ self.weight + self.bias).transpose(0, 1)


class Smoothing(RidgeLinear):
    """The same form; `solve_smoothing` sets the weights, from a grid of smoothing rules."""


class Combination(RidgeLinear):
    """The same form: the mean of the weights of `RidgeLinear`, `Smoothing` and one exponential smoothing."""


class PatchTransformer(ChannelForecaster):
    """Patches of the history through a transformer encoder, after PatchTST (Nie et al., ICLR 2023).

    Every history is normalised by its own mean and deviation, which the forecast gets back (RevIN, Kim et al.,
    ICLR 2022).
    """

    patches: Tensor

    def __init__(
        self,
        input_size: int,
        output_size: int,
        window_size: int,
        future_steps: int,
        *,
        hidden_size: int = 16,
        num_layers: int = 3,
        dropout: float = 0.3,
        patch_size: int = 16,
        patch_stride: int = 8,
        heads: int = 4,
    ) -> None:
        super().__init__(input_size, output_size, window_size, future_steps)
        size = min(patch_size, window_size)
        firsts = torch.arange(0, window_size + patch_stride - size + 1, patch_stride)
        rows = (firsts.unsqueeze(1) + torch.arange(size)).clamp(max=window_size - 1)
        self.register_buffer("patches", rows.flatten(), persistent=False)
        self.patch_shape = (len(firsts), size)
        self.embed = nn.Linear(size, hidden_size)
        self.place = nn.Parameter(torch.empty(len(firsts), hidden_size).uniform_(-0.02, 0.02))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(EncoderLayer(hidden_size, heads, dropout) for _ in range(num_layers))
        self.head = nn.Linear(len(firsts) * hidden_size, future_steps)

    def forecast_series(self, histories: Tensor) -> Tensor:
        mean = histories.mean(2, keepdim=True)
        spread = torch.sqrt(((histories - mean) ** 2).mean(2, keepdim=True) + 1e-5)
        channels = histories.shape[1]
        patches = ((histories - mean) / spread).index_select(2, self.patches)
        encoded = self.dropout(self.embed(patches.reshape(-1, *self.patch_shape)) + self.place)
        for layer in self.layers:
            encoded = layer(encoded)
        forecast: Tensor = self.head(encoded.flatten(1)).reshape(-1, channels, self.future_steps)
        return forecast * spread + mean


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward net, each with a residual and a batch norm, as PatchTST has them."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.mix = nn.Linear(size, 3 * size)
        self.out = nn.Linear(size, size)
        self.feed = nn.Sequential(
            nn.Linear(size, 8 * size), nn.GELU(), nn.Dropout(dropout), nn.Linear(8 * size, size)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode tokens ``(batch, patches, size)``."""
        tokens = self._normalize(tokens + self.dropout(self._attend(tokens)), 0)
        return self._normalize(tokens + self.dropout(self.feed(tokens)), 1)

    def _attend(self, tokens: Tensor) -> Tensor:
        _, count, size = tokens.shape
        mixed = self.mix(tokens).reshape(-1, count, 3, self.heads, size // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind(0)
        attention = nn.functional.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.out(attention.transpose(1, 2).reshape(-1, count, size))
        return output

    def _normalize(self, tokens: Tensor, norm: int) -> Tensor:
        normalized: Tensor = self.norms[norm](tokens.transpose(1, 2))
        return normalized.transpose(1, 2)


# By the name that the option ``architecture`` and ``model_info.json`` use.
ARCHITECTURES: dict[str, type[Forecaster]] = {
    "BiLSTM": BiLSTM,
    "BiGRU": BiGRU,
    "Conv1D-LSTM": Conv1DLSTM,
    "NLinear": NLinear,
    "DLinear": DLinear,
    "RidgeLinear": RidgeLinear,
    "Smoothing": Smoothing,
    "Combination": Combination,
    "PatchTransformer": PatchTransformer,
}
