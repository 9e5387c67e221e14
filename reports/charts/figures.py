"""Draw the figures that families describe (``prediction/figures.py``).

A figure that cannot be drawn is left out: it must never cost anybody the rest of a report.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from reports.charts.axes import AxisScale, PlotArea, draw_axes, padded_range
from reports.charts.drawing import GRID, INK, MUTED, PALETTE, Area, Dot, Drawing, Point, Stroke, TextMark, box
from reports.formatting import clean, format_number, humanize
from storage.models.figures import BarFigure, ConfusionFigure, CurveFigure, Figure

# Widths in points: two charts side by side, or one across the page.
HALF_WIDTH, FULL_WIDTH = 244.0, 505.0

MAX_BARS, MAX_CLASSES, MAX_SERIES = 24, 24, 6
_HEIGHT = 168.0
# Mean width of a DejaVu Sans letter, as a share of its size: enough to reserve space without a font file.
_LETTER_WIDTH = 0.56
_SINGLE_BAR_COLOR = "#94a3b8"


def draw_figure(figure: Figure, width: float = HALF_WIDTH) -> Drawing | None:
    """Return the drawing of a figure; None where its kind is unknown or its parts do not fit."""
    try:
        if figure["kind"] == "bars":
            return _draw_bars(figure, width)
        if figure["kind"] == "confusion":
            return _draw_confusion(figure, width)
        return _draw_xy(figure, width) if figure["kind"] in ("line", "scatter") else None
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def _draw_xy(figure: CurveFigure, width: float) -> Drawing | None:
    """Draw lines or points over two axes."""
    series = list(figure["series"])[:MAX_SERIES]
    curves = [_finite_points(entry["x"], entry["y"]) for entry in series]
    band = figure.get("band")
    edges = [_finite_points(band["x"], band[edge]) for edge in ("low", "high")] if band else []
    points = [point for curve in (*curves, *edges) for point in curve]
    if not points:
        return None
    names = [str(entry["name"]) for entry in (*series, *([band] if band else []))]
    drawing, area = _empty_chart(width, names)
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    if figure.get("diagonal"):
        # Shares get the whole square from 0 to 1, so that charts of different models look alike.
        unit = (0.0, 1.0) if min([*xs, *ys]) >= 0 and max([*xs, *ys]) <= 1 else ()
        xs = ys = [*xs, *ys, *unit]
    x = AxisScale(*padded_range(xs, margin=0.02), area.left, area.right)
    y = AxisScale(*padded_range(ys), area.bottom, area.top)
    axis_names = clean(figure.get("x_label", ""), 40), clean(figure.get("y_label", ""), 28)
    draw_axes(drawing, area, x, y, axis_names, whole=all(value == int(value) for value in xs))
    if figure.get("diagonal"):
        low, high = max(x.low, y.low), min(x.high, y.high)
        drawing.add(Stroke([(x.position(v), y.position(v)) for v in (low, high)], MUTED, 0.8, 3))

    def to_positions(curve: Sequence[Point]) -> list[Point]:
        return [(x.position(a), y.position(b)) for a, b in curve]

    if edges:
        low_edge, high_edge = map(to_positions, edges)
        drawing.add(Area([*low_edge, *reversed(high_edge)], PALETTE[len(series)], 0.16))
    for color, curve in zip(PALETTE, curves, strict=False):
        _draw_curve(drawing, to_positions(curve), color, figure["kind"])
    mark = figure.get("mark")
    if mark is not None and x.low <= mark <= x.high:
        left = x.position(mark)
        drawing.add(Stroke([(left, area.top), (left, area.bottom)], MUTED, 0.8, 2))
    return drawing


def _finite_points(xs: Sequence[float | None], ys: Sequence[float | None]) -> list[Point]:
    """Return the points of which both coordinates are finite."""
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if x is not None and y is not None]
    return [(float(x), float(y)) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


def _draw_curve(drawing: Drawing, points: Sequence[Point], color: str, kind: str) -> None:
    if kind == "scatter":
        radius = 1.7 if len(points) > 30 else 3.0
        drawing.add(*(Dot(x, y, radius, color, 0.55) for x, y in points))
        return
    if len(points) > 1:
        drawing.add(Stroke(points, color, 1.4))
    if len(points) <= 12:
        drawing.add(*(Dot(x, y, 2.0, color) for x, y in points))


def _empty_chart(width: float, names: Sequence[str]) -> tuple[Drawing, PlotArea]:
    """Return a chart with its legend, and the area that is left for curves."""
    drawing = Drawing(width, _HEIGHT)
    lines = _draw_legend(drawing, names, 46.0) if len(names) > 1 else 0
    return drawing, PlotArea(46.0, 8.0 + 11.0 * lines, width - 8.0, _HEIGHT - 30.0)


def _draw_legend(drawing: Drawing, names: Sequence[str], left: float) -> int:
    """Draw the names with their colours above the field; return the number of lines they take."""
    x, y, lines = left, 8.0, 1
    for index, name in enumerate(names):
        text = clean(humanize(name), 30)
        text_width = 14 + len(text) * 7.5 * _LETTER_WIDTH + 10
        if x + text_width > drawing.width and x > left:
            x, y, lines = left, y + 11.0, lines + 1
        color = PALETTE[index] if index < len(PALETTE) else MUTED
        drawing.add(Stroke([(x, y - 2.5), (x + 10, y - 2.5)], color, 2.5), TextMark(x + 14, y, text))
        x += text_width
    return lines


def _draw_bars(figure: BarFigure, width: float) -> Drawing | None:
    """Draw horizontal bars: labels of any length fit, and each bar has its number behind it."""
    series = list(figure["series"])[:MAX_SERIES]
    labels = [clean(label, 26) for label in figure["labels"]][:MAX_BARS]
    values = [[_finite_or_none(v) for v in entry["values"][:MAX_BARS]] for entry in series]
    known = [value for row in values for value in row if value is not None]
    if not labels or not known:
        return None
    thickness = 11.0 if len(series) == 1 else 9.0
    row_height = thickness * len(series) + 8.0
    drawing = Drawing(width, 0)
    legend = _draw_legend(drawing, [str(entry["name"]) for entry in series], 4.0) if len(series) > 1 else 0
    top = 4.0 + 11.0 * legend
    drawing.height = top + row_height * len(labels) + 6.0
    left = min(max(map(len, labels)) * 7.5 * _LETTER_WIDTH + 10, width * 0.42)
    x = AxisScale(*padded_range(known, zero=True), left, width - 46.0)
    for row, label in enumerate(labels):
        y = top + row * row_height
        drawing.add(TextMark(left - 5, y + row_height / 2 - 1.0, label, anchor="end", color=INK))
        for index in range(len(series)):
            # In a single series the first bar is this model, the grey ones are what it is compared with.
            color = PALETTE[index] if len(series) > 1 or row == 0 else _SINGLE_BAR_COLOR
            drawing.add(*_bar(x, y + index * thickness, thickness - 2.0, values[index][row], color))
    zero = x.position(0.0)
    drawing.add(Stroke([(zero, top - 2), (zero, drawing.height - 6)], MUTED, 0.8))
    return drawing


def _bar(
    x: AxisScale, y: float, thickness: float, value: float | None, color: str
) -> Iterator[Area | TextMark]:
    zero = x.position(0.0)
    if value is None:
        yield TextMark(zero + 4, y + thickness - 1.5, "not measured")
        return
    start, end = sorted((zero, x.position(value)))
    yield Area(box(start, y, max(end - start, 0.8), thickness), color)
    yield TextMark(end + 4, y + thickness - 1.5, format_number(value), color=INK)


def _finite_or_none(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _draw_confusion(figure: ConfusionFigure, width: float) -> Drawing | None:
    """Draw a confusion matrix: rows are the truth, columns the predictions, shades the share of the row."""
    labels = [clean(label, 14) for label in figure["labels"]]
    counts = [[int(c) for c in row] for row in figure["counts"]]
    size = len(labels)
    if not 1 <= size <= MAX_CLASSES or len(counts) != size or any(len(row) != size for row in counts):
        return None
    label_width = max(map(len, labels)) * 7.0 * _LETTER_WIDTH
    left = 22.0 + label_width
    cell_width = (width - left - 8.0) / size
    cell_height = min(max(20.0, 110.0 / size), cell_width)
    upright = label_width > cell_width
    top = 22.0 + (label_width if upright else 10.0)
    drawing = Drawing(width, top + cell_height * size + 8.0)
    drawing.add(
        TextMark((left + width - 8) / 2, 9, "predicted", anchor="middle"),
        TextMark(9, top + cell_height * size / 2, "true", anchor="middle", upright=True),
    )
    anchor = "start" if upright else "middle"
    for row, label in enumerate(labels):
        x, y = left + row * cell_width + cell_width / 2, top + row * cell_height
        drawing.add(TextMark(left - 5, y + cell_height / 2 + 2.5, label, 7.0, "end", INK))
        drawing.add(TextMark(x + 2.5 * upright, top - 5, label, 7.0, anchor, INK, upright=upright))
        drawing.add(*_confusion_cells(counts[row], row, (left, y), (cell_width, cell_height)))
    return drawing


def _confusion_cells(
    counts: Sequence[int], row: int, start: Point, size: tuple[float, float]
) -> Iterator[Area | TextMark | Stroke]:
    total = sum(counts) or 1
    for column, count in enumerate(counts):
        x, y, share = start[0] + column * size[0], start[1], count / total
        corners = box(x, y, *size)
        yield Area(corners, PALETTE[0 if column == row else 1], round(0.03 + 0.82 * share, 3))
        yield Stroke([*corners, corners[0]], GRID, 0.6)
        if size[0] > 5.0 * len(f"{count:,}") and (count or len(counts) <= 6):
            color = "#ffffff" if share > 0.55 else INK
            center = x + size[0] / 2, y + size[1] / 2 + 2.6
            yield TextMark(*center, f"{count:,}", 7.5, "middle", color, bold=column == row)
