"""The sections of a report, each from the facts it tells of; one without facts yields nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from reports.charts.figures import FULL, HALF, draw_figure
from reports.facts.session_view import (
    TrainingCurve,
    curve_metrics,
    epochs_to_show,
    model_quality,
    time_span,
    training_curve,
)
from reports.formatting import (
    ABSENT,
    clean,
    format_count,
    format_duration,
    format_number,
    format_quantity,
    format_time,
    humanize,
    humanize_title,
    unit_of,
)
from reports.layout.document import Block, Bullets, Chart, Charts, KeyValues, Log, Paragraph, TableBlock

JSON = dict[str, Any]

_MOST_METRICS, _MOST_ITEMS, _MOST_FACTS, _MOST_FIGURES = 60, 60, 40, 16
_MOST_INTERVALS, _MOST_WARNINGS = 4, 12
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_STAGES = ("prepare", "fit", "evaluate", "refit", "save")
_LAST_MOMENT = 4e9
_PARTS = ("train", "validation", "test")
_DIGEST = re.compile(r"[0-9a-f]{16,64}")
_LARGEST_FACT = 10**15
"""Larger whole numbers are marks for machines, such as nanoseconds since 1970."""


def curves(facts: JSON) -> Iterator[Block]:
    """Loss and whatever else was measured each epoch."""
    run = training_curve(facts)
    if run is None:
        return
    figures = [
        _curve(run, "loss", "Loss"),
        *(_curve(run, told, humanize_title(told)) for told in curve_metrics(run)),
    ]
    rates = [(e.get("epoch"), e.get("learning_rate")) for e in run.epochs]
    if len(figures) == 1 and any(rate is not None and rate != rates[0][1] for _, rate in rates):
        x, y = zip(*rates, strict=True)
        series = [{"name": "learning rate", "x": x, "y": y}]
        figures.append({"kind": "line", "title": "Learning rate", "x_label": "epoch", "series": series})
    yield from _charts(figures, HALF if len(figures) > 1 else FULL)


def _curve(run: TrainingCurve, told: str, title: str) -> JSON:
    numbers = [e.get("epoch") or place for place, e in enumerate(run.epochs, 1)]
    both = [("training", f"train_{told}"), ("validation", f"val_{told}")]
    series = [
        {"name": word, "x": numbers, "y": [e.get(key) for e in run.epochs]}
        for word, key in both
        if any(e.get(key) is not None for e in run.epochs)
    ]
    note = f"The dotted line is the best epoch, {format_number(numbers[run.best])}."
    return {"kind": "line", "title": title, "x_label": "epoch", "y_label": title.lower(),
            "series": series, "mark": numbers[run.best], "note": note}  # fmt: skip


def history(facts: JSON) -> Iterator[Block]:
    """Epochs: the first, every k-th, the best and the last."""
    run = training_curve(facts)
    if run is None:
        return
    wanted = ["train_loss", "val_loss"]
    for told in curve_metrics(run):
        wanted += [f"train_{told}", f"val_{told}"]
    wanted = [key for key in [*wanted, "learning_rate", "seconds"] if any(key in e for e in run.epochs)][:8]
    places = epochs_to_show(run)
    if len(places) < len(run.epochs):
        told = f"{format_number(len(places))} of {format_number(len(run.epochs))} epochs; all are in training_history.json."
        yield Paragraph(told, muted=True)
    rows = [
        [format_number(run.epochs[at].get("epoch")) + (" (best)" if at == run.best else ""),
         *(_of_epoch(key, run.epochs[at].get(key)) for key in wanted)]
        for at in places
    ]  # fmt: skip
    strong = frozenset([places.index(run.best)])
    header = ["epoch", *(humanize(key.replace("train_", "training_")) for key in wanted)]
    yield TableBlock(header, rows, [1.1, *[1.0] * len(wanted)], strong=strong)


def _of_epoch(key: str, value: Any) -> str:
    return (
        f"{value:.2g}"
        if key == "seconds" and isinstance(value, float) and value < 10
        else format_number(value)
    )


def quality(facts: JSON) -> Iterator[Block]:
    """The headline beside champion and baselines, and every metric."""
    scores = model_quality(facts)
    if scores is None:
        return
    beside = {"this model": scores.value, "model before": scores.champion}
    labels = [told for told, value in beside.items() if value is not None] + [*scores.baselines]
    values = [value for value in beside.values() if value is not None] + [*scores.baselines.values()]
    way = "higher is better" if scores.higher_is_better else "lower is better"
    title = f"{scores.metric}{f' in {scores.unit}' if scores.unit else ''} ({way})"
    series = [{"name": scores.metric, "values": values}]
    figure = {"kind": "bars", "title": title, "labels": [humanize(told) for told in labels], "series": series}
    yield from _charts([figure], FULL)
    metrics = facts["manifest"]["metrics"].get("metrics") or {}
    champion = (facts["manifest"].get("champion_metrics") or {}).get("metrics") or {}
    yield Paragraph(
        f"Measured on {format_count(scores.held_out, 'sample')} that no training saw.", muted=True
    )
    if scores.unit.startswith("z"):
        yield Paragraph("z: in standard deviations of the training data.", muted=True)
    headline = (facts["manifest"].get("headline") or {}).get("name")
    yield from _metrics(metrics, champion, str(headline))


def _metrics(metrics: Mapping[str, Any], champion: Mapping[str, Any], headline: str) -> Iterator[Block]:
    ordered = sorted(metrics, key=lambda told: (told != headline, "." in told, _natural(told)))
    shown = ordered[:_MOST_METRICS]
    header, widths = ["metric", "this model"], [2.4, 1.0]
    if champion:
        header, widths = [*header, "model before"], [*widths, 1.0]
    rows = [
        [
            _measured(told),
            format_number(metrics[told]),
            *([format_number(champion.get(told))] if champion else []),
        ]
        for told in shown
    ]
    strong = frozenset([0]) if shown[:1] == [headline] else frozenset[int]()
    yield TableBlock(header, rows, widths, strong=strong)
    if len(shown) < len(metrics):
        yield Paragraph(f"{format_number(len(metrics) - len(shown))} more are in the manifest.", muted=True)


def _measured(told: str) -> str:
    """A metric's name, with its unit in brackets where the name tells it."""
    plain, unit = unit_of(told)
    return f"{humanize(plain)} ({unit})" if unit else humanize(told)


