"""Axes: from values to places on paper, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.charts.drawing import GRID, INK, MUTED, Drawing, Stroke, TextMark

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class AxisScale:
    """A linear map of values ``low`` to ``high`` onto places ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class PlotArea:
    """The inner field of a chart: where its curves are drawn."""

    left: float
    top: float
    right: float
    bottom: float


def tick_values(low: float, high: float, count: int = 5, *, whole: bool = False) -> list[float]:
    """Round values from within a range, about ``count`` of them; whole numbers only where that is asked."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * r for r in _ROUND if power * r >= rough * 0.999)
    step = max(float(round(step)), 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def padded_range(values: Sequence[float], *, room: float = 0.06, zero: bool = False) -> tuple[float, float]:
    """A range that holds all values with some room; never empty."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        away = abs(high) * 0.1 or 1.0
        return low - away, high + away
    more = (high - low) * room
    return (low if zero and low == 0 else low - more), high + more


def tick_label(value: float) -> str:
    """A tick's number, short, with a true minus."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        told = f"{value:.3g}"
    else:
        told = f"{value:,.6g}" if abs(value) >= 1000 else f"{value:.5g}"
    return told.replace("-", "−")


def draw_axes(
    drawing: Drawing,
    frame: PlotArea,
    x: AxisScale,
    y: AxisScale,
    names: tuple[str, str],
    *,
    whole: bool = False,
) -> None:
    """Grid, ticks and names of both axes; ``whole`` where x counts something."""
    for value in tick_values(y.low, y.high):
        at = y.place(value)
        drawing.add(
            Stroke([(frame.left, at), (frame.right, at)], GRID, 0.6),
            TextMark(frame.left - 4, at + 2.5, tick_label(value), anchor="end"),
        )
    for value in tick_values(x.low, x.high, 6, whole=whole):
        at = x.place(value)
        drawing.add(
            Stroke([(at, frame.bottom), (at, frame.bottom + 3)], MUTED, 0.6),
            TextMark(at, frame.bottom + 11, tick_label(value), anchor="middle"),
        )
    drawing.add(Stroke([(frame.left, frame.bottom), (frame.right, frame.bottom)], INK, 0.8))
    middle = (frame.left + frame.right) / 2
    drawing.add(
        TextMark(middle, frame.bottom + 22, names[0], anchor="middle"),
        TextMark(9, (frame.top + frame.bottom) / 2, names[1], anchor="middle", upright=True),
    )
