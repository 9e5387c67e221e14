"""The sections of a report, each from the facts it tells of; one without facts yields nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from reports.charts import FULL, HALF, drawn
from reports.document import Block, Bullets, Chart, Charts, Facts, Log, Paragraph, Table
from reports.reading import Dynamics, dynamics, measured, qualities, sampled
from reports.wording import ABSENT, clean, duration, moment, name, number, quantity

JSON = dict[str, Any]

_MOST_METRICS, _MOST_ITEMS, _MOST_FACTS, _MOST_FIGURES = 60, 60, 40, 16
_MOST_INTERVALS, _MOST_WARNINGS = 4, 12
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_STAGES = ("prepare", "fit", "evaluate", "refit", "save")
_LAST_MOMENT = 4e9
_DIGEST = re.compile(r"[0-9a-f]{16,64}")
_LARGEST_FACT = 10**15
"""Larger whole numbers are marks for machines, such as nanoseconds since 1970."""


def curves(facts: JSON) -> Iterator[Block]:
    """Loss and whatever else was measured each epoch."""
    run = dynamics(facts)
    if run is None:
        return
    figures = [
        _curve(run, "loss", "Loss"),
        *(_curve(run, told, name(told).capitalize()) for told in qualities(run)),
    ]
    rates = [(e.get("epoch"), e.get("learning_rate")) for e in run.epochs]
    if len(figures) == 1 and any(rate is not None and rate != rates[0][1] for _, rate in rates):
        x, y = zip(*rates, strict=True)
        series = [{"name": "learning rate", "x": x, "y": y}]
        figures.append({"kind": "line", "title": "Learning rate", "x_label": "epoch", "series": series})
    yield from _charts(figures, HALF if len(figures) > 1 else FULL)


def _curve(run: Dynamics, told: str, title: str) -> JSON:
    numbers = [e.get("epoch") or place for place, e in enumerate(run.epochs, 1)]
    both = [("training", f"train_{told}"), ("validation", f"val_{told}")]
    series = [
        {"name": word, "x": numbers, "y": [e.get(key) for e in run.epochs]}
        for word, key in both
        if any(e.get(key) is not None for e in run.epochs)
    ]
    note = f"The dotted line is the best epoch, {number(numbers[run.best])}."
    return {"kind": "line", "title": title, "x_label": "epoch", "y_label": title.lower(),
            "series": series, "mark": numbers[run.best], "note": note}  # fmt: skip


def history(facts: JSON) -> Iterator[Block]:
    """Epochs: the first, every k-th, the best and the last."""
    run = dynamics(facts)
    if run is None:
        return
    wanted = ["train_loss", "val_loss"]
    for told in qualities(run):
        wanted += [f"train_{told}", f"val_{told}"]
    wanted = [key for key in [*wanted, "learning_rate", "seconds"] if any(key in e for e in run.epochs)][:8]
    places = sampled(run)
    rows = [
        [number(run.epochs[at].get("epoch")) + (" (best)" if at == run.best else ""),
         *(number(run.epochs[at].get(key)) for key in wanted)]
        for at in places
    ]  # fmt: skip
    strong = frozenset([places.index(run.best)])
    yield Table(["epoch", *map(name, wanted)], rows, [1.2, *[1.0] * len(wanted)], strong=strong)
    if len(places) < len(run.epochs):
        told = f"{number(len(places))} of {number(len(run.epochs))} epochs; all are in training_history.json."
        yield Paragraph(told, muted=True)


def quality(facts: JSON) -> Iterator[Block]:
    """The headline beside champion and baselines, and every metric."""
    scores = measured(facts)
    if scores is None:
        return
    beside = {"this model": scores.value, "model before": scores.champion}
    labels = [told for told, value in beside.items() if value is not None] + [*scores.baselines]
    values = [value for value in beside.values() if value is not None] + [*scores.baselines.values()]
    way = "higher is better" if scores.higher_is_better else "lower is better"
    title = f"{scores.metric}{f' in {scores.unit}' if scores.unit else ''} ({way})"
    series = [{"name": scores.metric, "values": values}]
    figure = {"kind": "bars", "title": title, "labels": [name(told) for told in labels], "series": series}
    yield from _charts([figure], FULL)
    metrics = facts["manifest"]["metrics"].get("metrics") or {}
    champion = (facts["manifest"].get("champion_metrics") or {}).get("metrics") or {}
    yield from _metrics(metrics, champion)
    yield Paragraph(f"Measured on {number(scores.held_out)} samples that no training saw.", muted=True)


def _metrics(metrics: Mapping[str, Any], champion: Mapping[str, Any]) -> Iterator[Block]:
    shown = list(metrics)[:_MOST_METRICS]
    header, widths = ["metric", "this model"], [2.4, 1.0]
    if champion:
        header, widths = [*header, "model before"], [*widths, 1.0]
    rows = [[name(told), number(metrics[told]), *([number(champion.get(told))] if champion else [])]
            for told in shown]  # fmt: skip
    yield Table(header, rows, widths)
    if len(shown) < len(metrics):
        yield Paragraph(f"{number(len(metrics) - len(shown))} more are in the manifest.", muted=True)


def figures(facts: JSON) -> Iterator[Block]:
    """What the family has to show."""
    yield from _charts(((facts["manifest"] or {}).get("figures") or [])[:_MOST_FIGURES])


def _charts(told: list[JSON], width: float = HALF) -> Iterator[Block]:
    made = [(figure, drawn(figure, width)) for figure in told if isinstance(figure, dict)]
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
    yield Table(["model", "ended as", "headline", "why"], rows, [1.3, 0.9, 0.8, 3.6], numbers_from=9)
    if len(items) > len(rows):
        left = number(len(items) - len(rows))
        yield Paragraph(
            f"{left} more have a version and a manifest each: GET /models lists them.", muted=True
        )


def _in_order(item: JSON) -> tuple[int, str]:
    """Names that begin with a number in the order of the numbers."""
    told = str(item.get("name"))
    digits = told[: len(told) - len(told.lstrip("0123456789"))]
    return int(digits[:18] or 0), told


def _item_headline(item: JSON) -> str:
    return number((item.get("metrics") or {}).get("headline"))


def _item_reason(item: JSON) -> str:
    if item.get("state") == "completed":
        return f"version {item.get('version')} was promoted"
    return clean(item.get("error") or " ".join(item.get("reasons") or []), 220)


def data(facts: JSON) -> Iterator[Block]:
    """Rows, time span, fingerprint, and what the family says of its data."""
    session, manifest = facts["session"], facts["manifest"] or {}
    rows = [("Model", clean(session["model"])), ("Kind of session", clean(session["kind"]))]
    if manifest:
        rows += [("Rows", number(manifest.get("rows"))), ("Fingerprint", clean(manifest.get("fingerprint")))]
    for told in ("records_added", "records_skipped", "corrections"):
        if session[told]:
            rows.append((name(told).capitalize(), number(session[told])))
    for told in ("undo_of", "retry_of"):
        if session["details"].get(told):
            rows.append((name(told).capitalize(), f"session {session['details'][told]}"))
    if session["backup"]:
        rows.append(("Backup before", clean(session["backup"])))
    known = {told: v for told, v in (manifest.get("facts") or {}).items() if not _is_mark(v)}
    rows += [
        (name(told).capitalize(), _fact(told, value)) for told, value in list(known.items())[:_MOST_FACTS]
    ]
    yield Facts(rows)


def _fact(told: str, value: Any) -> str:
    """A fact of the data; seconds since 1970 as a time."""
    if isinstance(value, float) and told.endswith("time") and 0 <= value < _LAST_MOMENT:
        return moment(datetime.fromtimestamp(value, UTC).isoformat())
    return _plain(value)


def _is_mark(value: Any) -> bool:
    """What machines tell things apart by, and what is empty: nobody reads either."""
    if isinstance(value, list):
        return all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in value)
    return value == "" or (isinstance(value, int) and abs(value) >= _LARGEST_FACT)


def _plain(value: Any, longest: int = 300) -> str:
    """A fact of any shape as a line of text."""
    if isinstance(value, dict):
        text = ", ".join(f"{name(str(k))}: {_plain(v)}" for k, v in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(_plain(v) for v in value)
    elif isinstance(value, str):
        text = moment(value) if _MOMENT.match(value) else value
    else:
        text = number(value)
    return clean(text, longest) or ABSENT


def certificate(facts: JSON) -> Iterator[Block]:
    """Which samples were on which side."""
    told = (facts["manifest"] or {}).get("certificate")
    if not told:
        return
    rows = []
    for part in ("train", "validation", "test"):
        intervals = told.get(part) or []
        if intervals:
            count = sum(last - first + 1 for first, last in intervals)
            rows.append([part, number(count), _intervals(intervals)])
    yield Table(["part", f"{told['unit']}s", f"{told['unit']} ids"], rows, [1.0, 1.0, 4.0], numbers_from=9)
    gap = f", at least {number(told['gap'])} apart" if told.get("gap") else ""
    yield Paragraph(
        f"Split by {told['method']}{gap}. No sample is on two sides: the session checked this before it "
        "fitted the model.",
        muted=True,
    )


def _intervals(intervals: list[list[int]]) -> str:
    told = [f"{a:,} to {b:,}" if b > a else f"{a:,}" for a, b in intervals[:_MOST_INTERVALS]]
    left = len(intervals) - len(told)
    return ", ".join(told) + (f" and {number(left)} more runs" if left else "")


def versions(facts: JSON) -> Iterator[Block]:
    """The model's last versions up to this one."""
    told = facts["versions"]
    if not told:
        return
    mine = facts["session"]["version"] if facts["manifest"] else None
    header = ["version", "made", "session", "rows", "held out", "headline", "promoted"]
    rows = [
        [number(v["number"]), moment(v["created_at"]), number(v["session_id"]), number(v["rows"]),
         number(v["held_out"]), number(v["headline"]), _yes(v["promoted"])]
        for v in told
    ]  # fmt: skip
    strong = frozenset(place for place, v in enumerate(told) if v["number"] == mine)
    widths = [0.8, 1.9, 0.8, 1.0, 0.9, 1.0, 1.0]
    yield Table(header, rows, widths, numbers_from=2, strong=strong)
    if len(told) > 1:
        yield Paragraph("Each version was measured on the newest data of its own time.", muted=True)


