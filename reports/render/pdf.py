"""Render a document as PDF: A4, vector charts, a font with accents and €, page numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

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
    Tiles,
)
from reports.render.pdf_page import MARGIN, NEXT_LINE, WIDTH, PdfPage, paint

_GAP: Final = 16.0
# Room for the name of a pair; the value gets the rest of the column.
_NAME_WIDTH: Final = 140.0
_TONES: Final = {"good": "#15803d", "doubtful": "#b45309", "bad": "#b91c1c"}
_MARK_COLORS: Final = {"✓": "#15803d", "✗": "#b91c1c"}
_ACCENT, _DARK, _PALE, _STRONG, _LINES = "#1d4ed8", "#0f172a", "#f8fafc", "#eff6ff", "#cbd5e1"


def render_pdf(document: Document) -> bytes:
    """Return the document as PDF; equal documents give equal bytes."""
    page = PdfPage(document)
    _render_title(page, document)
    for index, block in enumerate(document.blocks):
        if isinstance(block, Heading):
            following = document.blocks[index + 1 : index + 2]
            # A heading must not stand alone at the foot of a page.
            page.reserve(40 + (_first_height(following[0]) if following else 50.0))
        _render_block(page, block)
    return bytes(page.output())


def _first_height(block: Block) -> float:
    if isinstance(block, Charts) and block.charts:
        return block.charts[0].drawing.height + 20
    return 50.0


def _render_title(page: PdfPage, document: Document) -> None:
    page.add_page()
    page.set_fill_color(_ACCENT)
    page.rect(0, 0, page.w, 6, style="F")
    page.set_pen(18, _DARK, "B")
    page.multi_cell(WIDTH, 23, page.printable(document.title), align="L", **NEXT_LINE)
    page.ln(2)
    page.set_pen(9, MUTED)
    page.cell(WIDTH, 16, page.printable(document.subtitle), **NEXT_LINE)
    page.ln(4)
    page.set_pen(9, "#ffffff", "B")
    badge = page.printable(document.badge)
    page.set_fill_color(_TONES[document.tone])
    page.rect(MARGIN, page.get_y(), page.get_string_width(badge) + 18, 17, style="F", round_corners=True,
              corner_radius=3)  # fmt: skip
    page.set_x(MARGIN + 9)
    page.cell(0, 17, badge, **NEXT_LINE)
    page.ln(2)


def _render_block(page: PdfPage, block: Block) -> None:
    match block:
        case Heading():
            page.ln(12)
            page.set_pen(12.5, _DARK, "B")
            page.cell(WIDTH, 18, page.printable(block.text), **NEXT_LINE)
            page.ln(3)
        case Paragraph():
            size, line, color = (8.0, 11.5, MUTED) if block.muted else (9.5, 14.0, INK)
            page.set_pen(size, color)
            page.multi_cell(WIDTH, line, page.printable(block.text), align="L", **NEXT_LINE)
            page.ln(4)
        case Bullets():
            _render_bullets(page, block)
        case Tiles():
            _render_tiles(page, block)
        case TableBlock():
            _render_table(page, block)
        case KeyValues():
            _render_key_values(page, block)
        case Charts():
            _render_charts(page, block)
        case Log():
            page.set_pen(7, MUTED)
            for text in block.lines:
                page.multi_cell(WIDTH, 9, page.printable(text) or " ", align="L", **NEXT_LINE)
            page.ln(4)
        case _:
            assert_never(block)


def _render_bullets(page: PdfPage, block: Bullets) -> None:
    marks = block.marks or ["•"] * len(block.items)
    for mark, item in zip(marks, block.items, strict=True):
        text = page.printable(item)
        page.set_pen(9.5)
        page.reserve(page.text_height(text, WIDTH - 16, 14))
        page.set_pen(9.5, _MARK_COLORS.get(mark, INK), "B")
        page.set_x(MARGIN + 3)
        page.cell(13, 14, mark)
        page.set_pen(9.5)
        page.multi_cell(WIDTH - 16, 14, text, align="L", **NEXT_LINE)
        page.ln(2)


def _render_tiles(page: PdfPage, block: Tiles) -> None:
    count = max(len(block.tiles), 1)
    width, top = (WIDTH - 8 * (count - 1)) / count, page.get_y()
    for index, tile in enumerate(block.tiles):
        x = MARGIN + index * (width + 8)
        page.set_fill_color(_PALE)
        page.set_draw_color(GRID)
        page.set_line_width(0.8)
        page.rect(x, top, width, 52, style="DF", round_corners=True, corner_radius=4)
        page.fit_line(tile.label, (x + 9, top + 7), width - 16, (7.5, MUTED, ""))
        page.fit_line(tile.value, (x + 9, top + 19), width - 16, (13, INK, "B"))
        page.fit_line(tile.note, (x + 9, top + 37), width - 16, (7, MUTED, ""))
    page.set_xy(MARGIN, top + 62)


def _render_table(page: PdfPage, block: TableBlock) -> None:
    """Render a table; its header is repeated on every page."""
    page.set_pen(8)
    page.set_draw_color(_LINES)
    page.set_line_width(0.5)
    align = ["LEFT" if column < block.numbers_from else "RIGHT" for column in range(len(block.header))]
    style = FontFace(emphasis="BOLD", color=INK, fill_color=_PALE)
    with page.table(
        width=WIDTH, col_widths=tuple(block.widths), text_align=tuple(align), headings_style=style,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES, line_height=11.5, padding=(2.5, 4),
    ) as table:  # fmt: skip
        table.row([page.printable(cell) for cell in block.header])
        for number, row in enumerate(block.rows):
            strong = number in block.strong
            face = FontFace(emphasis="BOLD" if strong else None, fill_color=_STRONG if strong else "#ffffff")
            table.row([page.printable(cell) for cell in row], style=face)
    page.ln(6)


def _render_key_values(page: PdfPage, block: KeyValues) -> None:
    """Render names at the left and values at the right, one or two pairs per line."""
    width = (WIDTH - _GAP * (block.columns - 1)) / block.columns
    for start in range(0, len(block.rows), block.columns):
        pairs = block.rows[start : start + block.columns]
        line = [(page.printable(name), page.printable(value)) for name, value in pairs]
        page.set_pen(8.5)
        page.reserve(max(page.text_height(value, width - _NAME_WIDTH, 12.5) for _, value in line))
        top, bottoms = page.get_y(), []
        for index, (name, value) in enumerate(line):
            x = MARGIN + index * (width + _GAP)
            cells = ((name, MUTED, x, _NAME_WIDTH - 6), (value, INK, x + _NAME_WIDTH, width - _NAME_WIDTH))
            for text, color, left, cell_width in cells:
                page.set_pen(8.5, color)
                page.set_xy(left, top)
                page.multi_cell(cell_width, 12.5, text, align="L", **NEXT_LINE)
                bottoms.append(page.get_y())
        page.set_y(max(bottoms))
    page.ln(4)


def _render_charts(page: PdfPage, block: Charts) -> None:
    """Render charts, two per line where they are narrow."""
    line: list[Chart] = []
    for chart in block.charts:
        if line and sum(c.drawing.width + _GAP for c in line) + chart.drawing.width > WIDTH + 1:
            _render_chart_line(page, line)
            line = []
        line.append(chart)
    if line:
        _render_chart_line(page, line)


def _render_chart_line(page: PdfPage, line: Sequence[Chart]) -> None:
    """Render charts side by side, kept together on a page."""
    head = max(_render_chart_head(page, chart, measure_only=True) for chart in line)
    height = head + max(chart.drawing.height for chart in line)
    page.reserve(height + 8)
    x, top = MARGIN, page.get_y()
    for chart in line:
        page.set_xy(x, top)
        _render_chart_head(page, chart)
        paint(page, chart.drawing, x, top + head)
        x += chart.drawing.width + _GAP
    page.set_xy(MARGIN, top + height + 10)


def _render_chart_head(page: PdfPage, chart: Chart, *, measure_only: bool = False) -> float:
    """Render title and note of a chart; return their height."""
    width, x, height = chart.drawing.width, page.get_x(), 4.0
    for size, style, color, line in ((8.5, "B", INK, chart.title), (7.5, "", MUTED, chart.note)):
        text = page.printable(line)
        if text:
            page.set_pen(size, color, style)
            height += page.text_height(text, width, size * 1.35)
            if not measure_only:
                page.set_x(x)
                page.multi_cell(width, size * 1.35, text, align="L", **NEXT_LINE)
    return height
