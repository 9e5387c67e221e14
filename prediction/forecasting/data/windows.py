"""Histories and futures of a time series, and their split in time. Views: a window costs no memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from errors import NotEnoughData
from prediction.splits import Interval, SplitCertificate

Floats = NDArray[np.floating]
Rows = NDArray[np.int64]

# The last tenth of the rows is for testing; the last tenth of what remains is for validation.
HELD_OUT_SHARE = 0.1


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


def hold_out(rows: int, steps: int) -> tuple[int, int]:
    """Return the first rows of validation and test: what a network forecasts there, it has not learnt.

    Of few rows, more than a tenth is held out: two horizons, so that more than one forecast is judged, but at most
    a fifth of the rows, and one horizon at the least.
    """

    def cut(end: int) -> int:
        return end - max(round(end * HELD_OUT_SHARE), min(2 * steps, end // 5), steps)

    test = cut(rows)
    return cut(test), test


def split_in_time(starts: Rows, rows: int, window: int, steps: int) -> tuple[Rows, Rows, Rows]:
    """Return window starts for training, validation and test: no row is forecast in two of them.

    The rows are cut in time. A history may reach back over a cut, as it is known when the forecast is made; a
    future never does. Windows whose future would are left out, which is the gap.

    Raises
    ------
    NotEnoughData
        A part would have no window.
    """
    validation_start, test_start = hold_out(rows, steps)
    bounds = ((0, validation_start), (validation_start, test_start), (test_start, rows))
    futures = starts + window
    train, validation, test = (starts[(futures >= first) & (futures + steps <= end)] for first, end in bounds)
    if not (len(train) and len(validation) and len(test)):
        needed = next(count for count in itertools.count() if hold_out(count, steps)[0] >= window + steps)
        raise NotEnoughData(
            f"Windows of {window + steps} rows (history and future) need one complete window for training and the "
            f"futures of one each for validation and test, so {needed} rows without gaps at the least; "
            f"there are {rows} rows. Take a smaller window_size or future_steps, or send more rows."
        )
    return train, validation, test


def build_certificate(parts: Sequence[Rows], window: int, steps: int) -> SplitCertificate:
    """State which rows the training windows touch, and which rows are forecast in validation and test."""
    train, validation, test = parts
    return SplitCertificate(
        "row",
        "time",
        covered_intervals(train, window + steps),
        covered_intervals(validation + window, steps),
        covered_intervals(test + window, steps),
    )


def covered_intervals(starts: Rows, span: int) -> list[Interval]:
    """Return the raw rows under windows of ``span`` rows, as the shortest list of inclusive intervals."""
    if not len(starts):
        return []
    ordered = np.sort(starts)
    breaks = np.flatnonzero(np.diff(ordered) > span)
    firsts = ordered[np.concatenate([[0], breaks + 1])]
    lasts = ordered[np.concatenate([breaks, [len(ordered) - 1]])] + span - 1
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]
