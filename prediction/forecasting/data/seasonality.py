"""Find the season of a series, for the seasonal baseline and the closed-form solution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MIN_CORRELATION = 0.3
_MAX_SEASON = 2_000


def find_season_length(values: NDArray[np.float64], calendar: Sequence[int] = ()) -> int:
    """Return the rows of one season: the first of the calendar that correlates, else the strongest peak.

    Parameters
    ----------
    values : ndarray, shape (rows,)
        One target's training rows, without gaps where possible.
    calendar : sequence of int
        Rows of a day, a week or a year, the most likely one first.

    Returns
    -------
    int
        0 where there is no season.
    """
    correlation = _compute_autocorrelation(values)
    for rows in calendar:
        if 1 < rows < len(correlation) and correlation[rows] > _MIN_CORRELATION:
            return int(rows)
    inner = correlation[1:-1]
    is_peak = (inner > correlation[:-2]) & (inner >= correlation[2:]) & (inner > _MIN_CORRELATION)
    peaks = np.flatnonzero(is_peak)
    return int(peaks[inner[peaks].argmax()]) + 1 if len(peaks) else 0


def _compute_autocorrelation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the autocorrelation without the linear trend, for lags up to a third of the series."""
    recent = values[-20 * _MAX_SEASON :]
    recent = np.where(np.isfinite(recent), recent, np.nanmean(recent))
    position = np.arange(len(recent))
    residual = recent - np.polyval(np.polyfit(position, recent, 1), position)
    # By FFT of twice the length, so that the end does not wrap around to the beginning.
    spectrum = np.fft.rfft(residual, 2 * len(residual))
    products = np.fft.irfft(np.abs(spectrum) ** 2)[: min(len(residual) // 3, _MAX_SEASON) + 1]
    return products / products[0] if products[0] > 0 else np.zeros_like(products)
