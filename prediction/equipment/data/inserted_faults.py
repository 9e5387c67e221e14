"""Faults inserted into held-out normal rows: known channels break in known ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.equipment.model.rows import Floats, NormalisedRows

KINDS: Final = ("shift", "drift", "stuck", "noise", "decoupled")
FAULT_ROWS: Final = 36
_BEFORE_ROWS: Final = 36
_NUM_FAULTS: Final = 100
# Sizes in standard deviations of the channel, from hardly visible to plain: no detector finds all or none.
_SIZES: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
_SEED: Final = 20_261_130


@dataclass(frozen=True)
class InsertedFaults:
    """Stretches of normal rows, each with a fault in its last rows.

    Parameters
    ----------
    clean, faulty : NormalisedRows
        The stretches one after the other, without and with their faults.
    is_fault : bool, shape (n,)
    stretch : int64, shape (n,)
        Number of the stretch of each row.
    channel, kind : int64, shape (faults,)
        The broken channel, and the number of its kind in `KINDS`.
    """

    clean: NormalisedRows
    faulty: NormalisedRows
    is_fault: NDArray[np.bool_]
    stretch: NDArray[np.int64]
    channel: NDArray[np.int64]
    kind: NDArray[np.int64]


def insert_faults(rows: NormalisedRows) -> InsertedFaults:
    """Return 100 faults in rows of normal running time; equal rows give equal faults."""
    chance = np.random.default_rng(_SEED)
    length = min(_BEFORE_ROWS + FAULT_ROWS, len(rows))
    before = length - min(FAULT_ROWS, length // 2)
    starts = chance.integers(0, len(rows) - length + 1, _NUM_FAULTS)
    channels = chance.integers(0, rows.values.shape[1], _NUM_FAULTS)
    kinds = np.arange(_NUM_FAULTS) % len(KINDS)
    positions = (starts[:, None] + np.arange(length)).ravel()
    clean = NormalisedRows(
        rows.times[positions],
        rows.values[positions],
        np.tile(np.arange(length) == 0, _NUM_FAULTS) | rows.starts[positions],
        rows.condition[positions],
    )
    values = clean.values.copy()
    for number, (channel, kind) in enumerate(zip(channels.tolist(), kinds.tolist(), strict=True)):
        fault = slice(number * length + before, (number + 1) * length)
        values[fault, channel] = _break(values[fault, channel], KINDS[kind], rows.values[:, channel], chance)
    faulty = NormalisedRows(clean.times, values, clean.starts, clean.condition)
    is_fault = np.tile(np.arange(length) >= before, _NUM_FAULTS)
    return InsertedFaults(clean, faulty, is_fault, np.repeat(np.arange(_NUM_FAULTS), length), channels, kinds)


def _break(values: Floats, kind: str, series: Floats, chance: np.random.Generator) -> Floats:
    """Return the values of a channel with a fault."""
    size = float(chance.choice(_SIZES)) * float(chance.choice((-1.0, 1.0)))
    if kind == "shift":
        return values + size
    if kind == "drift":
        return values + size * np.linspace(0.0, 2.0, len(values))
    if kind == "stuck":
        return np.full_like(values, values[0])
    if kind == "noise":
        return values + chance.normal(0.0, abs(size), len(values))
    # Its own values of another time: usual by themselves, and at odds with the other channels.
    start = int(chance.integers(0, len(series) - len(values) + 1))
    return series[start : start + len(values)].copy()
