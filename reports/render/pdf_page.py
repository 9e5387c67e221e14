"""The page of a PDF: fonts, margins, header and footer, and how drawings are painted on it."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypedDict, cast

from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos

from reports.charts.drawing import INK, MUTED, Area, Dot, Drawing, Mark, Stroke, TextMark
from reports.formatting import clean
from reports.layout.document import Document

MARGIN: Final = 45.0
WIDTH: Final = 595.28 - 2 * MARGIN
_FONT: Final = "report"
_FACES: Final = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
# fpdf2 replaces this text with the number of pages, wherever it stands: user text must not contain it.
_PAGE_COUNT: Final = "{nb}"


class _CellEnd(TypedDict):
    """Where the pen is after a cell."""

    new_x: XPos
    new_y: YPos


NEXT_LINE: Final[_CellEnd] = {"new_x": XPos.LMARGIN, "new_y": YPos.NEXT}


def font_folder() -> Path:
    """Return the folder of the DejaVu fonts: matplotlib ships them. It is located without importing it."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("matplotlib, whose fonts the reports use, is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


class PdfPage(FPDF):
    """A PDF that is written from top to bottom."""

    def __init__(self, document: Document) -> None:
        super().__init__(unit="pt", format="A4")
        self.document = document
        self.set_margins(MARGIN, MARGIN)
        self.c_margin = 0.0
        self.set_auto_page_break(True, MARGIN + 14)
        for style, file in _FACES.items():
            self.add_font(_FONT, style, font_folder() / file)
        self.set_title(document.title)
        self.set_producer("Millwright")
        date = datetime.fromisoformat(document.date)
        self.set_creation_date(date if date.tzinfo else date.replace(tzinfo=UTC))
        self.set_lang("en")

    def header(self) -> None:
        """Write the title on every page but the first."""
        if self.page_no() == 1:
            return
        self.set_pen(7.5, MUTED)
        self.set_xy(MARGIN, 24)
        self.cell(WIDTH, 10, self.printable(f"{self.document.title} · {self.document.subtitle}"[:120]))
        self.set_xy(MARGIN, MARGIN)

    def footer(self) -> None:
        """Write the page number."""
        self.set_pen(7.5, MUTED)
        self.set_xy(MARGIN, -34)
        self.cell(WIDTH, 10, "Millwright")
        start = f"Page {self.page_no()} of "
        self.set_xy(MARGIN + WIDTH - self.get_string_width(f"{start}{self.page_no()}"), -34)
        self.cell(0, 10, f"{start}{_PAGE_COUNT}")

    def set_pen(self, size: float, color: str = INK, style: str = "") -> None:
        """Select the font and its colour."""
        self.set_font(_FONT, style, size)
        self.set_text_color(color)

    def printable(self, text: str) -> str:
        """Return text in characters that the font has, others replaced by U+FFFD."""
        glyphs = self.fonts[_FONT].cmap  # type: ignore[union-attr]
        cleaned = clean(text).replace(_PAGE_COUNT, "{n b}")
        return "".join(c if ord(c) in glyphs else "\ufffd" for c in cleaned)

    def fit_line(
        self, text: str, position: tuple[float, float], width: float, pen: tuple[float, str, str]
    ) -> None:
        """Write one line, in a smaller size where it would not fit."""
        size, line = pen[0], self.printable(text)
        self.set_pen(*pen)
        while self.get_string_width(line) > width and size > 5:
            size -= 0.5
            self.set_pen(size, *pen[1:])
        self.set_xy(*position)
        self.cell(width, pen[0] * 1.1, line)

    def reserve(self, height: float) -> None:
        """Start a new page where so much does not fit on this one; what fits on no page starts here."""
        if self.get_y() + min(height, 500) > self.h - self.b_margin:
            self.add_page()

    def text_height(self, text: str, width: float, line: float) -> float:
        """Return the height of a text when it is set."""
        kind = MethodReturnValue.HEIGHT
        return cast("float", self.multi_cell(width, line, text, align="L", dry_run=True, output=kind))


def paint(page: PdfPage, drawing: Drawing, x: float, y: float) -> None:
    """Paint a drawing with its upper left corner at a position."""
    for mark in drawing.marks:
        _paint_mark(page, mark, x, y)


def _paint_mark(page: PdfPage, mark: Mark, x: float, y: float) -> None:
    if isinstance(mark, TextMark):
        page.set_pen(mark.size, mark.color, "B" if mark.bold else "")
        text = page.printable(mark.text)
        offset = {"start": 0.0, "middle": 0.5, "end": 1.0}[mark.anchor] * page.get_string_width(text)
        if mark.upright:
            with page.rotation(90, x + mark.x, y + mark.y):
                page.text(x + mark.x - offset, y + mark.y, text)
        else:
            page.text(x + mark.x - offset, y + mark.y, text)
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
