"""Features of telemetry: what windows, or hours, of a device look like in a few numbers a channel.

Everything is computed for all windows of a device at once. A spectrum is taken of each window by itself,
never across a border.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEATURES: Final = (
    "mean",
    "std",
    "min",
    "max",
    "median",
    "range",
    "skew",
    "kurtosis",
    "rate_of_change",
    "dominant_frequency_hz",
    "spectral_energy",
)
_MOST_VALUES: Final = 4_000_000
"""Values looked at together: bounds the memory, whatever the number of windows."""
_SEGMENT: Final = 256


def window_ends(rows: int, window: int, stride: int) -> NDArray[np.int64]:
    """The last row of each window: every ``stride`` rows from the first full one, and always the last row."""
    if rows < window:
        return np.zeros(0, dtype=np.int64)
    ends = np.arange(window - 1, rows, stride, dtype=np.int64)
    return ends if ends[-1] == rows - 1 else np.append(ends, rows - 1)


def window_features(values: Floats, ends: NDArray[np.int64], window: int, sampling_rate_hz: float) -> Floats:
    """Features of the windows that end with these rows.

    Parameters
    ----------
    values : shape (rows, channels)

    Returns
    -------
    ndarray, shape (windows, channels, 11)
        In the order of ``FEATURES``.
    """
    found = np.empty((len(ends), values.shape[1], len(FEATURES)))
    if len(ends):
        views = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
        for piece in _pieces(len(ends), window * values.shape[1]):
            found[piece] = statistics(views[ends[piece] - window + 1], sampling_rate_hz)
    return found


def bucket_width(hours: float) -> int:
    """Microseconds of a bucket."""
    return round(hours * 3_600_000_000)


def hourly_features(
    times: NDArray[np.int64], values: Floats, hours: float, sampling_rate_hz: float
) -> tuple[NDArray[np.int64], Floats]:
    """Features of each bucket of so many hours of one device, and the beginnings of the buckets.

    Parameters
    ----------
    times : shape (rows,)
        Microseconds since 1970, ascending.
    """
    width = bucket_width(hours)
    begins, firsts, counts = np.unique(times // width, return_index=True, return_counts=True)
    found = np.empty((len(begins), values.shape[1], len(FEATURES)))
    for length in np.unique(counts):
        alike = np.flatnonzero(counts == length)
        for piece in _pieces(len(alike), int(length) * values.shape[1]):
            rows = firsts[alike[piece]][:, None] + np.arange(length)
            found[alike[piece]] = statistics(values[rows].transpose(0, 2, 1), sampling_rate_hz)
    return begins * width, found


def statistics(blocks: Floats, sampling_rate_hz: float) -> Floats:
    """Features along the last axis: ``(blocks, channels, length)`` in, ``(blocks, channels, 11)`` out.

    Skew and kurtosis are those of the population (0 for a normal distribution), as in scipy; a block that
    does not change has none: 0.
    """
    blocks = np.ascontiguousarray(blocks, dtype=np.float64)
    length = blocks.shape[-1]
    mean = blocks.mean(axis=-1)
    off = blocks - mean[..., None]
    squares = off * off
    variance = squares.mean(axis=-1)
    still = variance <= 1e-24 * np.maximum(1.0, mean * mean)
    safe = np.where(still, 1.0, variance)
    third = np.einsum("...i,...i->...", squares, off) / length
    fourth = np.einsum("...i,...i->...", squares, squares) / length
    low, high = blocks.min(axis=-1), blocks.max(axis=-1)
    change = (blocks[..., -1] - blocks[..., 0]) / max(length - 1, 1) * sampling_rate_hz
    frequency, energy = spectrum(off, sampling_rate_hz)
    told = (
        *(mean, np.sqrt(variance), low, high, np.median(blocks, axis=-1), high - low),
        *(np.where(still, 0.0, third / safe**1.5), np.where(still, 0.0, fourth / safe**2 - 3.0)),
        *(change, frequency, energy),
    )
    return np.stack(told, axis=-1)


def spectrum(blocks: Floats, sampling_rate_hz: float) -> tuple[Floats, Floats]:
    """Frequency of the highest peak and sum of the power density, by Welch's method, of each block."""
    from scipy.signal import welch

    length = blocks.shape[-1]
    if length < 2:
        return np.zeros(blocks.shape[:-1]), np.zeros(blocks.shape[:-1])
    segment = min(length, _SEGMENT)
    frequencies, power = welch(blocks, fs=sampling_rate_hz, nperseg=segment, axis=-1)
    peak = frequencies[power[..., 1:].argmax(axis=-1) + 1]
    return np.where(power.sum(axis=-1) > 0, peak, 0.0), power.sum(axis=-1)


def _pieces(count: int, size: int) -> Iterator[slice]:
    step = max(1, _MOST_VALUES // max(size, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
