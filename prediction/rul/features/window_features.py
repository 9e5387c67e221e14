"""Features of telemetry: windows, or hours, of a device in a few numbers for each channel.

All windows of a device are computed at once. A spectrum is taken of each window by itself, never across a
border.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from prediction.rul.data.label import MICROSECONDS_PER_HOUR

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
# Values computed together: bounds the memory, whatever the number of windows.
_MAX_VALUES: Final = 4_000_000
_SEGMENT: Final = 256


def window_ends(rows: int, window: int, stride: int) -> NDArray[np.int64]:
    """Return the last row of each window: every ``stride`` rows from the first full one, and the last row."""
    if rows < window:
        return np.zeros(0, dtype=np.int64)
    ends = np.arange(window - 1, rows, stride, dtype=np.int64)
    return ends if ends[-1] == rows - 1 else np.append(ends, rows - 1)


def window_features(values: Floats, ends: NDArray[np.int64], window: int, sampling_rate_hz: float) -> Floats:
    """Compute the features of the windows that end with these rows.

    Parameters
    ----------
    values : shape (rows, channels)

    Returns
    -------
    ndarray, shape (windows, channels, 11)
        In the order of ``FEATURES``.
    """
    features = np.empty((len(ends), values.shape[1], len(FEATURES)))
    if len(ends):
        windows = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
        for batch in _batches(len(ends), window * values.shape[1]):
            features[batch] = compute_statistics(windows[ends[batch] - window + 1], sampling_rate_hz)
    return features


def bucket_width(hours: float) -> int:
    """Return the microseconds of a bucket."""
    return round(hours * MICROSECONDS_PER_HOUR)


def hourly_features(
    times: NDArray[np.int64], values: Floats, hours: float, sampling_rate_hz: float
) -> tuple[NDArray[np.int64], Floats]:
    """Compute the features of each bucket of so many hours of one device.

    Parameters
    ----------
    times : shape (rows,)
        Microseconds since 1970, ascending.

    Returns
    -------
    starts : shape (buckets,)
    features : shape (buckets, channels, 11)
    """
    width = bucket_width(hours)
    buckets, first_rows, counts = np.unique(times // width, return_index=True, return_counts=True)
    features = np.empty((len(buckets), values.shape[1], len(FEATURES)))
    # Buckets with equally many rows form one array.
    for length in np.unique(counts):
        selection = np.flatnonzero(counts == length)
        for batch in _batches(len(selection), int(length) * values.shape[1]):
            rows = first_rows[selection[batch]][:, None] + np.arange(length)
            blocks = values[rows].transpose(0, 2, 1)
            features[selection[batch]] = compute_statistics(blocks, sampling_rate_hz)
    return buckets * width, features


def compute_statistics(blocks: Floats, sampling_rate_hz: float) -> Floats:
    """Compute features along the last axis: ``(blocks, channels, length)`` to ``(blocks, channels, 11)``.

    Skew and kurtosis are those of the population (0 for a normal distribution), as in SciPy; those of a
    constant block are 0.
    """
    blocks = np.ascontiguousarray(blocks, dtype=np.float64)
    length = blocks.shape[-1]
    mean = blocks.mean(axis=-1)
    deviations = blocks - mean[..., None]
    squares = deviations * deviations
    variance = squares.mean(axis=-1)
    is_constant = variance <= 1e-24 * np.maximum(1.0, mean * mean)
    safe_variance = np.where(is_constant, 1.0, variance)
    # einsum sums the powers without an array for each of them.
    third = np.einsum("...i,...i->...", squares, deviations) / length
    fourth = np.einsum("...i,...i->...", squares, squares) / length
    low, high = blocks.min(axis=-1), blocks.max(axis=-1)
    frequency, energy = spectrum(deviations, sampling_rate_hz)
    features = (
        mean,
        np.sqrt(variance),
        low,
        high,
        np.median(blocks, axis=-1),
        high - low,
        np.where(is_constant, 0.0, third / safe_variance**1.5),
        np.where(is_constant, 0.0, fourth / safe_variance**2 - 3.0),
        (blocks[..., -1] - blocks[..., 0]) / max(length - 1, 1) * sampling_rate_hz,
        frequency,
        energy,
    )
    return np.stack(features, axis=-1)


def spectrum(blocks: Floats, sampling_rate_hz: float) -> tuple[Floats, Floats]:
    """Return the frequency of the highest peak and the sum of the power density of each block (Welch)."""
    from scipy.signal import welch

    length = blocks.shape[-1]
    if length < 2:
        return np.zeros(blocks.shape[:-1]), np.zeros(blocks.shape[:-1])
    frequencies, power = welch(blocks, fs=sampling_rate_hz, nperseg=min(length, _SEGMENT), axis=-1)
    peak = frequencies[power[..., 1:].argmax(axis=-1) + 1]
    energy = power.sum(axis=-1)
    return np.where(energy > 0, peak, 0.0), energy


def _batches(count: int, size: int) -> Iterator[slice]:
    step = max(1, _MAX_VALUES // max(size, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
