"""Drawings of lines, areas, dots and texts in points, the same for HTML (as SVG) and PDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

INK, MUTED, GRID, PAPER = "#1e293b", "#64748b", "#e2e8f0", "#ffffff"
# Distinct for people with colour blindness, and in grey by their lightness.
PALETTE = ("#1d4ed8", "#c2410c", "#0f766e", "#7c3aed", "#a16207", "#64748b")

Point = tuple[float, float]


@dataclass(frozen=True)
class Stroke:
    """A line through points; ``dash`` is the length of dash and gap, 0 for a solid line."""

    points: Sequence[Point]
    color: str = INK
    width: float = 1.0
    dash: float = 0.0


@dataclass(frozen=True)
class Area:
    """A filled shape."""

    points: Sequence[Point]
    color: str
    opacity: float = 1.0


@dataclass(frozen=True)
class Dot:
    """A small disc."""

    x: float
    y: float
    radius: float
    color: str
    opacity: float = 1.0


@dataclass(frozen=True)
class TextMark:
    """A line of text; ``anchor`` is start, middle or end; ``upright`` turns it by 90° to the left."""

    x: float
    y: float
    text: str
    size: float = 7.5
    anchor: str = "start"
    color: str = MUTED
    bold: bool = False
    upright: bool = False


Mark = Stroke | Area | Dot | TextMark


@dataclass
class Drawing:
    """Marks on a field of ``width`` by ``height`` points, y downwards."""

    width: float
    height: float
    marks: list[Mark] = field(default_factory=list)

    def add(self, *marks: Mark) -> None:
        """Add marks on top."""
        self.marks.extend(marks)


def box(x: float, y: float, width: float, height: float) -> list[Point]:
    """Return the corners of a rectangle."""
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


def render_svg(drawing: Drawing, label: str) -> str:
    """Return the drawing as an SVG element; screen readers read the label."""
    size = f'viewBox="0 0 {drawing.width:g} {drawing.height:g}"'
    marks = "".join(_render_mark(mark) for mark in drawing.marks)
    return f'<svg {size} role="img" aria-label="{escape(label)}">{marks}</svg>'


def _render_mark(mark: Mark) -> str:
    if isinstance(mark, Stroke):
        dash = f' stroke-dasharray="{mark.dash:g}"' if mark.dash else ""
        style = f'fill="none" stroke="{mark.color}" stroke-width="{mark.width:g}" stroke-linejoin="round"'
        return f'<polyline points="{_points(mark.points)}" {style}{dash}/>'
    if isinstance(mark, Area):
        return f'<polygon points="{_points(mark.points)}" {_fill(mark.color, mark.opacity)}/>'
    if isinstance(mark, Dot):
        center = f'cx="{mark.x:.1f}" cy="{mark.y:.1f}" r="{mark.radius:g}"'
        return f"<circle {center} {_fill(mark.color, mark.opacity)}/>"
    turn = f' transform="rotate(-90 {mark.x:.1f} {mark.y:.1f})"' if mark.upright else ""
    weight = ' font-weight="bold"' if mark.bold else ""
    position = f'x="{mark.x:.1f}" y="{mark.y:.1f}" font-size="{mark.size:g}" text-anchor="{mark.anchor}"'
    return f'<text {position} fill="{mark.color}"{weight}{turn}>{escape(mark.text)}</text>'


def _fill(color: str, opacity: float) -> str:
    return f'fill="{color}"' + (f' fill-opacity="{opacity:g}"' if opacity < 1 else "")


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
