"""Build both files of a report from the facts of a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.facts.session_facts import SessionFacts
from reports.layout.compose import compose
from reports.narrative.endpoint import Endpoint
from reports.narrative.language_model import write_narrative
from reports.render.html import render_html
from reports.render.pdf import render_pdf


def build_report(facts: dict[str, Any], folder: Path, endpoint: dict[str, Any] | None = None) -> None:
    """Write ``report.html`` and ``report.pdf`` with the same content into an empty folder.

    Parameters
    ----------
    facts : dict
        The result of ``facts.collect_facts``.
    endpoint : dict, optional
        The fields of an `Endpoint`, where a language model writes the sentences.
    """
    view = SessionFacts.from_dict(facts)
    document = compose(view, write_narrative(view, Endpoint(**endpoint) if endpoint else None))
    (folder / "report.html").write_bytes(render_html(document))
    (folder / "report.pdf").write_bytes(render_pdf(document))
