"""Charts as data: a family adds them to its scores, a report draws them.

A figure is a small JSON object; docs/reports.md describes the kinds. These functions build figures, check that
their parts have equal lengths, and keep them small, because they are stored in the version's manifest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from storage.models.figures import BarFigure, ConfusionFigure, CurveFigure, CurveRecord, Figure

__all__ = ["Figure", "bars", "confusion", "line", "reliability", "scatter"]

Numbers = Sequence[float] | NDArray[np.generic]
# x and y of equal length.
Curve = tuple[Numbers, Numbers]

# Longer curves are thinned evenly; the first and the last point stay.
MAX_POINTS: Final = 200
_DIGITS: Final = 5


def confusion(
    title: str, labels: Sequence[str], counts: Sequence[Sequence[int]], note: str = ""
) -> ConfusionFigure:
    """Build a confusion matrix.

    Parameters
    ----------
    labels : sequence of str, length n
    counts : n x n
        ``counts[true][predicted]``.
    """
    rows = [[int(count) for count in row] for row in counts]
    _require(len(rows) == len(labels) and all(len(row) == len(labels) for row in rows), title)
    return {
        "kind": "confusion",
        "title": title,
        "labels": list(map(str, labels)),
        "counts": rows,
        "note": note,
    }


def line(
    title: str,
    x_label: str,
    y_label: str,
    curves: Mapping[str, Curve],
    *,
    band: tuple[str, Numbers, Numbers, Numbers] | None = None,
    diagonal: bool = False,
    note: str = "",
) -> CurveFigure:
    """Build a chart of curves over a common axis.

    Parameters
    ----------
    curves : mapping of name to (x, y)
    band : (name, x, low, high), optional
        A shaded range, such as a forecast's interval.
    diagonal : bool
        Draw the line y = x, which a calibrated model follows.
    """
    figure = _build_xy("line", title, x_label, y_label, curves, diagonal=diagonal, note=note)
    if band is not None:
        name, *columns = band
        _require(len({len(column) for column in columns}) == 1, title)
        x, low, high = map(_thin, columns)
        figure["band"] = {"name": name, "x": x, "low": low, "high": high}
    return figure


def scatter(
    title: str,
    x_label: str,
    y_label: str,
    points: Mapping[str, Curve],
    *,
    diagonal: bool = False,
    note: str = "",
) -> CurveFigure:
    """Build a scatter plot, such as truth against prediction, or residuals over time."""
    return _build_xy("scatter", title, x_label, y_label, points, diagonal=diagonal, note=note)


def bars(
    title: str, y_label: str, labels: Sequence[str], groups: Mapping[str, Numbers], note: str = ""
) -> BarFigure:
    """Build a bar chart: one bar for each label, or one for each group side by side.

    Parameters
    ----------
    groups : mapping of name to values
        Each with one value for each label.
    """
    _require(all(len(values) == len(labels) for values in groups.values()), title)
    return {
        "kind": "bars",
        "title": title,
        "y_label": y_label,
        "labels": list(map(str, labels)),
        "series": [
            {"name": name, "values": [_round(value) for value in values]} for name, values in groups.items()
        ],
        "note": note,
    }


def reliability(
    title: str, probabilities: Numbers, outcomes: Sequence[bool] | NDArray[np.generic], bins: int = 10
) -> CurveFigure:
    """Build a reliability diagram: calibrated probabilities lie on the diagonal.

    Parameters
    ----------
    probabilities : sequence of float, between 0 and 1
    outcomes : sequence of bool, of equal length
    """
    _require(len(probabilities) == len(outcomes), title)
    predicted, observed = np.asarray(probabilities, np.float64), np.asarray(outcomes, np.float64)
    bin_of = np.minimum((predicted * bins).astype(int), bins - 1)
    count = np.bincount(bin_of, minlength=bins)
    used = np.flatnonzero(count)
    mean = np.bincount(bin_of, predicted, bins)[used] / count[used]
    share = np.bincount(bin_of, observed, bins)[used] / count[used]
    curve = {"measured": (mean.tolist(), share.tolist())}
    return line(title, "chance given", "share that happened", curve, diagonal=True)


def _build_xy(
    kind: Literal["line", "scatter"],
    title: str,
    x_label: str,
    y_label: str,
    curves: Mapping[str, Curve],
    *,
    diagonal: bool,
    note: str,
) -> CurveFigure:
    series: list[CurveRecord] = []
    for name, (x, y) in curves.items():
        _require(len(x) == len(y), title)
        series.append({"name": name, "x": _thin(x), "y": _thin(y)})
    return {
        "kind": kind,
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
        "series": series,
        "diagonal": diagonal,
        "note": note,
    }


def _thin(values: Numbers) -> list[float | None]:
    """Return at most `MAX_POINTS` of the values, rounded."""
    count = len(values)
    if count <= MAX_POINTS:
        return [_round(value) for value in values]
    steps = range(MAX_POINTS)
    return [_round(values[round(step * (count - 1) / (MAX_POINTS - 1))]) for step in steps]


def _round(value: float) -> float | None:
    number = float(value)
    return float(f"{number:.{_DIGITS}g}") if math.isfinite(number) else None


def _require(fits: bool, title: str) -> None:
    if not fits:
        raise ValueError(f"the parts of the figure {title!r} do not fit together")
