"""The layout of a report: a session's facts and its narrative into a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reports.facts.session_view import model_quality
from reports.formatting import (
    clean,
    format_duration,
    format_number,
    format_quantity,
    format_share,
    format_time,
    humanize,
)
from reports.layout import sections
from reports.layout.document import Block, Bullets, Document, Heading, Paragraph, Tile, Tiles
from reports.narrative.rules import Narrative

JSON = dict[str, Any]

_ENDS = {
    "completed": ("promoted", "good"),
    "rejected": ("not promoted", "doubtful"),
    "failed": ("failed", "bad"),
    "cancelled": ("cancelled", "doubtful"),
    "interrupted": ("interrupted", "bad"),
}


def compose(facts: JSON, narrative: Narrative) -> Document:
    """The whole report."""
    session = facts["session"]
    badge, tone = _end(session)
    made = f", version {session['version']}" if session["version"] is not None else ""
    ended = session["ended_at"] or session["created_at"]
    return Document(
        title=f"Training report: {clean(session['model'], 120)}",
        subtitle=f"Session {session['id']}{made} · ended {format_time(ended)} UTC",
        badge=badge,
        tone=tone,
        date=ended,
        blocks=[*_first_page(facts, narrative), *_details(facts)],
    )


def _end(session: JSON) -> tuple[str, str]:
    """How it ended, in a word or two, and how good that is."""
    told = session["details"]
    if session["state"] in ("completed", "rejected") and told.get("items"):
        good = told.get("promoted") == told.get("models")
        return f"{told.get('promoted')} of {told.get('models')} promoted", "good" if good else "doubtful"
    return _ENDS[session["state"]]


def _first_page(facts: JSON, narrative: Narrative) -> Iterator[Block]:
    yield Heading("Executive summary")
    yield Tiles(list(_tiles(facts)))
    yield Paragraph(" ".join(narrative.summary))
    yield Heading("What to do next")
    yield Bullets(narrative.steps)
    if narrative.dynamics:
        yield Heading("Course of the training")
        yield Paragraph(" ".join(narrative.dynamics))
    yield Paragraph(narrative.author, muted=True)


def _tiles(facts: JSON) -> Iterator[Tile]:
    session, scores = facts["session"], model_quality(facts)
    if scores is not None:
        way = "higher is better" if scores.higher_is_better else "lower is better"
        yield Tile(scores.metric, format_quantity(scores.value, scores.unit), way)
        best = scores.best_baseline
        if best is not None:
            yield Tile("best simple rule", format_quantity(best[1], scores.unit), humanize(best[0]))
        yield Tile("model before", format_quantity(scores.champion, scores.unit), _gain(scores))
    elif session["details"].get("items"):
        for told in ("models", "promoted", "failed"):
            yield Tile(told, format_number(session["details"].get(told)))
    else:
        yield Tile("ended as", _ENDS[session["state"]][0])
    yield Tile("duration", format_duration(session["training_time_seconds"]), session["kind"])


def _gain(scores: Any) -> str:
    if scores.champion is None or scores.value is None:
        return "none to compare with"
    gain = scores.gain(scores.value, scores.champion)
    if not scores.champion or not gain:
        return "the same"
    return f"now {format_share(abs(gain / scores.champion))} {'better' if gain > 0 else 'worse'}"


def _details(facts: JSON) -> Iterator[Block]:
    """The sections below the first page: each only where there is something to tell."""
    told = [
        ("Quality on held-out data", sections.quality(facts)),
        ("A closer look", sections.figures(facts)),
        ("Verdict of the gate", sections.verdict(facts)),
        ("Training curves", sections.curves(facts)),
        ("Training history", sections.history(facts)),
        ("Models of the fleet", sections.fleet(facts)),
        ("What was trained on what", sections.data(facts)),
        ("Split certificate", sections.certificate(facts)),
        ("Last versions", sections.versions(facts)),
        ("Options", sections.options(facts)),
        ("Environment", sections.environment(facts)),
        ("Warnings", sections.warnings(facts)),
        ("What the program printed", sections.log(facts)),
    ]
    for title, blocks in told:
        listed = list(blocks)
        if listed:
            yield Heading(title)
            yield from listed
