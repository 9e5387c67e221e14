"""Axes: map values to positions in points, with round tick values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.charts.drawing import GRID, INK, MUTED, Drawing, Stroke, TextMark

_ROUND_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class AxisScale:
    """A linear map from values ``low`` to ``high`` to positions ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        """Return the position of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class PlotArea:
    """The inner field of a chart, in which its curves are drawn."""

    left: float
    top: float
    right: float
    bottom: float


def tick_values(low: float, high: float, count: int = 5, *, whole: bool = False) -> list[float]:
    """Return about ``count`` round values of a range; ``whole`` allows only whole numbers."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * r for r in _ROUND_STEPS if power * r >= rough * 0.999)
    step = max(float(round(step)), 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [multiple * step for multiple in range(first, last + 1)]


def padded_range(values: Sequence[float], *, margin: float = 0.06, zero: bool = False) -> tuple[float, float]:
    """Return a range that holds all values, and 0 where asked, with a margin; it is never empty."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        half = abs(high) * 0.1 or 1.0
        return low - half, high + half
    padding = (high - low) * margin
    return (low if zero and low == 0 else low - padding), high + padding


def tick_label(value: float) -> str:
    """Return the short text of a tick, with a true minus sign."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        text = f"{value:.3g}"
    else:
        text = f"{value:,.6g}" if abs(value) >= 1000 else f"{value:.5g}"
    return text.replace("-", "−")


def draw_axes(
    drawing: Drawing,
    area: PlotArea,
    x: AxisScale,
    y: AxisScale,
    names: tuple[str, str],
    *,
    whole: bool = False,
) -> None:
    """Draw grid, ticks and names of both axes; ``whole`` where x counts something."""
    for value in tick_values(y.low, y.high):
        top = y.position(value)
        drawing.add(
            Stroke([(area.left, top), (area.right, top)], GRID, 0.6),
            TextMark(area.left - 4, top + 2.5, tick_label(value), anchor="end"),
        )
    for value in tick_values(x.low, x.high, 6, whole=whole):
        left = x.position(value)
        drawing.add(
            Stroke([(left, area.bottom), (left, area.bottom + 3)], MUTED, 0.6),
            TextMark(left, area.bottom + 11, tick_label(value), anchor="middle"),
        )
    drawing.add(Stroke([(area.left, area.bottom), (area.right, area.bottom)], INK, 0.8))
    middle = (area.left + area.right) / 2
    drawing.add(
        TextMark(middle, area.bottom + 22, names[0], anchor="middle"),
        TextMark(9, (area.top + area.bottom) / 2, names[1], anchor="middle", upright=True),
    )
