"""Charts described as data: what a family puts beside its scores, and what a report draws.

A figure is a small JSON object; its forms are in docs/reports.md. These functions make them, check that their
parts fit together and keep them small, because they live in the version's manifest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Figure = dict[str, Any]
Numbers = Sequence[float] | NDArray[Any]
Curve = tuple[Numbers, Numbers]
"""x and y of equal length."""

MAX_POINTS = 200
"""Points kept of a curve: evenly thinned, the first and the last stay."""
_DIGITS = 5


def confusion(title: str, labels: Sequence[str], counts: Sequence[Sequence[int]], note: str = "") -> Figure:
    """How often each class was taken for which.

    Parameters
    ----------
    labels : sequence of str, length n
    counts : n x n
        ``counts[true][predicted]``.
    """
    rows = [[int(count) for count in row] for row in counts]
    _require(len(rows) == len(labels) and all(len(row) == len(labels) for row in rows), title)
    return {"kind": "confusion", "title": title, "labels": list(map(str, labels)), "counts": rows,
            "note": note}  # fmt: skip


def line(
    title: str,
    x_label: str,
    y_label: str,
    curves: Mapping[str, Curve],
    *,
    band: tuple[str, Numbers, Numbers, Numbers] | None = None,
    diagonal: bool = False,
    note: str = "",
) -> Figure:
    """Curves over a common axis.

    Parameters
    ----------
    curves : mapping of name to (x, y)
    band : (name, x, low, high), optional
        A shaded range, such as a forecast's interval.
    diagonal : bool
        Draw the line y = x, which a calibrated model follows.
    """
    made = _drawn("line", title, x_label, y_label, curves, diagonal=diagonal, note=note)
    if band is not None:
        name, x, low, high = band
        _require(len(x) == len(low) == len(high), title)
        kept = _places(len(x))
        made["band"] = {"name": name, "x": _some(x, kept), "low": _some(low, kept), "high": _some(high, kept)}
    return made


def scatter(
    title: str,
    x_label: str,
    y_label: str,
    points: Mapping[str, Curve],
    *,
    diagonal: bool = False,
    note: str = "",
) -> Figure:
    """Points, such as truth against prediction, or residuals over time."""
    return _drawn("scatter", title, x_label, y_label, points, diagonal=diagonal, note=note)


def bars(
    title: str, y_label: str, labels: Sequence[str], groups: Mapping[str, Numbers], note: str = ""
) -> Figure:
    """One bar a label, or several side by side.

    Parameters
    ----------
    groups : mapping of name to values
        Each with one value a label.
    """
    _require(all(len(values) == len(labels) for values in groups.values()), title)
    series = [{"name": name, "values": [_short(v) for v in values]} for name, values in groups.items()]
    return {"kind": "bars", "title": title, "y_label": y_label, "labels": list(map(str, labels)),
            "series": series, "note": note}  # fmt: skip


def reliability(
    title: str, chances: Numbers, happened: Sequence[bool] | NDArray[Any], bins: int = 10
) -> Figure:
    """How often what was given a chance did happen: on the diagonal where the chances are honest.

    Parameters
    ----------
    chances : sequence of float, between 0 and 1
    happened : sequence of bool, of equal length
    """
    _require(len(chances) == len(happened), title)
    told, came = np.asarray(chances, np.float64), np.asarray(happened, np.float64)
    place = np.minimum((told * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    known = np.flatnonzero(count)
    mean = np.bincount(place, told, bins)[known] / count[known]
    share = np.bincount(place, came, bins)[known] / count[known]
    curve = {"measured": (mean.tolist(), share.tolist())}
    return line(title, "chance given", "share that happened", curve, diagonal=True)


def _drawn(kind: str, title: str, x_label: str, y_label: str, curves: Mapping[str, Curve], *,
           diagonal: bool, note: str) -> Figure:  # fmt: skip
    series = []
    for name, (x, y) in curves.items():
        _require(len(x) == len(y), title)
        kept = _places(len(x))
        series.append({"name": name, "x": _some(x, kept), "y": _some(y, kept)})
    return {"kind": kind, "title": title, "x_label": x_label, "y_label": y_label, "series": series,
            "diagonal": diagonal, "note": note}  # fmt: skip


def _places(count: int) -> list[int]:
    if count <= MAX_POINTS:
        return list(range(count))
    return [round(step * (count - 1) / (MAX_POINTS - 1)) for step in range(MAX_POINTS)]


def _some(values: Numbers, kept: Sequence[int]) -> list[float | None]:
    return [_short(values[place]) for place in kept]


def _short(value: float) -> float | None:
    number = float(value)
    return float(f"{number:.{_DIGITS}g}") if math.isfinite(number) else None


def _require(fits: bool, title: str) -> None:
    if not fits:
        raise ValueError(f"the parts of the figure {title!r} do not fit together")