def _yes(value: Any) -> str:
    return ABSENT if value is None else "yes" if value else "no"


def options(facts: JSON) -> Iterator[Block]:
    """Every option of the training, defaults included."""
    told = facts["session"]["options"]
    if told:
        yield Facts([(name(key).capitalize(), _plain(value)) for key, value in told.items()])


def environment(facts: JSON) -> Iterator[Block]:
    """Libraries, times of the stages, files of the version."""
    manifest = facts["manifest"]
    if not manifest:
        return
    libraries = ", ".join(f"{told} {version}" for told, version in manifest.get("libraries", {}).items())
    seconds = manifest.get("seconds", {})
    stages = ", ".join(f"{told} {duration(seconds[told])}" for told in _STAGES if told in seconds)
    deviation = facts["session"]["metrics"].get("parity_deviation")
    rows = [
        ("Libraries", clean(libraries) or ABSENT),
        ("Stages", clean(stages) or ABSENT),
        ("Saved and loaded again", f"answers differ by {quantity(deviation)} at most"),
        ("Files", clean(", ".join(f"{f['name']} ({_size(f['bytes'])})" for f in facts["files"])) or ABSENT),
    ]
    yield Facts(rows)


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
        left = number(len(told) - _MOST_WARNINGS)
        yield Paragraph(f"{left} more are told by GET /train/sessions/{facts['session']['id']}.", muted=True)


def log(facts: JSON) -> Iterator[Block]:
    """The program's own output, where the family keeps it."""
    if facts["log"]:
        yield Log([clean(line, 300) for line in facts["log"]])
