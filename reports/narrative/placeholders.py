"""Placeholders that a language model writes in place of numbers, names and dates.

The model names a value, such as ``{model_value}``, and Millwright fills it in. A sentence with a digit of its
own or an unknown placeholder is refused, so no number in a report comes from a language model. This needs no
understanding of the prose and works in any language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping

from reports.facts.session_facts import ModelQuality, SessionFacts, TrainingCurve
from reports.formatting import clean, format_day, format_duration, format_number, format_share, humanize
from reports.narrative.endpoint import UnusableAnswer

_PLACEHOLDER = re.compile(r"\{\s*([a-z_]+)\s*\}")
_LINK = re.compile(r"https?:|www\.|\bdata:|javascript:", re.IGNORECASE)


def placeholder_values(view: SessionFacts) -> dict[str, str]:
    """Return the text of every placeholder that a narrative of this session may use."""
    values = {name: clean(value, 200) for name, value in _values(view) if value is not None}
    return {name: value for name, value in values.items() if value}


def fill_placeholders(text: str, values: Mapping[str, str]) -> str:
    """Return the text with every placeholder replaced by its value.

    Raises
    ------
    UnusableAnswer
        The text has a number of its own, an unknown placeholder or a link.
    """
    for name in _PLACEHOLDER.findall(text):
        if name not in values:
            raise UnusableAnswer(f"it used the unknown placeholder {{{name}}}")
    words = _PLACEHOLDER.sub("", text)
    if "{" in words or "}" in words:
        raise UnusableAnswer("it used a brace outside a placeholder")
    # Nd, Nl and No: digits of every script, Roman numerals, fractions and superscripts.
    if number := next((c for c in words if unicodedata.category(c).startswith("N")), None):
        raise UnusableAnswer(f"it wrote the number {number} instead of a placeholder")
    if _LINK.search(words):
        raise UnusableAnswer("it wrote a link")
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


def _values(view: SessionFacts) -> Iterator[tuple[str, str | None]]:
    session = view.session
    yield "session", str(session["id"])
    yield "model", session["model"]
    yield "version", None if session["version"] is None else str(session["version"])
    yield "duration", format_duration(session["training_time_seconds"])
    yield "records_added", format_number(session["records_added"])
    yield "warnings", format_number(len(session["warnings"]))
    if rows := view.manifest.get("rows"):
        yield "rows", format_number(rows)
    if view.time_span:
        yield "first_day", format_day(view.time_span[0])
        yield "last_day", format_day(view.time_span[1])
    for name in ("models", "promoted", "failed"):
        if view.items:
            yield f"batch_{name}", format_number(session["details"].get(name))
    if view.quality is not None and view.quality.value is not None:
        yield from _quality_values(view.quality, view.quality.value)
    if view.curve is not None:
        yield from _curve_values(view.curve)


def _quality_values(quality: ModelQuality, value: float) -> Iterator[tuple[str, str]]:
    yield "metric", quality.metric
    yield "model_value", quality.format(value)
    yield "held_out_samples", format_number(quality.held_out)
    references = [("previous_model", quality.champion)]
    if quality.best_baseline is not None:
        name, baseline = quality.best_baseline
        yield "best_baseline", humanize(name)
        references.append(("best_baseline", baseline))
    for prefix, other in references:
        if other is not None:
            yield f"{prefix}_value", quality.format(other)
            if other:
                yield f"{prefix}_difference", format_share(abs(quality.gain(value, other) / other))


def _curve_values(curve: TrainingCurve) -> Iterator[tuple[str, str]]:
    yield "epochs", format_number(curve.epochs[-1].get("epoch") or len(curve.epochs))
    yield "best_epoch", format_number(curve.epochs[curve.best].get("epoch"))
    if curve.stopped:
        yield "stopped_by", curve.stopped
    for key, name in (("train_loss", "training_loss"), ("val_loss", "validation_loss")):
        if losses := curve.values(key):
            yield f"{name}_first", format_number(losses[0])
            yield f"{name}_best", format_number(min(losses))
            yield f"{name}_last", format_number(losses[-1])
