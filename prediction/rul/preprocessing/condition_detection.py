"""Warn about channels that behave like undeclared operating conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.rul.data.validate import ValidationFinding, make_finding
from prediction.telemetry.clustering import assign_clusters, find_clusters, measure_looseness

Floats = NDArray[np.float64]

_MAX_CHANNELS: Final = 60
_MAX_ROWS: Final = 1_000
# A channel's levels are suspicious if they explain so much of the variance of most other channels.
_MIN_EXPLAINED: Final = 0.5
_MAX_NAMED: Final = 5


def find_hidden_conditions(channels: Sequence[str], values: Floats) -> Iterator[ValidationFinding]:
    """Yield a warning if channels take a few separate levels that decide most of the other channels.

    Parameters
    ----------
    channels : sequence of str
        Those that are taken for measurements.
    values : shape (rows, channels)
        Rows of training devices.
    """
    sample = values[:: max(1, len(values) // _MAX_ROWS), :_MAX_CHANNELS]
    filled = np.where(np.isfinite(sample), sample, np.nanmean(sample, axis=0))
    spread = filled.std(axis=0)
    scaled = (filled - filled.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    suspects = sorted(_find_suspects(scaled, np.flatnonzero(spread > 0)))
    if suspects:
        names = ", ".join(channels[column] for _, column, _ in suspects[:_MAX_NAMED])
        message = (
            f"{names} stand at up to {max(levels for *_, levels in suspects)} separate levels that decide most "
            "of what the other channels say, as operating conditions do: name in setting_channels what says "
            "how a device is run, and its effect is taken out"
        )
        yield make_finding("conditions", len(suspects), message)


def _find_suspects(scaled: Floats, columns: NDArray[np.int64]) -> Iterator[tuple[float, int, int]]:
    """Yield looseness, column and number of levels of channels whose levels explain most others."""
    for column in columns.tolist():
        points = scaled[:, [column]]
        centres = find_clusters(points)
        level = assign_clusters(points, centres)
        others = scaled[:, columns[columns != column]]
        levels = np.unique(level)
        if len(levels) > 1 and others.shape[1]:
            means = np.array([others[level == number].mean(axis=0) for number in levels])
            explained = (means[np.searchsorted(levels, level)] ** 2).mean(axis=0)
            if np.median(explained) > _MIN_EXPLAINED:
                yield measure_looseness(points, centres), column, len(levels)