def _natural(told: str) -> list[tuple[int, str]]:
    """Names in the order of the numbers in them: step 3 before step 12."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d{1,9})", told)]


def figures(facts: JSON) -> Iterator[Block]:
    """What the family has to show."""
    yield from _charts(((facts["manifest"] or {}).get("figures") or [])[:_MOST_FIGURES])


def _charts(told: list[JSON], width: float = HALF) -> Iterator[Block]:
    made = [(figure, draw_figure(figure, width)) for figure in told if isinstance(figure, dict)]
    charts = [
        Chart(clean(figure.get("title", ""), 90), drawing, clean(figure.get("note") or "", 200))
        for figure, drawing in made
        if drawing is not None
    ]
    if charts:
        yield Charts(charts)


def verdict(facts: JSON) -> Iterator[Block]:
    """What the gate asked and what it found."""
    told = (facts["manifest"] or {}).get("verdict")
    if not told:
        return
    checks = told.get("checks") or []
    marks = ["✓" if check["passed"] else "✗" for check in checks]
    yield Paragraph("The gate promoted this version." if told["promoted"] else
                    "The gate did not promote this version.")  # fmt: skip
    yield Bullets([clean(check["detail"]) for check in checks], marks)


def fleet(facts: JSON) -> Iterator[Block]:
    """One line a model, those that failed first."""
    items = facts["session"]["details"].get("items") or []
    if not items:
        return
    order = {"failed": 0, "rejected": 1, "completed": 2}
    ranked = sorted(items, key=lambda item: (order.get(item.get("state"), 3), _in_order(item)))
    rows = [
        [clean(item.get("name")), clean(item.get("state")), _item_headline(item), _item_reason(item)]
        for item in ranked[:_MOST_ITEMS]
    ]
    yield TableBlock(["model", "ended as", "headline", "why"], rows, [1.3, 0.9, 0.8, 3.6], numbers_from=9)
    if len(items) > len(rows):
        left = format_number(len(items) - len(rows))
        yield Paragraph(
            f"{left} more have a version and a manifest each: GET /models lists them.", muted=True
        )


def _in_order(item: JSON) -> tuple[int, str]:
    """Names that begin with a number in the order of the numbers."""
    told = str(item.get("name"))
    digits = told[: len(told) - len(told.lstrip("0123456789"))]
    return int(digits[:18] or 0), told


def _item_headline(item: JSON) -> str:
    return format_number((item.get("metrics") or {}).get("headline"))


def _item_reason(item: JSON) -> str:
    if item.get("state") == "completed":
        return f"version {item.get('version')} was promoted"
    return clean(item.get("error") or " ".join(item.get("reasons") or []), 220)


def data(facts: JSON) -> Iterator[Block]:
    """Rows, time span, fingerprint, and what the family says of its data."""
    session, manifest = facts["session"], facts["manifest"] or {}
    rows = [("Model", clean(session["model"])), ("Kind of session", clean(session["kind"]))]
    if manifest:
        rows += [
            ("Rows", format_number(manifest.get("rows"))),
            ("Fingerprint", clean(manifest.get("fingerprint"))),
        ]
    for told in ("records_added", "records_skipped", "corrections"):
        if session[told]:
            rows.append((humanize_title(told), format_number(session[told])))
    for told in ("undo_of", "retry_of"):
        if session["details"].get(told):
            rows.append((humanize_title(told), f"session {session['details'][told]}"))
    if session["backup"]:
        rows.append(("Backup before", clean(session["backup"])))
    known = {told: v for told, v in (manifest.get("facts") or {}).items() if not _is_mark(v)}
    span = time_span(facts)
    if span is not None:
        rows.append(("Time span", f"{format_time(span[0])} to {format_time(span[1])}"))
        known = {told: value for told, value in known.items() if value not in span}
    rows += [_fact(told, value) for told, value in list(known.items())[:_MOST_FACTS]]
    yield KeyValues(rows)


def _fact(told: str, value: Any) -> tuple[str, str]:
    """A fact of the data with its name; seconds since 1970 as a time, other numbers with their unit."""
    if isinstance(value, float) and told.endswith("time") and 0 <= value < _LAST_MOMENT:
        return humanize_title(told), format_time(datetime.fromtimestamp(value, UTC).isoformat())
    plain, unit = unit_of(told)
    if unit and isinstance(value, int | float) and not isinstance(value, bool):
        return humanize_title(plain), format_quantity(value, unit)
    return humanize_title(told), _plain(value)


def _is_mark(value: Any) -> bool:
    """What machines tell things apart by, and what is empty: nobody reads either."""
    if isinstance(value, dict):
        return not value
    if isinstance(value, list):
        return all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in value)
    return value == "" or (isinstance(value, int) and abs(value) >= _LARGEST_FACT)


def _plain(value: Any, longest: int = 300) -> str:
    """A fact of any shape as a line of text."""
    if isinstance(value, dict):
        parts = sorted(value, key=lambda k: _PARTS.index(k) if k in _PARTS else len(_PARTS))
        text = ", ".join(f"{humanize(str(k))}: {_plain(value[k])}" for k in parts if not _is_mark(value[k]))
    elif isinstance(value, list | tuple):
        text = ", ".join(_plain(v) for v in value)
    elif isinstance(value, str):
        text = format_time(value) if _MOMENT.match(value) else value
    else:
        text = format_number(value)
    return clean(text, longest) or ABSENT


def certificate(facts: JSON) -> Iterator[Block]:
    """Which samples were on which side."""
    told = (facts["manifest"] or {}).get("certificate")
    if not told:
        return
    rows = []
    for part in _PARTS:
        intervals = told.get(part) or []
        if intervals:
            count = sum(last - first + 1 for first, last in intervals)
            rows.append([part, format_number(count), _intervals(intervals)])
    yield TableBlock(
        ["part", f"{told['unit']}s", f"{told['unit']} ids"], rows, [1.0, 1.0, 4.0], numbers_from=9
    )
    gap = f", at least {format_number(told['gap'])} apart" if told.get("gap") else ""
    by = told["unit"] if told["method"] == "unit" else told["method"]
    yield Paragraph(
        f"Split by {by}{gap}. No sample is on two sides: the session checked this before it "
        "fitted the model.",
        muted=True,
    )


def _intervals(intervals: list[list[int]]) -> str:
    told = [f"{a:,} to {b:,}" if b > a else f"{a:,}" for a, b in intervals[:_MOST_INTERVALS]]
    left = len(intervals) - len(told)
    return ", ".join(told) + (f" and {format_number(left)} more ranges" if left else "")


def versions(facts: JSON) -> Iterator[Block]:
    """The model's last versions up to this one."""
    told = facts["versions"]
    if not told:
        return
    mine = facts["session"]["version"] if facts["manifest"] else None
    header = ["version", "made", "session", "rows", "held out", "headline", "promoted"]
    rows = [
        [format_number(v["number"]), format_time(v["created_at"]), format_number(v["session_id"]), format_number(v["rows"]),
         format_number(v["held_out"]), format_number(v["headline"]), _yes(v["promoted"])]
        for v in told
    ]  # fmt: skip
    strong = frozenset(place for place, v in enumerate(told) if v["number"] == mine)
    widths = [0.8, 1.9, 0.8, 1.0, 0.9, 1.0, 1.0]
    yield TableBlock(header, rows, widths, numbers_from=2, strong=strong)
    if len(told) > 1:
        yield Paragraph("Each version was measured on the newest data of its own time.", muted=True)


