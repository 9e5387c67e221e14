"""Windows over the rows of a fleet: views of one matrix, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


def smooth(values: Floats, span: int) -> Floats:
    """Return exponential moving averages along axis 0 with ``alpha = 2 / (span + 1)``.

    They are unbiased from the first row, and only the past counts: a row looks the same in training and when
    it has just arrived.
    """
    if span <= 1 or len(values) < 2:
        return values
    decay = 1.0 - 2.0 / (span + 1.0)
    averages = np.empty_like(values)
    total, weight = np.zeros(values.shape[1]), 0.0
    for number, row in enumerate(values):
        total = total * decay + row
        weight = weight * decay + 1.0
        averages[number] = total / weight
    return averages


def warm_up_rows(span: int) -> int:
    """Return the rows before a window after which its averages do not depend on their start (to 1 %)."""
    return 0 if span <= 1 else int(np.ceil(np.log(0.01) / np.log(1.0 - 2.0 / (span + 1.0))))


def pad(values: Floats, window: int) -> Floats:
    """Repeat the first row before the others, so that every row is the end of a window."""
    return np.concatenate([np.repeat(values[:1], window - 1, axis=0), values])


@dataclass(frozen=True)
class DeviceRun:
    """The normalised rows of one run of a device.

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
    last_rows : int64, shape (n,)
        Position in ``matrix`` of each row, which is the last of its window.
    targets : float32, shape (n,)
        Hours; NaN where a row has none.
    device : int64, shape (n,)
    cycles_since_start : int64, shape (n,)
        Rows of the same run up to and including this one.
    cycles_to_end : int64, shape (n,)
        Rows of the same run after this one.
    """

    window: int
    matrix: Floats
    last_rows: Rows
    targets: Floats
    device: Rows
    cycles_since_start: Rows
    cycles_to_end: Rows

    @classmethod
    def from_runs(cls, runs: Sequence[DeviceRun], window: int) -> WindowedRuns:
        """Lay the runs one after the other."""
        lengths = np.array([len(run.values) for run in runs], dtype=np.int64)
        firsts = np.cumsum(lengths + window - 1) - lengths
        cycles = [np.arange(1, length + 1) for length in lengths]
        return cls(
            window=window,
            matrix=np.concatenate([pad(run.values, window) for run in runs]),
            last_rows=np.concatenate(
                [first + np.arange(n) for first, n in zip(firsts, lengths, strict=True)]
            ),
            targets=np.concatenate([run.rul_hours for run in runs]).astype(np.float32),
            device=np.repeat(np.array([run.device for run in runs], dtype=np.int64), lengths),
            cycles_since_start=np.concatenate(cycles),
            cycles_to_end=np.concatenate(
                [length - cycle for length, cycle in zip(lengths, cycles, strict=True)]
            ),
        )

    def windows(self) -> Floats:
        """Return windows ``(starts, window, channels)`` at every row of the matrix, without a copy."""
        view = np.lib.stride_tricks.sliding_window_view(self.matrix, self.window, axis=0)
        return view.transpose(0, 2, 1)

    def targets_of_windows(self) -> Floats:
        """Return targets in the order of :meth:`windows`; NaN where a window ends in padding."""
        targets = np.full(len(self.matrix) - self.window + 1, np.nan, dtype=np.float32)
        targets[self.starts(np.arange(len(self.last_rows)))] = self.targets
        return targets

    def starts(self, rows: Rows) -> Rows:
        """Return the first rows of the windows that end with these rows."""
        return self.last_rows[rows] - self.window + 1


@dataclass(frozen=True)
class FleetSplit:
    """The rows of one part of the split, each the end of a window."""

    runs: WindowedRuns
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def targets(self) -> Floats:
        """Hours, shape (n,)."""
        return self.runs.targets[self.rows]

    @property
    def devices(self) -> Rows:
        """The device of each row."""
        return self.runs.device[self.rows]

    def windows(self, selection: slice | Rows = slice(None)) -> Floats:
        """Copy windows, shape ``(n, window, channels)``."""
        return np.ascontiguousarray(self.runs.windows()[self.runs.starts(self.rows[selection])])

    def subsample(self, max_rows: int) -> FleetSplit:
        """Return at most so many rows, evenly spread."""
        if len(self) <= max_rows:
            return self
        positions = np.linspace(0, len(self) - 1, max_rows).round().astype(np.int64)
        return FleetSplit(self.runs, self.rows[positions])


def make_split(runs: WindowedRuns, devices: Sequence[int], stride: int, min_cycles: int) -> FleetSplit:
    """Select the rows of devices that have a target and at least ``min_cycles`` rows of their run.

    Strides are counted from the end of a run, so that its last window is always included.
    """
    of_devices = np.isin(runs.device, np.array(devices, dtype=np.int64))
    usable = of_devices & np.isfinite(runs.targets) & (runs.cycles_since_start >= min_cycles)
    return FleetSplit(runs, np.flatnonzero(usable & (runs.cycles_to_end % stride == 0)))
