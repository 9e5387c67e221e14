"""Sections on the course of a training: curves, epochs, and the models of a batch."""

from __future__ import annotations

from collections.abc import Iterator

from reports.charts.figures import FULL_WIDTH, HALF_WIDTH
from reports.facts.session_facts import SessionFacts, TrainingCurve
from reports.formatting import ABSENT, clean, format_number, humanize, humanize_title
from reports.layout.chart_block import chart_block
from reports.layout.document import Block, Paragraph, TableBlock
from storage.db.sessions import BatchItem
from storage.models.figures import CurveFigure, CurveRecord

MAX_ITEMS, MAX_COLUMNS, MAX_NAMES = 60, 8, 4
_STATE_ORDER = {"failed": 0, "rejected": 1, "completed": 2}


def curves_section(view: SessionFacts) -> Iterator[Block]:
    """Yield a chart of the loss and of every other metric of the epochs."""
    curve = view.curve
    if curve is None:
        return
    figures = [_metric_figure(curve, "loss"), *(_metric_figure(curve, name) for name in curve.metrics)]
    rates = [(epoch.get("epoch"), epoch.get("learning_rate")) for epoch in curve.epochs]
    if len(figures) == 1 and any(rate is not None and rate != rates[0][1] for _, rate in rates):
        x, y = zip(*rates, strict=True)
        series: list[CurveRecord] = [{"name": "learning rate", "x": x, "y": y}]
        figures.append({"kind": "line", "title": "Learning rate", "x_label": "epoch", "series": series})
    yield from chart_block(figures, HALF_WIDTH if len(figures) > 1 else FULL_WIDTH)


def _metric_figure(curve: TrainingCurve, metric: str) -> CurveFigure:
    title = humanize_title(metric)
    numbers = [epoch.get("epoch") or number for number, epoch in enumerate(curve.epochs, 1)]
    series: list[CurveRecord] = [
        {"name": part, "x": numbers, "y": [epoch.get(key) for epoch in curve.epochs]}
        for part, key in (("training", f"train_{metric}"), ("validation", f"val_{metric}"))
        if any(epoch.get(key) is not None for epoch in curve.epochs)
    ]
    note = f"The dotted line is the best epoch, {format_number(numbers[curve.best])}."
    return {"kind": "line", "title": title, "x_label": "epoch", "y_label": title.lower(),
            "series": series, "mark": numbers[curve.best], "note": note}  # fmt: skip


def history_section(view: SessionFacts) -> Iterator[Block]:
    """Yield a table of the epochs: the first, every k-th, the best and the last."""
    curve = view.curve
    if curve is None:
        return
    names = ["loss", *curve.metrics]
    keys = [f"{part}_{name}" for name in names for part in ("train", "val")] + ["learning_rate", "seconds"]
    columns = [key for key in keys if any(key in epoch for epoch in curve.epochs)][:MAX_COLUMNS]
    indices = curve.indices_to_show()
    if len(indices) < len(curve.epochs):
        counts = f"{format_number(len(indices))} of {format_number(len(curve.epochs))} epochs"
        yield Paragraph(f"{counts}; all are in training_history.json.", muted=True)
    rows = []
    for index in indices:
        epoch = curve.epochs[index]
        number = format_number(epoch.get("epoch")) + (" (best)" if index == curve.best else "")
        rows.append([number, *(_format_cell(key, epoch.get(key)) for key in columns)])
    header = ["epoch", *(humanize(key.replace("train_", "training_")) for key in columns)]
    strong = frozenset([indices.index(curve.best)])
    yield TableBlock(header, rows, [1.1, *[1.0] * len(columns)], strong=strong)


def _format_cell(key: str, value: object) -> str:
    short = key == "seconds" and isinstance(value, float) and value < 10
    return f"{value:.2g}" if short else format_number(value)


def batch_section(view: SessionFacts) -> Iterator[Block]:
    """Yield a line per model of a batch, those that failed first; equal reasons share a line."""
    if not view.items:
        return
    ranked = sorted(
        view.items, key=lambda item: (_STATE_ORDER.get(str(item.get("state")), 3), _name_order(item))
    )
    groups: dict[tuple[str, str], list[BatchItem]] = {}
    for item in ranked:
        # Every promoted model has a version of its own; failures are often the same for many sensors.
        shared = str(item.get("name")) if item.get("state") == "completed" else _reason(item)
        groups.setdefault((str(item.get("state")), shared), []).append(item)
    shown = list(groups.values())[:MAX_ITEMS]
    rows = [
        [_names(items), clean(items[0].get("state")), _headline(items), _reason(items[0])] for items in shown
    ]
    yield TableBlock(["model", "ended as", "headline", "why"], rows, [1.6, 0.8, 0.8, 3.3], numbers_from=9)
    if hidden := len(view.items) - sum(map(len, shown)):
        rest = format_number(hidden)
        yield Paragraph(
            f"{rest} more have a version and a manifest each: GET /models lists them.", muted=True
        )


def _names(items: list[BatchItem]) -> str:
    names = [clean(item.get("label") or item.get("name"), 60) for item in items[:MAX_NAMES]]
    more = f" and {format_number(len(items) - MAX_NAMES)} more" if len(items) > MAX_NAMES else ""
    return ", ".join(names) + more


def _headline(items: list[BatchItem]) -> str:
    scores = items[0].get("metrics")
    return format_number(scores["headline"]) if scores and len(items) == 1 else ABSENT


def _reason(item: BatchItem) -> str:
    if item.get("state") == "completed":
        return f"version {item.get('version')} was promoted"
    return clean(item.get("error") or " ".join(item.get("reasons") or []), 220)


def _name_order(item: BatchItem) -> tuple[int, str]:
    """Return a sort key that puts 9-drift before 10-drift."""
    name = str(item.get("name"))
    digits = name[: len(name) - len(name.lstrip("0123456789"))]
    return int(digits[:18] or 0), name
