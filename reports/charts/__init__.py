"""Charts as vector drawings: ``figures`` draws what a family describes, ``axes`` and ``drawing`` are its tools."""

from reports.charts.drawing import Drawing, render_svg
from reports.charts.figures import FULL_WIDTH, HALF_WIDTH, draw_figure

__all__ = ["FULL_WIDTH", "HALF_WIDTH", "Drawing", "draw_figure", "render_svg"]