def _yes(value: Any) -> str:
    return ABSENT if value is None else "yes" if value else "no"


def options(facts: JSON) -> Iterator[Block]:
    """Every option of the training, defaults included, in two columns."""
    told = facts["session"]["options"]
    if told:
        yield KeyValues([_option(key, value) for key, value in told.items()], columns=2)


def _option(told: str, value: Any) -> tuple[str, str]:
    return (humanize_title(unit_of(told)[0]), "not set") if value is None else _fact(told, value)


def environment(facts: JSON) -> Iterator[Block]:
    """Libraries, times of the stages, files of the version."""
    manifest = facts["manifest"]
    if not manifest:
        return
    libraries = ", ".join(f"{told} {version}" for told, version in manifest.get("libraries", {}).items())
    seconds = manifest.get("seconds", {})
    stages = ", ".join(f"{told} {format_duration(seconds[told])}" for told in _STAGES if told in seconds)
    deviation = facts["session"]["metrics"].get("parity_deviation")
    rows = [
        ("Libraries", clean(libraries) or ABSENT),
        ("Stages", clean(stages) or ABSENT),
        ("Saved and loaded again", _deviation(deviation)),
        ("Files", clean(", ".join(f"{f['name']} ({_size(f['bytes'])})" for f in facts["files"])) or ABSENT),
    ]
    yield KeyValues(rows)


def _deviation(value: Any) -> str:
    if not isinstance(value, int | float):
        return ABSENT
    return f"answers differ by {value:.1g} at most" if value else "answers are the same"


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count:,} B"
    return f"{count / 1e3:,.0f} kB" if count < 1e7 else f"{count / 1e6:,.0f} MB"


def warnings(facts: JSON) -> Iterator[Block]:
    """What was noticed and stopped nothing."""
    told = facts["session"]["warnings"]
    if told:
        yield Bullets([clean(one) for one in told[:_MOST_WARNINGS]])
    if len(told) > _MOST_WARNINGS:
        left = format_number(len(told) - _MOST_WARNINGS)
        yield Paragraph(f"{left} more are told by GET /train/sessions/{facts['session']['id']}.", muted=True)


def log(facts: JSON) -> Iterator[Block]:
    """The program's own output, where the family keeps it."""
    if facts["log"]:
        yield Log([clean(line, 300) for line in facts["log"]])
