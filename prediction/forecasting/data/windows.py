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
    """All pairs of a history window and the future right behind it, the last one included.

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
        since no other flattening can be told in strides.

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
    return histories, _futures(data, list(target_indices), future_steps)[window_size:]


def _futures(data: Floats, targets: list[int], future_steps: int) -> Floats:
    """The flattened future that begins at each row."""
    if len(targets) == 1:
        return sliding_window_view(data[:, targets[0]], future_steps)
    if targets != list(range(data.shape[1])) or not data.flags.c_contiguous:
        data = np.ascontiguousarray(data[:, targets])
    return sliding_window_view(data.reshape(-1), future_steps * len(targets))[:: len(targets)]


def find_usable_starts(usable: NDArray[np.bool_], follows: NDArray[np.bool_], span: int) -> Rows:
    """First rows of all windows of ``span`` rows without a missing value and without a jump in time.

    Parameters
    ----------
    usable : ndarray of bool, shape (rows,)
        Rows without a missing value.
    follows : ndarray of bool, shape (rows,)
        Rows that come one regular step after the row above; that of the first row is not looked at.
    """
    faults = np.concatenate([[0], np.cumsum(~usable)])
    jumps = np.concatenate([[0], np.cumsum(~follows)])
    starts = np.arange(max(0, len(usable) - span + 1))
    sound = faults[starts + span] == faults[starts]
    chosen: Rows = starts[sound & (jumps[starts + span] == jumps[starts + 1])]
    return chosen


def split_in_time(starts: Rows, rows: int, span: int) -> tuple[Rows, Rows, Rows]:
    """Window starts for training, validation and test: no raw row is touched by two of them.

    The rows are cut in time; windows that would reach over a cut are left out, which is the gap.

    Raises
    ------
    NotEnoughData
        A part would have no window.
    """
    held_out = max(round(rows * HELD_OUT_SHARE), span)
    tested = rows - held_out
    validated = tested - max(round(tested * HELD_OUT_SHARE), span)
    parts = [
        starts[(starts >= first) & (starts + span <= end)]
        for first, end in ((0, validated), (validated, tested), (tested, rows))
    ]
    if not all(len(part) for part in parts):
        raise NotEnoughData(
            f"Windows of {span} rows (history and future) need three parts in time with one complete window "
            f"each, so {3 * span} rows without gaps at the least; there are {rows} rows. "
            "Take a smaller window_size or future_steps, or send more rows."
        )
    return parts[0], parts[1], parts[2]


def build_certificate(parts: Sequence[Rows], span: int) -> SplitCertificate:
    """What the windows of each part really touch, row by row."""
    train, validation, test = (covered_intervals(starts, span) for starts in parts)
    return SplitCertificate("row", "time", train, validation, test)


def covered_intervals(starts: Rows, span: int) -> list[Interval]:
    """The raw rows under windows of ``span`` rows, as the shortest list of inclusive intervals."""
    if not len(starts):
        return []
    ordered = np.sort(starts)
    breaks = np.flatnonzero(np.diff(ordered) > span)
    firsts = ordered[np.concatenate([[0], breaks + 1])]
    lasts = ordered[np.concatenate([breaks, [len(ordered) - 1]])] + span - 1
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]
