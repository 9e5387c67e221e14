"""The paper a PDF is written on: fonts, margins, headers and footers, and how drawings are painted."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos

from reports.charts.drawing import INK, MUTED, Area, Dot, Drawing, Mark, Stroke, TextMark
from reports.formatting import clean
from reports.layout.document import Document

MARGIN: Final = 45.0
WIDTH: Final = 595.28 - 2 * MARGIN
NEXT_LINE: Final[dict[str, Any]] = {"new_x": XPos.LMARGIN, "new_y": YPos.NEXT}
_FONT: Final = "report"
_FACES: Final = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
_COUNT: Final = "{nb}"
"""What fpdf2 replaces with the number of pages, wherever it stands."""
_MISSING: Final = "\ufffd"


def font_folder() -> Path:
    """Where the DejaVu fonts lie: matplotlib ships them; it is found, not imported."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("matplotlib, whose fonts the reports use, is not installed")
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"


class PdfPage(FPDF):
    """The pen that writes a document from top to bottom."""

    def __init__(self, document: Document) -> None:
        super().__init__(unit="pt", format="A4")
        self.told = document
        self.set_margins(MARGIN, MARGIN)
        self.c_margin = 0.0
        self.set_auto_page_break(True, MARGIN + 14)
        for style, file in _FACES.items():
            self.add_font(_FONT, style, font_folder() / file)
        self.set_title(document.title)
        self.set_producer("Millwright")
        self.set_creation_date(_moment(document.date))
        self.set_lang("en")

    def header(self) -> None:
        """On every page but the first: what this is."""
        if self.page_no() == 1:
            return
        self.pen(7.5, MUTED)
        self.set_xy(MARGIN, 24)
        self.cell(WIDTH, 10, self.seen(f"{self.told.title} · {self.told.subtitle}"[:120]))
        self.set_xy(MARGIN, MARGIN)

    def footer(self) -> None:
        """Page numbers."""
        self.pen(7.5, MUTED)
        self.set_xy(MARGIN, -34)
        self.cell(WIDTH, 10, "Millwright")
        before = f"Page {self.page_no()} of "
        self.set_xy(MARGIN + WIDTH - self.get_string_width(f"{before}{self.page_no()}"), -34)
        self.cell(0, 10, f"{before}{_COUNT}")

    def pen(self, size: float, color: str = INK, style: str = "") -> None:
        """Choose the font and its colour."""
        self.set_font(_FONT, style, size)
        self.set_text_color(color)

    def seen(self, told: str) -> str:
        """Text in characters that the font has."""
        known = self.fonts[_FONT].cmap  # type: ignore[union-attr]
        text = clean(told).replace(_COUNT, "{n b}")
        return "".join(c if ord(c) in known else _MISSING for c in text)

    def fitted(self, told: str, at: tuple[float, float], width: float, pen: tuple[float, str, str]) -> None:
        """One line, made smaller until it fits."""
        size, text = pen[0], self.seen(told)
        self.pen(*pen)
        while self.get_string_width(text) > width and size > 5:
            size -= 0.5
            self.pen(size, *pen[1:])
        self.set_xy(*at)
        self.cell(width, pen[0] * 1.1, text)

    def room(self, height: float) -> None:
        """Begin a new page where so much does not fit on this one; what fits on no page just begins."""
        if self.get_y() + min(height, 500) > self.h - self.b_margin:
            self.add_page()

    def height_of(self, text: str, width: float, line: float) -> float:
        """How high a text is when it is set."""
        kind = MethodReturnValue.HEIGHT
        found: Any = self.multi_cell(width, line, text, align="L", dry_run=True, output=kind)
        return float(found)


def paint(page: PdfPage, drawing: Drawing, x: float, y: float) -> None:
    """A drawing with its upper left corner here."""
    for mark in drawing.marks:
        _mark(page, mark, x, y)


def _mark(page: PdfPage, mark: Mark, x: float, y: float) -> None:
    """One mark of a drawing."""
    if isinstance(mark, TextMark):
        _words(page, mark, x, y)
    elif isinstance(mark, Stroke):
        page.set_draw_color(mark.color)
        page.set_line_width(mark.width)
        page.set_dash_pattern(mark.dash, mark.dash)
        page.polyline([(x + a, y + b) for a, b in mark.points])
        page.set_dash_pattern()
    else:
        page.set_fill_color(mark.color)
        with page.local_context(fill_opacity=mark.opacity):
            if isinstance(mark, Area):
                page.polygon([(x + a, y + b) for a, b in mark.points], style="F")
            elif isinstance(mark, Dot):
                page.circle(x + mark.x, y + mark.y, mark.radius, style="F")


def _words(page: PdfPage, mark: TextMark, x: float, y: float) -> None:
    """A line of text of a drawing."""
    page.pen(mark.size, mark.color, "B" if mark.bold else "")
    told = page.seen(mark.text)
    back = {"start": 0.0, "middle": 0.5, "end": 1.0}[mark.anchor] * page.get_string_width(told)
    if mark.upright:
        with page.rotation(90, x + mark.x, y + mark.y):
            page.text(x + mark.x - back, y + mark.y, told)
    else:
        page.text(x + mark.x - back, y + mark.y, told)


def _moment(told: str) -> datetime:
    found = datetime.fromisoformat(told)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
