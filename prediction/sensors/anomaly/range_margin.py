"""Estimate how far beyond the range seen so far an ordinary reading may lie, by a backtest on the past.

A stationary sensor keeps its range, and a tenth of it is margin enough. A nonstationary one leaves it week after
week. The backtest therefore measures how far the readings of a week went beyond everything before them. A shorter
look ahead counts by the square root of time, as the reach of a random walk grows (an expanding-window backtest of
the records; Arnold, Balakrishnan, Nagaraja, "Records", 1998).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from prediction.sensors.readings.series import DAY, WEEK, SensorSeries

# Where the backtests start, in parts of the time covered. Earlier starts know too little of the range.
_ORIGINS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_MIN_READINGS = 100
_MIN_COVERED_S = 2 * DAY
# Bounds of the margin on each side, in ranges seen and in robust standard deviations.
_MAX_MARGIN = 1.0
_MIN_MARGIN = 0.5
# This many readings have to go beyond the range: one or two spikes do not make a sensor nonstationary.
_MIN_BEYOND = 3
_SIGNIFICANCE = 1e-3


@dataclass(frozen=True)
class RangeMargin:
    """A margin beyond the range seen.

    Parameters
    ----------
    width : float
        On each side, in the sensor's unit.
    is_nonstationary : bool
        Whether more readings went beyond the earlier ones than chance allows. The readings are not
        exchangeable then, and no threshold can be guaranteed.
    """

    width: float
    is_nonstationary: bool


def estimate_margin(series: SensorSeries, share: float, scale: float) -> RangeMargin:
    """Return the margin that a sensor's past asks for.

    Parameters
    ----------
    series : SensorSeries
        In order of time.
    share : float
        Margin of a stationary sensor, in ranges seen.
    scale : float
        Robust standard deviation of the values.
    """
    span = float(np.ptp(series.values))
    width = max(share * span, _MIN_MARGIN * scale)
    start, end = float(series.times[0]), float(series.times[-1])
    if len(series) < _MIN_READINGS or end - start < _MIN_COVERED_S:
        return RangeMargin(width, False)
    backtests = [_backtest(series, start + part * (end - start), width) for part in _ORIGINS]
    excess = max(excess for excess, _ in backtests)
    is_nonstationary = any(is_significant for _, is_significant in backtests)
    return RangeMargin(max(width, min(excess, _MAX_MARGIN * span)), is_nonstationary)


def _backtest(series: SensorSeries, origin: float, width: float) -> tuple[float, bool]:
    """Return how far a week's readings went beyond those up to ``origin``, and whether significantly many did."""
    until = min(float(series.times[-1]), origin + WEEK)
    start, end = np.searchsorted(series.times, [origin, until], side="right")
    past, later = series.values[:start], np.sort(series.values[start:end])
    if not len(past) or not len(later):
        return 0.0, False
    low, high = float(past.min()), float(past.max())
    excess = max(
        float(later[-_MIN_BEYOND:][0]) - high,
        low - float(later[:_MIN_BEYOND][-1]),
        0.0,
    )
    beyond = max(int((later > high + width).sum()), int((later < low - width).sum()))
    # Of exchangeable readings, the largest k all lie in the later part with about this probability.
    probability = (len(later) / (len(past) + len(later))) ** beyond
    return excess * math.sqrt(WEEK / (until - origin)), probability < _SIGNIFICANCE
