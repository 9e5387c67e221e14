"""Figures become drawings that stay on their paper; what cannot be drawn is left out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from prediction import figures
from reports.charts import FULL_WIDTH, HALF_WIDTH, Drawing, axes, draw_figure, render_svg
from reports.charts.drawing import Area, Dot, Stroke, TextMark
from tests.reports.example_facts import example_figures

NASTY: list[Any] = [
    {},
    {"kind": "pie", "title": "x"},
    {"kind": "line"},
    {"kind": "line", "series": []},
    {"kind": "line", "series": [{"name": "a", "x": [1, 2], "y": [1]}]},
    {"kind": "line", "series": [{"name": "a", "x": ["one"], "y": ["two"]}]},
    {"kind": "line", "series": [{"name": "a", "x": [None], "y": [None]}]},
    {"kind": "line", "series": "abc"},
    {"kind": "scatter", "series": [{"name": "a", "x": [math.nan], "y": [math.inf]}]},
    {"kind": "bars", "labels": ["a"], "series": [{"name": "a", "values": []}]},
    {"kind": "bars", "labels": [], "series": []},
    {"kind": "confusion", "labels": ["a"], "counts": [[1, 2]]},
    {"kind": "confusion", "labels": ["a"] * 60, "counts": [[1] * 60] * 60},
    {"kind": "confusion", "labels": ["a", "b"], "counts": [["x", 1], [1, 2]]},
]


def positions(drawing: Drawing) -> list[tuple[float, float]]:
    points = []
    for mark in drawing.marks:
        if isinstance(mark, Stroke | Area):
            points += list(mark.points)
        elif isinstance(mark, Dot | TextMark):
            points.append((mark.x, mark.y))
    return points


@pytest.mark.parametrize("figure", example_figures(), ids=lambda figure: figure["title"])
@pytest.mark.parametrize("width", [HALF_WIDTH, FULL_WIDTH])
def test_every_kind_is_drawn_within_its_field(figure: Any, width: float) -> None:
    drawing = draw_figure(figure, width)
    assert drawing is not None
    assert all(
        0 <= x <= drawing.width + 0.1 and 0 <= y <= drawing.height + 0.1 for x, y in positions(drawing)
    )


@pytest.mark.parametrize("figure", NASTY, ids=range(len(NASTY)))
def test_what_cannot_be_drawn_is_left_out(figure: Any) -> None:
    assert draw_figure(figure) is None


@pytest.mark.parametrize(
    "values", [[0.0], [5.0, 5.0], [0, 0, 0], [1e-9, 2e-9], [-1e12, 1e12], [1e300, -1e300]]
)
def test_values_of_any_size_are_drawn(values: list[float]) -> None:
    x = list(range(len(values)))
    for figure in (
        figures.line("t", "x", "y", {"a": (x, values)}),
        figures.scatter("t", "x", "y", {"a": (x, values)}, diagonal=True),
        figures.bars("t", "y", list(map(str, x)), {"a": values}),
    ):
        drawing = draw_figure(figure)
        assert drawing is not None
        assert all(map(math.isfinite, (part for position in positions(drawing) for part in position)))


def test_ticks_are_round_and_within() -> None:
    assert axes.tick_values(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert axes.tick_values(0.03, 0.11) == pytest.approx([0.04, 0.06, 0.08, 0.1])
    assert axes.tick_values(3, 3) == [3]
    assert axes.tick_values(1, 3, 6, whole=True) == [1, 2, 3]
    assert axes.tick_values(1, 5.2, 2, whole=True) == [2, 4]


def test_words_are_escaped_in_svg() -> None:
    svg = render_svg(Drawing(10, 10, [TextMark(1, 1, '<b onclick="x">')]), '"><script>')
    assert "<b" not in svg
    assert "<script" not in svg


def test_a_band_has_the_colour_of_its_name() -> None:
    steps = [1.0, 2.0]
    figure = figures.line("x", "x", "y", {"a": (steps, steps)}, band=("b", steps, steps, [2.0, 3.0]))
    marks = draw_figure(figure).marks
    legend = [mark.color for mark in marks if isinstance(mark, Stroke) and mark.width == 2.5]
    areas = [mark.color for mark in marks if isinstance(mark, Area)]
    assert areas == legend[1:]
