"""Windows over the rows of a fleet: views of one matrix, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def smooth(values: Floats, span: int) -> Floats:
    """Exponential moving averages along axis 0 with ``alpha = 2 / (span + 1)``, unbiased from the first row.

    Only the past counts, so a row looks the same in training and when it has just arrived.
    """
    if span <= 1 or len(values) < 2:
        return values
    keep = 1.0 - 2.0 / (span + 1.0)
    averages = np.empty_like(values)
    total, weight = np.zeros(values.shape[1]), 0.0
    for place, row in enumerate(values):
        total = total * keep + row
        weight = weight * keep + 1.0
        averages[place] = total / weight
    return averages


def warm_up_rows(span: int) -> int:
    """Rows before a window after which its averages no longer depend on where they began (to 1 per cent)."""
    return 0 if span <= 1 else int(np.ceil(np.log(0.01) / np.log(1.0 - 2.0 / (span + 1.0))))


def pad(values: Floats, window: int) -> Floats:
    """The rows with the first one repeated before them, so that each of them ends a window."""
    return np.concatenate([np.repeat(values[:1], window - 1, axis=0), values])


@dataclass(frozen=True)
class DeviceRun:
    """The rows of one run of a device, normalised, with what is known of each.

    Parameters
    ----------
    values : float32, shape (n, channels)
    rul_hours : float64, shape (n,)
        NaN where a row has no target.
    """

    device: int
    values: Floats
    rul_hours: NDArray[np.float64]


@dataclass(frozen=True)
class WindowedRuns:
    """The rows of all runs, each run with its padding before it.

    Parameters
    ----------
    matrix : float32, shape (rows and padding, channels)
    ends : int64, shape (n,)
        Place in ``matrix`` of each row, which is the last of its window.
    targets : float32, shape (n,)
        Hours; NaN where a row has none.
    device : int64, shape (n,)
    age : int64, shape (n,)
        Rows of the same run up to and with this one.
    to_end : int64, shape (n,)
        Rows of the same run after this one.
    """

    window: int
    matrix: Floats
    ends: Rows
    targets: Floats
    device: Rows
    age: Rows
    to_end: Rows

    @classmethod
    def of_runs(cls, runs: Sequence[DeviceRun], window: int) -> WindowedRuns:
        """Lay the runs one after the other."""
        lengths = np.array([len(run.values) for run in runs], dtype=np.int64)
        firsts = np.cumsum(lengths + window - 1) - lengths
        ages = [np.arange(1, length + 1) for length in lengths]
        return cls(
            window=window,
            matrix=np.concatenate([pad(run.values, window) for run in runs]),
            ends=np.concatenate([first + np.arange(n) for first, n in zip(firsts, lengths, strict=True)]),
            targets=np.concatenate([run.rul_hours for run in runs]).astype(np.float32),
            device=np.repeat(np.array([run.device for run in runs], dtype=np.int64), lengths),
            age=np.concatenate(ages),
            to_end=np.concatenate([length - age for length, age in zip(lengths, ages, strict=True)]),
        )

    def views(self) -> Floats:
        """Windows ``(starts, window, channels)`` at every row of the matrix, without a copy."""
        seen = np.lib.stride_tricks.sliding_window_view(self.matrix, self.window, axis=0)
        return seen.transpose(0, 2, 1)

    def targets_at_starts(self) -> Floats:
        """Targets in the order of :meth:`views`; NaN where a window ends in padding."""
        found = np.full(len(self.matrix) - self.window + 1, np.nan, dtype=np.float32)
        found[self.starts(np.arange(len(self.ends)))] = self.targets
        return found

    def starts(self, rows: Rows) -> Rows:
        """The first rows of the windows that end with these rows."""
        return self.ends[rows] - self.window + 1


@dataclass(frozen=True)
class FleetSplit:
    """Some rows of a fleet, each the end of a window: those for training, for validation or for the test."""

    fleet: WindowedRuns
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> Floats:
        """Hours, shape (n,)."""
        return self.fleet.targets[self.rows]

    @property
    def devices(self) -> Rows:
        """The device of each row."""
        return self.fleet.device[self.rows]

    def windows(self, chosen: slice | Rows = slice(None)) -> Floats:
        """Copies of windows, shape ``(n, window, channels)``."""
        return np.ascontiguousarray(self.fleet.views()[self.fleet.starts(self.rows[chosen])])

    def subsample(self, most: int) -> FleetSplit:
        """At most so many rows, evenly spread."""
        if len(self) <= most:
            return self
        places = np.linspace(0, len(self) - 1, most).round().astype(np.int64)
        return FleetSplit(self.fleet, self.rows[places])


def make_split(fleet: WindowedRuns, devices: Sequence[int], stride: int, fewest: int) -> FleetSplit:
    """The rows of some devices that have a target and at least ``fewest`` rows of their run behind them.

    Strides are counted from the end of a run, so that its last window is always there.
    """
    mine = np.isin(fleet.device, np.array(devices, dtype=np.int64))
    usable = mine & np.isfinite(fleet.targets) & (fleet.age >= fewest) & (fleet.to_end % stride == 0)
    return FleetSplit(fleet, np.flatnonzero(usable))
