"""Compose the document of a report from a session's facts and its narrative."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reports.facts.session_facts import ModelQuality, SessionFacts
from reports.formatting import (
    clean,
    format_duration,
    format_number,
    format_quantity,
    format_share,
    format_time,
    humanize,
)
from reports.layout import course, provenance, quality
from reports.layout.document import Block, Bullets, Document, Heading, Paragraph, Tile, Tiles
from reports.narrative.rules import Narrative

_BADGES = {
    "completed": ("promoted", "good"),
    "rejected": ("not promoted", "doubtful"),
    "failed": ("failed", "bad"),
    "cancelled": ("cancelled", "doubtful"),
    "interrupted": ("interrupted", "bad"),
}
_SECTIONS: tuple[tuple[str, Callable[[SessionFacts], Iterator[Block]]], ...] = (
    ("Quality on held-out data", quality.quality_section),
    ("A closer look", quality.figures_section),
    ("Verdict of the gate", quality.verdict_section),
    ("Training curves", course.curves_section),
    ("Training history", course.history_section),
    ("Models of the batch", course.batch_section),
    ("What was trained on what", provenance.data_section),
    ("Split certificate", provenance.certificate_section),
    ("Last versions", provenance.versions_section),
    ("Options", provenance.options_section),
    ("Environment", provenance.environment_section),
    ("Warnings", provenance.warnings_section),
    ("What the program printed", provenance.log_section),
)


def compose(view: SessionFacts, narrative: Narrative) -> Document:
    """Return the whole report; a section without content is left out."""
    session = view.session
    badge, tone = _badge(view)
    version = f", version {session['version']}" if session["version"] is not None else ""
    ended_at = session["ended_at"] or session["created_at"]
    sections = [(title, list(section(view))) for title, section in _SECTIONS]
    details = [block for title, blocks in sections if blocks for block in (Heading(title), *blocks)]
    return Document(
        title=f"Training report: {clean(session['model'], 120)}",
        subtitle=f"Session {session['id']}{version} · ended {format_time(ended_at)} UTC",
        badge=badge,
        tone=tone,
        date=ended_at,
        blocks=[*_first_page(view, narrative), *details],
    )


def _badge(view: SessionFacts) -> tuple[str, str]:
    details = view.session["details"]
    if view.session["state"] in ("completed", "rejected") and view.items:
        good = details.get("promoted") == details.get("models")
        return (
            f"{details.get('promoted')} of {details.get('models')} promoted",
            "good" if good else "doubtful",
        )
    return _BADGES[view.session["state"]]


def _first_page(view: SessionFacts, narrative: Narrative) -> Iterator[Block]:
    yield Heading("Executive summary")
    yield Tiles(list(_tiles(view)))
    yield Paragraph(" ".join(narrative.summary))
    yield Heading("What to do next")
    yield Bullets(narrative.steps)
    if narrative.dynamics:
        yield Heading("Course of the training")
        yield Paragraph(" ".join(narrative.dynamics))
    yield Paragraph(narrative.author, muted=True)


def _tiles(view: SessionFacts) -> Iterator[Tile]:
    session, scores = view.session, view.quality
    if scores is not None:
        direction = "higher is better" if scores.higher_is_better else "lower is better"
        yield Tile(scores.metric, format_quantity(scores.value, scores.unit), direction)
        if scores.best_baseline is not None:
            name, value = scores.best_baseline
            yield Tile("best simple rule", format_quantity(value, scores.unit), humanize(name))
        yield Tile("previous model", format_quantity(scores.champion, scores.unit), _difference(scores))
    elif view.items:
        for name in ("models", "promoted", "failed"):
            yield Tile(name, format_number(session["details"].get(name)))
    else:
        yield Tile("ended as", _BADGES[session["state"]][0])
    yield Tile("duration", format_duration(session["training_time_seconds"]), session["kind"])


def _difference(scores: ModelQuality) -> str:
    if scores.champion is None or scores.value is None:
        return "none to compare with"
    gain = scores.gain(scores.value, scores.champion)
    if not scores.champion or not gain:
        return "the same"
    return f"now {format_share(abs(gain / scores.champion))} {'better' if gain > 0 else 'worse'}"
