"""Draw ``forecast.png``: the last test window, what followed, and the forecast."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_PANELS = 6
_INK, _TRUTH, _FORECAST = "#334155", "#0f172a", "#c2410c"


@dataclass(frozen=True)
class ForecastExample:
    """One window with its forecast, in the data's units.

    Parameters
    ----------
    history : ndarray, shape (window, n_targets)
    truth, forecast, half_width : ndarray, shape (steps, n_targets)
        ``half_width`` is half the width of the interval.
    """

    names: Sequence[str]
    history: NDArray[np.float64]
    truth: NDArray[np.float64]
    forecast: NDArray[np.float64]
    half_width: NDArray[np.float64]


def plot_forecast(example: ForecastExample) -> bytes:
    """Draw one panel a target, at most six; return a PNG file."""
    # pyplot would keep every figure of the process in memory.
    from matplotlib.figure import Figure

    count = min(len(example.names), MAX_PANELS)
    figure = Figure(figsize=(9, 1 + 2.2 * count), layout="constrained")
    before, ahead = np.arange(1 - len(example.history), 1), np.arange(1, len(example.truth) + 1)
    for column, axes in enumerate(figure.subplots(count, 1, squeeze=False)[:, 0]):
        forecast, half_width = example.forecast[:, column], example.half_width[:, column]
        axes.plot(before, example.history[:, column], color=_INK, lw=1, label="history")
        axes.plot(ahead, example.truth[:, column], color=_TRUTH, lw=1, ls="--", label="what followed")
        axes.plot(ahead, forecast, color=_FORECAST, lw=1.6, label="forecast")
        band = {"color": _FORECAST, "alpha": 0.18, "lw": 0, "label": "90 %"}
        axes.fill_between(ahead, forecast - half_width, forecast + half_width, **band)
        axes.axvline(0, color=_INK, lw=0.5)
        axes.set_title(example.names[column], loc="left", fontsize=9, color=_INK)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8, colors=_INK)
    figure.axes[0].legend(loc="upper left", frameon=False, fontsize=8)
    figure.axes[-1].set_xlabel("rows from the forecast's origin", color=_INK)
    image = io.BytesIO()
    figure.savefig(image, dpi=110)
    return image.getvalue()
