"""Figures, as families describe them, into drawings. What cannot be drawn is left out, never an error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.charts.axes import AxisScale, PlotArea, draw_axes, padded_range
from reports.charts.drawing import (
    GRID,
    INK,
    MUTED,
    PALETTE,
    Area,
    Dot,
    Drawing,
    Point,
    Stroke,
    TextMark,
    box,
)
from reports.formatting import format_number, humanize, shorten

Figure = Mapping[str, Any]
HALF, FULL = 244.0, 505.0
"""Widths in points: two charts side by side, or one across the page."""

_HEIGHT = 168.0
_MOST_BARS, _MOST_CLASSES, _MOST_SERIES = 24, 24, 6
_LETTER = 0.56
"""Mean width of a letter, in parts of its size."""


def draw_figure(figure: Figure, width: float = HALF) -> Drawing | None:
    """The drawing of a figure; None where its kind is unknown or its parts do not fit."""
    makers = {"line": _curves, "scatter": _curves, "bars": _bars, "confusion": _confusion}
    maker = makers.get(str(figure.get("kind")))
    if maker is None:
        return None
    try:
        return maker(figure, width)
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def _curves(figure: Figure, width: float) -> Drawing | None:
    """Lines or points over two axes."""
    series = list(figure["series"])[:_MOST_SERIES]
    points = [_known(one["x"], one["y"]) for one in series]
    band = figure.get("band")
    edges = [*_known(band["x"], band["low"]), *_known(band["x"], band["high"])] if band else []
    every = [*(point for curve in points for point in curve), *edges]
    if not every:
        return None
    names = [*(str(one["name"]) for one in series), *([str(band["name"])] if band else [])]
    drawing, frame = _field(width, names)
    xs, ys = [p[0] for p in every], [p[1] for p in every]
    if figure.get("diagonal"):
        xs = ys = [*xs, *ys, *((0.0, 1.0) if min([*xs, *ys]) >= 0 and max([*xs, *ys]) <= 1 else ())]
    x = AxisScale(*padded_range(xs, room=0.02), frame.left, frame.right)
    y = AxisScale(*padded_range(ys), frame.bottom, frame.top)
    names_of_axes = shorten(figure.get("x_label", ""), 40), shorten(figure.get("y_label", ""))
    draw_axes(drawing, frame, x, y, names_of_axes, whole=all(value == int(value) for value in xs))
    if figure.get("diagonal"):
        low, high = max(x.low, y.low), min(x.high, y.high)
        drawing.add(Stroke([(x.place(v), y.place(v)) for v in (low, high)], MUTED, 0.8, 3))
    if band:
        _draw_band(drawing, band, x, y, PALETTE[len(series)])
    for place, curve in enumerate(points):
        _draw_curve(drawing, [(x.place(a), y.place(b)) for a, b in curve], PALETTE[place], figure["kind"])
    if figure.get("mark") is not None and x.low <= figure["mark"] <= x.high:
        at = x.place(figure["mark"])
        drawing.add(Stroke([(at, frame.top), (at, frame.bottom)], MUTED, 0.8, 2))
    return drawing


def _known(xs: Sequence[Any], ys: Sequence[Any]) -> list[Point]:
    """The points that have both numbers."""
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None and y is not None]
    return [(float(x), float(y)) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


def _draw_band(drawing: Drawing, band: Figure, x: AxisScale, y: AxisScale, color: str) -> None:
    low = [(x.place(a), y.place(b)) for a, b in _known(band["x"], band["low"])]
    high = [(x.place(a), y.place(b)) for a, b in _known(band["x"], band["high"])]
    drawing.add(Area([*low, *reversed(high)], color, 0.16))


def _draw_curve(drawing: Drawing, points: Sequence[Point], color: str, kind: str) -> None:
    if kind == "scatter":
        radius = 1.7 if len(points) > 30 else 3.0
        drawing.add(*(Dot(x, y, radius, color, 0.55) for x, y in points))
        return
    if len(points) > 1:
        drawing.add(Stroke(points, color, 1.4))
    if len(points) <= 12:
        drawing.add(*(Dot(x, y, 2.0, color) for x, y in points))


def _field(width: float, names: Sequence[str]) -> tuple[Drawing, PlotArea]:
    """An empty chart with its legend, and the field that is left for curves."""
    drawing = Drawing(width, _HEIGHT)
    lines = _legend(drawing, names, 46.0) if len(names) > 1 else 0
    return drawing, PlotArea(46.0, 8.0 + 11.0 * lines, width - 8.0, _HEIGHT - 30.0)


def _legend(drawing: Drawing, names: Sequence[str], left: float) -> int:
    """What each colour stands for, above the field; the number of lines it takes."""
    x, y, lines = left, 8.0, 1
    for place, told in enumerate(names):
        word = shorten(humanize(told), 30)
        room = 14 + len(word) * 7.5 * _LETTER + 10
        if x + room > drawing.width and x > left:
            x, y, lines = left, y + 11.0, lines + 1
        color = PALETTE[place] if place < len(PALETTE) else MUTED
        drawing.add(Stroke([(x, y - 2.5), (x + 10, y - 2.5)], color, 2.5), TextMark(x + 14, y, word))
        x += room
    return lines


def _bars(figure: Figure, width: float) -> Drawing | None:
    """Horizontal bars: labels of any length fit, and each bar has its number behind it."""
    series = list(figure["series"])[:_MOST_SERIES]
    labels = [shorten(told, 26) for told in figure["labels"]][:_MOST_BARS]
    values = [_plain(v) for one in series for v in one["values"][:_MOST_BARS]]
    if not labels or all(v is None for v in values):
        return None
    thick = 11.0 if len(series) == 1 else 9.0
    step = thick * len(series) + 8.0
    drawing = Drawing(width, 0)
    top = 4.0 + 11.0 * (_legend(drawing, [str(one["name"]) for one in series], 4.0) if len(series) > 1 else 0)
    drawing.height = top + step * len(labels) + 6.0
    left = min(max(len(told) for told in labels) * 7.5 * _LETTER + 10, width * 0.42)
    low, high = padded_range([v for v in values if v is not None], zero=True)
    x = AxisScale(low, high, left, width - 46.0)
    for row, told in enumerate(labels):
        at = top + row * step
        drawing.add(TextMark(left - 5, at + step / 2 - 1.0, told, anchor="end", color=INK))
        for place, one in enumerate(series):
            value = _plain(one["values"][row])
            color = PALETTE[place] if len(series) > 1 else PALETTE[0] if row == 0 else "#94a3b8"
            drawing.add(*_bar(x, at + place * thick, thick - 2.0, value, color))
    zero = x.place(0.0)
    drawing.add(Stroke([(zero, top - 2), (zero, drawing.height - 6)], MUTED, 0.8))
    return drawing


def _bar(x: AxisScale, y: float, thick: float, value: float | None, color: str) -> Iterator[Area | TextMark]:
    if value is None:
        yield TextMark(x.place(0.0) + 4, y + thick - 1.5, "not measured")
        return
    start, end = sorted((x.place(0.0), x.place(value)))
    yield Area(box(start, y, max(end - start, 0.8), thick), color)
    yield TextMark(end + 4, y + thick - 1.5, format_number(value), color=INK)


def _plain(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _confusion(figure: Figure, width: float) -> Drawing | None:
    """Rows are the truth, columns the answers; a cell's shade is its share of the row."""
    labels = [shorten(told, 14) for told in figure["labels"]]
    counts = [[int(c) for c in row] for row in figure["counts"]]
    many = len(labels)
    if not 1 <= many <= _MOST_CLASSES or any(len(row) != many for row in counts) or len(counts) != many:
        return None
    left = 22.0 + max(len(told) for told in labels) * 7.0 * _LETTER
    cell_w = (width - left - 8.0) / many
    cell_h = min(max(20.0, 110.0 / many), cell_w)
    tilted = max(len(told) for told in labels) * 7.0 * _LETTER > cell_w
    top = 22.0 + (max(len(told) for told in labels) * 7.0 * _LETTER if tilted else 10.0)
    drawing = Drawing(width, top + cell_h * many + 8.0)
    drawing.add(
        TextMark((left + width - 8) / 2, 9, "predicted", anchor="middle"),
        TextMark(9, top + cell_h * many / 2, "true", anchor="middle", upright=True),
    )
    for row, told in enumerate(labels):
        x, y = left + row * cell_w + cell_w / 2, top + row * cell_h
        drawing.add(TextMark(left - 5, y + cell_h / 2 + 2.5, told, 7.0, "end", INK))
        anchor = "start" if tilted else "middle"
        drawing.add(TextMark(x + 2.5 * tilted, top - 5, told, 7.0, anchor, INK, upright=tilted))
        drawing.add(*_cells(counts[row], row, left, y, (cell_w, cell_h)))
    return drawing


def _cells(
    counts: Sequence[int], row: int, left: float, y: float, size: tuple[float, float]
) -> Iterator[Area | TextMark | Stroke]:
    total = sum(counts) or 1
    for column, count in enumerate(counts):
        x, part = left + column * size[0], count / total
        corners = box(x, y, *size)
        yield Area(corners, PALETTE[0 if column == row else 1], round(0.03 + 0.82 * part, 3))
        yield Stroke([*corners, corners[0]], GRID, 0.6)
        if size[0] > 5.0 * len(f"{count:,}") and (count or len(counts) <= 6):
            color = "#ffffff" if part > 0.55 else INK
            middle = x + size[0] / 2, y + size[1] / 2 + 2.6
            yield TextMark(*middle, f"{count:,}", 7.5, "middle", color, bold=column == row)
