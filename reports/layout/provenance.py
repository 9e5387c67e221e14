"""Sections on where a version comes from: data, split, earlier versions, options, environment and output."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from reports.facts.session_facts import SessionFacts
from reports.formatting import (
    ABSENT,
    clean,
    format_duration,
    format_number,
    format_quantity,
    format_time,
    humanize,
    humanize_title,
    split_unit,
)
from reports.layout.document import Block, Bullets, KeyValues, Log, Paragraph, TableBlock

MAX_FACTS, MAX_INTERVALS, MAX_WARNINGS, MAX_NAMES = 40, 4, 12, 20
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")
_DIGEST = re.compile(r"[0-9a-f]{16,64}")
# Unix times up to the year 2096; a larger number under such a name is no time.
_MAX_UNIX_TIME = 4e9
# Larger whole numbers are identifiers for machines, such as nanoseconds since 1970.
_MAX_READABLE_NUMBER = 10**15
_STAGES = ("prepare", "fit", "evaluate", "refit", "save")
_PARTS: tuple[Literal["train", "validation", "test"], ...] = ("train", "validation", "test")


def data_section(view: SessionFacts) -> Iterator[Block]:
    """Yield rows, time span, fingerprint and what the family says about its data."""
    session, manifest = view.session, view.manifest
    rows = [("Model", clean(session["model"])), ("Kind of session", clean(session["kind"]))]
    if manifest:
        fingerprint = clean(manifest.get("fingerprint"))
        rows += [("Rows", format_number(manifest.get("rows"))), ("Fingerprint", fingerprint)]
    for name in ("records_added", "records_skipped", "corrections"):
        if session[name]:
            rows.append((humanize_title(name), format_number(session[name])))
    for name in ("undo_of", "retry_of"):
        if session["details"].get(name):
            rows.append((humanize_title(name), f"session {session['details'][name]}"))
    rows += [("In quarantine", clean(sentence)) for sentence in view.quarantine]
    if session["backup"]:
        rows.append(("Backup before", clean(session["backup"])))
    # The summary has the notes, and readers need no numbers of database rows.
    facts = {
        name: value
        for name, value in view.data_facts.items()
        if not (_is_identifier(value) or name.endswith(("_note", "_up_to")))
    }
    if span := view.time_span:
        rows.append(("Time span", f"{format_time(span[0])} to {format_time(span[1])}"))
        facts = {n: v for n, v in facts.items() if v not in span and n not in ("first", "last")}
    rows += [_format_fact(name, value) for name, value in list(facts.items())[:MAX_FACTS]]
    yield KeyValues(rows)


def _format_fact(name: str, value: object) -> tuple[str, str]:
    """Return a fact with its title; seconds since 1970 become a time, other numbers get their unit."""
    if isinstance(value, float) and name.endswith("time") and 0 <= value < _MAX_UNIX_TIME:
        return humanize_title(name), format_time(datetime.fromtimestamp(value, UTC).isoformat())
    plain, unit = split_unit(name)
    if unit and isinstance(value, int | float) and not isinstance(value, bool):
        return humanize_title(plain), format_quantity(value, unit)
    return humanize_title(name), _format_value(value)


def _is_identifier(value: object) -> bool:
    """Return whether a value is empty or an identifier for machines: no reader needs either."""
    if isinstance(value, dict):
        return not value
    if isinstance(value, list):
        return all(isinstance(entry, str) and _DIGEST.fullmatch(entry) for entry in value)
    return value == "" or (isinstance(value, int) and abs(value) >= _MAX_READABLE_NUMBER)


def _format_value(value: object) -> str:
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: _PARTS.index(key) if key in _PARTS else len(_PARTS))
        shown = [key for key in keys if not _is_identifier(value[key])]
        text = ", ".join(f"{humanize(str(key))}: {_format_value(value[key])}" for key in shown)
    elif isinstance(value, list | tuple):
        text = ", ".join(_format_value(entry) for entry in value)
    elif isinstance(value, str):
        text = format_time(value) if _TIME.match(value) else value
    else:
        text = format_number(value)
    return clean(text, 300) or ABSENT


def certificate_section(view: SessionFacts) -> Iterator[Block]:
    """Yield which samples were on which side of the split."""
    certificate = view.manifest.get("certificate")
    if not certificate:
        return
    unit = certificate["unit"]
    rows = []
    for part in _PARTS:
        if intervals := certificate.get(part):
            count = sum(last - first + 1 for first, last in intervals)
            rows.append([part, format_number(count), _list_names(view, part) or _list_ranges(intervals)])
    yield TableBlock(["part", f"{unit}s", f"{unit} ids"], rows, [1.0, 1.0, 4.0], numbers_from=9)
    if folds := certificate.get("folds"):
        yield Paragraph(
            f"Judged by leaving one {unit} out: each of {format_number(len(folds))} {unit}s in turn was held out "
            "from the training of a model that was then judged on it. The model that serves was fitted to all of "
            f"them. No {unit} is on two sides of a fold: the session checked this before it fitted a model.",
            muted=True,
        )
        return
    gap = f", at least {format_number(certificate['gap'])} apart" if certificate.get("gap") else ""
    method = unit if certificate["method"] == "unit" else certificate["method"]
    yield Paragraph(
        f"Split by {method}{gap}. No sample is on two sides: the session checked this before it "
        "fitted the model.",
        muted=True,
    )
    if view.data_facts.get("refit") is True:
        yield Paragraph(
            f"The scores are those of a fit that had not learnt the test part. What serves was then fitted again to "
            f"all {unit}s, with the choices of that fit; it has no scores of its own.",
            muted=True,
        )


def _list_names(view: SessionFacts, part: str) -> str:
    """Return the devices of a part by name; empty for families that split something else."""
    devices = view.data_facts.get("devices")
    names = devices.get(part) if isinstance(devices, Mapping) else None
    if not isinstance(names, list):
        return ""
    hidden = len(names) - MAX_NAMES
    more = f" and {format_number(hidden)} more" if hidden > 0 else ""
    return clean(", ".join(map(str, names[:MAX_NAMES]))) + more


def _list_ranges(intervals: Sequence[Sequence[int]]) -> str:
    texts = [f"{a:,} to {b:,}" if b > a else f"{a:,}" for a, b in intervals[:MAX_INTERVALS]]
    hidden = len(intervals) - len(texts)
    return ", ".join(texts) + (f" and {format_number(hidden)} more ranges" if hidden else "")


def versions_section(view: SessionFacts) -> Iterator[Block]:
    """Yield the last versions of the model up to this one."""
    if not view.versions:
        return
    current = view.session["version"] if view.manifest else None
    rows = []
    for version in view.versions:
        promoted = ABSENT if version["promoted"] is None else format_number(bool(version["promoted"]))
        numbers = (version[name] for name in ("session_id", "rows", "held_out", "headline"))
        number, created_at = format_number(version["number"]), format_time(version["created_at"])
        rows.append([number, created_at, *map(format_number, numbers), promoted])
    strong = frozenset(row for row, version in enumerate(view.versions) if version["number"] == current)
    header = ["version", "made", "session", "rows", "held out", "headline", "promoted"]
    widths = [0.8, 1.9, 0.8, 1.0, 0.9, 1.0, 1.0]
    yield TableBlock(header, rows, widths, numbers_from=2, strong=strong)
    if len(rows) > 1:
        yield Paragraph("Each version was measured on the newest data of its own time.", muted=True)


def options_section(view: SessionFacts) -> Iterator[Block]:
    """Yield every option of the training, defaults included, in two columns."""
    if options := view.session["options"]:
        rows = [
            (humanize_title(split_unit(name)[0]), "not set") if value is None else _format_fact(name, value)
            for name, value in options.items()
        ]
        yield KeyValues(rows, columns=2)


def environment_section(view: SessionFacts) -> Iterator[Block]:
    """Yield libraries, times of the stages and files of the version."""
    if not view.manifest:
        return
    libraries = ", ".join(f"{name} {version}" for name, version in view.manifest.get("libraries", {}).items())
    seconds = view.manifest.get("seconds", {})
    stages = ", ".join(f"{stage} {format_duration(seconds[stage])}" for stage in _STAGES if stage in seconds)
    deviation = view.session["metrics"].get("parity_deviation")
    parity = ABSENT
    if isinstance(deviation, int | float):
        parity = f"answers differ by {deviation:.1g} at most" if deviation else "answers are the same"
    files = ", ".join(f"{file['name']} ({_format_size(file['bytes'])})" for file in view.files)
    yield KeyValues(
        [
            ("Libraries", clean(libraries) or ABSENT),
            ("Stages", clean(stages) or ABSENT),
            ("Saved and loaded again", parity),
            ("Files", clean(files) or ABSENT),
        ]
    )


def _format_size(size_bytes: int) -> str:
    if size_bytes < 10_000:
        return f"{size_bytes:,} B"
    return f"{size_bytes / 1e3:,.0f} kB" if size_bytes < 1e7 else f"{size_bytes / 1e6:,.0f} MB"


def warnings_section(view: SessionFacts) -> Iterator[Block]:
    """Yield the warnings of the session."""
    warnings = view.session["warnings"]
    if warnings:
        yield Bullets([clean(warning) for warning in warnings[:MAX_WARNINGS]])
    if len(warnings) > MAX_WARNINGS:
        rest = format_number(len(warnings) - MAX_WARNINGS)
        yield Paragraph(f"GET /train/sessions/{view.session['id']} lists {rest} more.", muted=True)


def log_section(view: SessionFacts) -> Iterator[Block]:
    """Yield the output of the training, where the family keeps it."""
    if view.log:
        yield Log([clean(line, 300) for line in view.log])
