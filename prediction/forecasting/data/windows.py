"""Histories and futures of a time series, and their split in time. Views: a window costs no memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from errors import NotEnoughData
from prediction.splits import Interval, SplitCertificate

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]

HELD_OUT_SHARE = 0.1
"""The last tenth of the rows is for testing; the last tenth of what remains is for validation."""


def create_direct_sequences(
    data: Floats, target_indices: Sequence[int], window_size: int, future_steps: int
) -> tuple[Floats, Floats]:
    """Return all pairs of a history window and the future right after it, the last one included.

    Parameters
    ----------
    data : ndarray, shape (rows, n_features)
    target_indices : sequence of int
        Columns to forecast.

    Returns
    -------
    X : ndarray, shape (n, window_size, n_features)
        ``n = rows - window_size - future_steps + 1``. A view of ``data``.
    y : ndarray, shape (n, future_steps * n_targets)
        Flattened step by step: all targets of the first step, then of the second. A view of ``data`` too
        where the targets are one column, or all of them in order; else of one copy of the target columns,
        since strides can express no other flattening.

    Raises
    ------
    NotEnoughData
        There is not one pair.
    """
    rows = len(data)
    count = rows - window_size - future_steps + 1
    if count < 1:
        raise NotEnoughData(
            f"A window of {window_size} rows and {future_steps} future rows need at least "
            f"{window_size + future_steps} rows, there are {rows}"
        )
    histories = sliding_window_view(data, window_size, axis=0)[:count].swapaxes(1, 2)
    targets = list(target_indices)
    if len(targets) == 1:
        return histories, sliding_window_view(data[window_size:, targets[0]], future_steps)
    if targets != list(range(data.shape[1])) or not data.flags.c_contiguous:
        data = np.ascontiguousarray(data[:, targets])
    # One row of the flattened table after the other: a future is a run of steps * targets numbers.
    flat = sliding_window_view(data.reshape(-1), future_steps * len(targets))
    return histories, flat[:: len(targets)][window_size:]


def find_usable_starts(usable: NDArray[np.bool_], follows: NDArray[np.bool_], span: int) -> Rows:
    """Return first rows of all windows of ``span`` rows without a missing value and without a jump in time.

    Parameters
    ----------
    usable : ndarray of bool, shape (rows,)
        Rows without a missing value.
    follows : ndarray of bool, shape (rows,)
        Rows that come one regular step after the row above; that of a window's first row does not matter.
    """
    gaps = np.concatenate([[0], np.cumsum(~usable)])
    jumps = np.concatenate([[0], np.cumsum(~follows)])
    starts = np.arange(max(0, len(usable) - span + 1))
    # A difference of running counts tells of a whole window what happens in it, without looking at each row.
    is_complete = gaps[starts + span] == gaps[starts]
    usable_starts: Rows = starts[is_complete & (jumps[starts + span] == jumps[starts + 1])]
    return usable_starts


def split_in_time(starts: Rows, rows: int, span: int) -> tuple[Rows, Rows, Rows]:
    """Return window starts for training, validation and test: no raw row is touched by two of them.

    The rows are cut in time; windows that would reach over a cut are left out, which is the gap.

    Raises
    ------
    NotEnoughData
        A part would have no window.
    """
    test_start = rows - max(round(rows * HELD_OUT_SHARE), span)
    validation_start = test_start - max(round(test_start * HELD_OUT_SHARE), span)
    bounds = ((0, validation_start), (validation_start, test_start), (test_start, rows))
    train, validation, test = (starts[(starts >= first) & (starts + span <= end)] for first, end in bounds)
    if not (len(train) and len(validation) and len(test)):
        raise NotEnoughData(
            f"Windows of {span} rows (history and future) need three parts in time with one complete window "
            f"each, so {3 * span} rows without gaps at the least; there are {rows} rows. "
            "Take a smaller window_size or future_steps, or send more rows."
        )
    return train, validation, test


def build_certificate(parts: Sequence[Rows], span: int) -> SplitCertificate:
    """State which rows the windows of each part touch."""
    train, validation, test = (covered_intervals(starts, span) for starts in parts)
    return SplitCertificate("row", "time", train, validation, test)


def covered_intervals(starts: Rows, span: int) -> list[Interval]:
    """Return the raw rows under windows of ``span`` rows, as the shortest list of inclusive intervals."""
    if not len(starts):
        return []
    ordered = np.sort(starts)
    breaks = np.flatnonzero(np.diff(ordered) > span)
    firsts = ordered[np.concatenate([[0], breaks + 1])]
    lasts = ordered[np.concatenate([breaks, [len(ordered) - 1]])] + span - 1
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]
