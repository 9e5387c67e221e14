"""A document as PDF: A4, vector charts, a font with accents and €, page numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace

from reports.charts.drawing import GRID, INK, MUTED
from reports.layout.document import (
    Block,
    Bullets,
    Chart,
    Charts,
    Document,
    Heading,
    KeyValues,
    Log,
    Paragraph,
    TableBlock,
    Tile,
    Tiles,
)
from reports.render.pdf_page import MARGIN, NEXT_LINE, WIDTH, PdfPage, paint

_GAP: Final = 16.0
_TONES: Final = {"good": "#15803d", "doubtful": "#b45309", "bad": "#b91c1c"}
_MARKS: Final = {"✓": "#15803d", "✗": "#b91c1c"}
_ACCENT, _DARK, _PALE, _STRONG, _LINES = "#1d4ed8", "#0f172a", "#f8fafc", "#eff6ff", "#cbd5e1"


def render_pdf(document: Document) -> bytes:
    """The document as PDF: equal documents, equal bytes."""
    page = PdfPage(document)
    _begin(page, document)
    for place, block in enumerate(document.blocks):
        if isinstance(block, Heading):
            after = document.blocks[place + 1] if place + 1 < len(document.blocks) else None
            page.room(40 + _first_height(after))
        _WRITERS[type(block)](page, block)
    return bytes(page.output())


def _begin(page: PdfPage, document: Document) -> None:
    """The first page's title."""
    page.add_page()
    page.set_fill_color(_ACCENT)
    page.rect(0, 0, page.w, 6, style="F")
    page.pen(18, _DARK, "B")
    page.multi_cell(WIDTH, 23, page.seen(document.title), align="L", **NEXT_LINE)
    page.ln(2)
    page.pen(9, MUTED)
    page.cell(WIDTH, 16, page.seen(document.subtitle), **NEXT_LINE)
    page.ln(4)
    _badge(page, document)


def _badge(page: PdfPage, document: Document) -> None:
    """How the session ended, on its colour."""
    page.pen(9, "#ffffff", "B")
    told = page.seen(document.badge)
    page.set_fill_color(_TONES[document.tone])
    page.rect(MARGIN, page.get_y(), page.get_string_width(told) + 18, 17, style="F", round_corners=True,
              corner_radius=3)  # fmt: skip
    page.set_x(MARGIN + 9)
    page.cell(0, 17, told, **NEXT_LINE)
    page.ln(2)


def _heading(page: PdfPage, block: Heading) -> None:
    """A section's title, on the next page where its first lines would be there."""
    page.ln(12)
    page.pen(12.5, _DARK, "B")
    page.cell(WIDTH, 18, page.seen(block.text), **NEXT_LINE)
    page.ln(3)


def _paragraph(page: PdfPage, block: Paragraph) -> None:
    """Lines of text."""
    page.pen(8 if block.muted else 9.5, MUTED if block.muted else INK)
    page.multi_cell(WIDTH, 11.5 if block.muted else 14, page.seen(block.text), align="L", **NEXT_LINE)
    page.ln(4)


def _bullets(page: PdfPage, block: Bullets) -> None:
    """Sentences with their marks hanging out."""
    marks = block.marks or ["•"] * len(block.items)
    for mark, item in zip(marks, block.items, strict=True):
        told = page.seen(item)
        page.pen(9.5)
        page.room(page.height_of(told, WIDTH - 16, 14))
        page.pen(9.5, _MARKS.get(mark, INK), "B")
        page.set_x(MARGIN + 3)
        page.cell(13, 14, mark)
        page.pen(9.5)
        page.multi_cell(WIDTH - 16, 14, told, align="L", **NEXT_LINE)
        page.ln(2)


def _tiles(page: PdfPage, block: Tiles) -> None:
    """Figures side by side."""
    count = max(len(block.tiles), 1)
    width, top = (WIDTH - 8 * (count - 1)) / count, page.get_y()
    for place, tile in enumerate(block.tiles):
        x = MARGIN + place * (width + 8)
        page.set_fill_color(_PALE)
        page.set_draw_color(GRID)
        page.set_line_width(0.8)
        page.rect(x, top, width, 52, style="DF", round_corners=True, corner_radius=4)
        _tile(page, tile, x + 9, width - 16, top)
    page.set_xy(MARGIN, top + 62)


