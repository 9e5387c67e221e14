"""A document as data: a title and blocks, which HTML and PDF render alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reports.charts.drawing import Drawing


@dataclass(frozen=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; ``muted`` ones are notes."""

    text: str
    muted: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list of sentences; ``marks`` replace the dots."""

    items: Sequence[str]
    marks: Sequence[str] = ()


@dataclass(frozen=True)
class Tile:
    """One figure that a reader should see first."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """At most four tiles side by side."""

    tiles: Sequence[Tile]


@dataclass(frozen=True)
class TableBlock:
    """Rows under a header; columns from ``numbers_from`` on are aligned to the right.

    Parameters
    ----------
    widths : sequence of float
        Relative widths of the columns.
    strong : set of int
        Rows set in bold.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    widths: Sequence[float]
    numbers_from: int = 1
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True)
class KeyValues:
    """Names and values without a header.

    Parameters
    ----------
    columns : int
        Pairs per line: one, or two where they are short.
    """

    rows: Sequence[tuple[str, str]]
    columns: int = 1


@dataclass(frozen=True)
class Chart:
    """A drawing with its title; ``note`` says what to look for."""

    title: str
    drawing: Drawing
    note: str = ""


@dataclass(frozen=True)
class Charts:
    """Charts, two per line where they are narrow."""

    charts: Sequence[Chart]


@dataclass(frozen=True)
class Log:
    """Lines of a program's output."""

    lines: Sequence[str]


Block = Heading | Paragraph | Bullets | Tiles | TableBlock | KeyValues | Charts | Log


@dataclass(frozen=True)
class Document:
    """A report.

    Parameters
    ----------
    badge, tone : str
        The end state in a word or two; ``good``, ``doubtful`` or ``bad``.
    date : str
        RFC 3339 time of the session's end. It is the document's date, so that a report which is built again
        has the same bytes.
    """

    title: str
    subtitle: str
    badge: str
    tone: str
    date: str
    blocks: Sequence[Block] = field(default=())
