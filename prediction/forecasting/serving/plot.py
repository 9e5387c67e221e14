"""``forecast.png``: the last test window, what followed, and what the model said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_PANELS = 6
_INK, _TRUTH, _FORECAST = "#334155", "#0f172a", "#c2410c"


def plot_forecast(
    names: Sequence[str],
    target: Path,
    *,
    history: NDArray[np.float64],
    truth: NDArray[np.float64],
    forecast: NDArray[np.float64],
    half: NDArray[np.float64],
) -> None:
    """One panel a target, at most six.

    Parameters
    ----------
    history : ndarray, shape (window, n_targets)
        In the data's units, as all others.
    truth, forecast, half : ndarray, shape (steps, n_targets)
        ``half`` is half the width of the interval.
    """
    from matplotlib.figure import Figure

    count = min(len(names), MAX_PANELS)
    figure = Figure(figsize=(9, 1 + 2.2 * count), layout="constrained")
    for place, axes in enumerate(figure.subplots(count, 1, squeeze=False)[:, 0]):
        _panel(axes, names[place], history[:, place], truth[:, place], forecast[:, place], half[:, place])
    figure.axes[0].legend(loc="upper left", frameon=False, fontsize=8)
    figure.axes[-1].set_xlabel("rows from the forecast's origin", color=_INK)
    figure.savefig(target, dpi=110)


def _panel(axes: Axes, name: str, *series: NDArray[np.float64]) -> None:
    history, truth, forecast, half = series
    before, ahead = np.arange(-len(history) + 1, 1), np.arange(1, len(truth) + 1)
    axes.plot(before, history, color=_INK, lw=1, label="history")
    axes.plot(ahead, truth, color=_TRUTH, lw=1, ls="--", label="what followed")
    axes.plot(ahead, forecast, color=_FORECAST, lw=1.6, label="forecast")
    axes.fill_between(
        ahead, forecast - half, forecast + half, color=_FORECAST, alpha=0.18, lw=0, label="90 %"
    )
    axes.axvline(0, color=_INK, lw=0.5)
    axes.set_title(name, loc="left", fontsize=9, color=_INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=_INK)