def _tile(page: PdfPage, tile: Tile, x: float, width: float, top: float) -> None:
    page.fitted(tile.label, (x, top + 7), width, (7.5, MUTED, ""))
    page.fitted(tile.value, (x, top + 19), width, (13, INK, "B"))
    page.fitted(tile.note, (x, top + 37), width, (7, MUTED, ""))


def _grid(page: PdfPage, table: TableBlock) -> None:
    """A table; its header is repeated on every page."""
    page.pen(8)
    page.set_draw_color(_LINES)
    page.set_line_width(0.5)
    align = ["LEFT" if place < table.numbers_from else "RIGHT" for place in range(len(table.header))]
    style = FontFace(emphasis="BOLD", color=INK, fill_color=_PALE)
    with page.table(
        width=WIDTH, col_widths=tuple(table.widths), text_align=tuple(align), headings_style=style,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES, line_height=11.5, padding=(2.5, 4),
    ) as drawn:  # fmt: skip
        for at, row in enumerate([table.header, *table.rows], -1):
            strong = at in table.strong
            face = FontFace(emphasis="BOLD" if strong else None, fill_color=_STRONG if strong else "#ffffff")
            drawn.row([page.seen(cell) for cell in row], style=None if at < 0 else face)
    page.ln(6)


def _pairs(page: PdfPage, block: KeyValues) -> None:
    """Names at the left, what they are at the right; two pairs a line where the block says so."""
    width = (WIDTH - _GAP * (block.columns - 1)) / block.columns
    for first in range(0, len(block.rows), block.columns):
        line = block.rows[first : first + block.columns]
        line = [(page.seen(told), page.seen(value)) for told, value in line]
        page.pen(8.5)
        page.room(max(page.height_of(value, width - 140, 12.5) for _, value in line))
        top, ends = page.get_y(), []
        for place, pair in enumerate(line):
            x = MARGIN + place * (width + _GAP)
            for told, color, at, room in ((pair[0], MUTED, x, 134), (pair[1], INK, x + 140, width - 140)):
                page.pen(8.5, color)
                page.set_xy(at, top)
                page.multi_cell(room, 12.5, told, align="L", **NEXT_LINE)
                ends.append(page.get_y())
        page.set_y(max(ends))
    page.ln(4)


def _charts(page: PdfPage, block: Charts) -> None:
    """Charts, two a line where they are narrow."""
    line: list[Chart] = []
    for chart in block.charts:
        if line and sum(one.drawing.width + _GAP for one in line) + chart.drawing.width > WIDTH + 1:
            _chart_line(page, line)
            line = []
        line.append(chart)
    if line:
        _chart_line(page, line)


def _chart_line(page: PdfPage, line: Sequence[Chart]) -> None:
    """Charts side by side, kept together on a page."""
    heads = [_chart_head(page, chart, measure=True) for chart in line]
    head = max(heads)
    height = head + max(chart.drawing.height for chart in line)
    page.room(height + 8)
    x, top = MARGIN, page.get_y()
    for chart in line:
        page.set_xy(x, top)
        _chart_head(page, chart)
        paint(page, chart.drawing, x, top + head)
        x += chart.drawing.width + _GAP
    page.set_xy(MARGIN, top + height + 10)


def _chart_head(page: PdfPage, chart: Chart, *, measure: bool = False) -> float:
    """Title and note of a chart; the height they take."""
    width, x, height = chart.drawing.width, page.get_x(), 4.0
    for size, style, color, told in ((8.5, "B", INK, chart.title), (7.5, "", MUTED, chart.note)):
        text = page.seen(told)
        if text:
            page.pen(size, color, style)
            height += page.height_of(text, width, size * 1.35)
            if not measure:
                page.set_x(x)
                page.multi_cell(width, size * 1.35, text, align="L", **NEXT_LINE)
    return height


def _log(page: PdfPage, block: Log) -> None:
    """Lines in small type."""
    page.pen(7, MUTED)
    for line in block.lines:
        page.multi_cell(WIDTH, 9, page.seen(line) or " ", align="L", **NEXT_LINE)
    page.ln(4)


_WRITERS: dict[type[Block], Callable[[PdfPage, Any], None]] = {
    Heading: _heading,
    Paragraph: _paragraph,
    Bullets: _bullets,
    Tiles: _tiles,
    TableBlock: _grid,
    KeyValues: _pairs,
    Charts: _charts,
    Log: _log,
}


def _first_height(block: Block | None) -> float:
    """What should stand below a heading on the same page."""
    if isinstance(block, Charts) and block.charts:
        return block.charts[0].drawing.height + 20
    return 50.0
