"""Channels that look like settings and are not called so: nobody told the conditions a device runs under."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.rul.data.validate import make_finding
from prediction.rul.preprocessing.conditions import clustered

Floats = NDArray[np.float64]

_MOST_CHANNELS: Final = 60
_ROWS: Final = 1_000
_MOST: Final = 0.5
_NAMED: Final = 5


def warnings(channels: Sequence[str], values: Floats) -> Iterator[JSON]:
    """A warning where some channels stand at a few separate levels that decide most of what the others say.

    Parameters
    ----------
    channels : sequence of str
        Those that are taken for measurements.
    values : shape (rows, channels)
        Rows of training devices.
    """
    sample = values[:: max(1, len(values) // _ROWS), :_MOST_CHANNELS]
    known = np.where(np.isfinite(sample), sample, np.nanmean(sample, axis=0))
    spread = known.std(axis=0)
    scaled = (known - known.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    told = sorted(_deciding(scaled, np.flatnonzero(spread > 0)))
    if told:
        names = ", ".join(channels[place] for _, place, _ in told[:_NAMED])
        said = (
            f"{names} stand at up to {max(count for *_, count in told)} separate levels that decide most of "
            "what the other channels say, as operating conditions do: name in setting_channels what says how "
            "a device is run, and its effect is taken out"
        )
        yield make_finding("conditions", len(told), said)


def _deciding(scaled: Floats, places: NDArray[np.int64]) -> Iterator[tuple[float, int, int]]:
    """Looseness, place and number of levels of channels whose levels decide most of most others."""
    for place in places.tolist():
        level, looseness = clustered(scaled[:, [place]])
        others = scaled[:, places[places != place]]
        numbers = np.unique(level)
        if len(numbers) > 1 and others.shape[1]:
            means = np.array([others[level == number].mean(axis=0) for number in numbers])
            explained = (means[np.searchsorted(numbers, level)] ** 2).mean(axis=0)
            if np.median(explained) > _MOST:
                yield looseness, place, len(numbers)
