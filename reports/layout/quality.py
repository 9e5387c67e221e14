"""Sections on the quality of a model: metrics, the family's figures and the verdict of the gate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from reports.charts.figures import FULL_WIDTH
from reports.facts.session_facts import SessionFacts
from reports.formatting import clean, format_count, format_number, humanize, split_unit
from reports.layout.chart_block import chart_block
from reports.layout.document import Block, Bullets, Paragraph, TableBlock
from storage.models.figures import BarFigure

MAX_METRICS, MAX_FIGURES = 60, 16


def quality_section(view: SessionFacts) -> Iterator[Block]:
    """Yield the headline beside the previous model and the baselines, and every metric."""
    scores = view.quality
    if scores is None:
        return
    models = {"this model": scores.value, "previous model": scores.champion}
    bars = {name: value for name, value in models.items() if value is not None}
    labels, values = [*bars, *scores.baselines], [*bars.values(), *scores.baselines.values()]
    direction = "higher is better" if scores.higher_is_better else "lower is better"
    title = f"{scores.metric}{f' in {scores.unit}' if scores.unit else ''} ({direction})"
    figure: BarFigure = {
        "kind": "bars",
        "title": title,
        "labels": [humanize(name) for name in labels],
        "series": [{"name": scores.metric, "values": values}],
    }
    yield from chart_block([figure], FULL_WIDTH)
    yield Paragraph(
        f"Measured on {format_count(scores.held_out, scores.held_out_unit)} that no training saw.", muted=True
    )
    if scores.unit.startswith("z"):
        yield Paragraph("z: in standard deviations of the training data.", muted=True)
    champion, headline = view.manifest.get("champion_metrics"), view.manifest.get("headline")
    yield from _metrics_table(
        view.manifest["metrics"]["metrics"],
        champion["metrics"] if champion else {},
        headline["name"] if headline else "",
    )


def _metrics_table(
    metrics: Mapping[str, object], champion: Mapping[str, object], headline: str
) -> Iterator[Block]:
    """Yield the headline first, then metrics of the whole, then those of parts such as ``step_3.mae``."""
    ordered = sorted(metrics, key=lambda name: (name != headline, "." in name, _natural_order(name)))
    shown = ordered[:MAX_METRICS]
    header, widths = ["metric", "this model"], [2.4, 1.0]
    if champion:
        header, widths = [*header, "previous model"], [*widths, 1.0]
    rows = []
    for name in shown:
        plain, unit = split_unit(name)
        label = f"{humanize(plain)} ({unit})" if unit else humanize(name)
        previous = [format_number(champion.get(name))] if champion else []
        rows.append([label, format_number(metrics[name]), *previous])
    strong = frozenset([0]) if shown[:1] == [headline] else frozenset[int]()
    yield TableBlock(header, rows, widths, strong=strong)
    if len(shown) < len(metrics):
        yield Paragraph(f"{format_number(len(metrics) - len(shown))} more are in the manifest.", muted=True)


def _natural_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts step 3 before step 12."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d{1,9})", name)]


def figures_section(view: SessionFacts) -> Iterator[Block]:
    """Yield the figures of the family."""
    yield from chart_block((view.manifest.get("figures") or [])[:MAX_FIGURES])


def verdict_section(view: SessionFacts) -> Iterator[Block]:
    """Yield each check of the gate with its result."""
    verdict = view.manifest.get("verdict")
    if not verdict:
        return
    checks = verdict.get("checks") or []
    yield Paragraph(f"The gate {'promoted' if verdict['promoted'] else 'did not promote'} this version.")
    marks = ["✓" if check["passed"] else "✗" for check in checks]
    yield Bullets([clean(check["detail"]) for check in checks], marks)
