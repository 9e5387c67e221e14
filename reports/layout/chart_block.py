"""Turn the figures of a family into a block of charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports.charts.figures import HALF_WIDTH, draw_figure
from reports.formatting import clean
from reports.layout.document import Chart, Charts
from storage.models.figures import Figure


def chart_block(figures: Sequence[Figure], width: float = HALF_WIDTH) -> Iterator[Charts]:
    """Yield one block with the figures that can be drawn; none where none can."""
    charts = []
    for figure in figures:
        drawing = draw_figure(figure, width) if isinstance(figure, dict) else None
        if drawing is not None:
            title, note = clean(figure.get("title", ""), 90), clean(figure.get("note") or "", 200)
            charts.append(Chart(title, drawing, note))
    if charts:
        yield Charts(charts)
