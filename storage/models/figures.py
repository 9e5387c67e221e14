"""Charts as a manifest holds them: ``prediction.figures`` builds them, reports and pages draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired, TypeAlias, TypedDict


class CurveRecord(TypedDict):
    """One curve, or one group of points; None where a number is not finite."""

    name: str
    x: Sequence[float | None]
    y: Sequence[float | None]


class BandRecord(TypedDict):
    """A shaded range, such as a forecast's interval."""

    name: str
    x: Sequence[float | None]
    low: Sequence[float | None]
    high: Sequence[float | None]


class CurveFigure(TypedDict):
    """Curves or points over a common axis; ``diagonal`` adds the line y = x, ``mark`` an upright line."""

    kind: Literal["line", "scatter"]
    title: str
    x_label: str
    y_label: NotRequired[str]
    series: Sequence[CurveRecord]
    diagonal: NotRequired[bool]
    band: NotRequired[BandRecord]
    mark: NotRequired[float | None]
    note: NotRequired[str]


class BarGroup(TypedDict):
    """One bar for each label."""

    name: str
    values: Sequence[float | None]


class BarFigure(TypedDict):
    """Bars: one for each label, or one for each group side by side; ``records`` are the ids behind the labels."""

    kind: Literal["bars"]
    title: str
    y_label: NotRequired[str]
    labels: Sequence[str]
    series: Sequence[BarGroup]
    records: NotRequired[Sequence[str | None]]
    note: NotRequired[str]


class ConfusionFigure(TypedDict):
    """A confusion matrix: ``counts[true][predicted]``."""

    kind: Literal["confusion"]
    title: str
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]
    note: NotRequired[str]


Figure: TypeAlias = CurveFigure | BarFigure | ConfusionFigure
