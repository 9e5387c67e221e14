"""Build both files of a report from the facts of a session."""

from __future__ import annotations

from pathlib import Path

from reports.facts.session_facts import ReportFacts, SessionFacts
from reports.layout.compose import compose
from reports.narrative.endpoint import Endpoint
from reports.narrative.language_model import write_narrative
from reports.render.html import render_html
from reports.render.pdf import render_pdf
from storage.filesystem.checked_write import write_checked


def build_report(facts: ReportFacts, folder: Path, endpoint: Endpoint | None = None) -> None:
    """Write ``report.html`` and ``report.pdf`` with the same content into an empty folder.

    Parameters
    ----------
    facts : ReportFacts
        The result of ``facts.collect_facts``.
    endpoint : Endpoint, optional
        The language model that writes the sentences.
    """
    view = SessionFacts.from_dict(facts)
    document = compose(view, write_narrative(view, endpoint))
    write_checked(folder / "report.html", render_html(document))
    write_checked(folder / "report.pdf", render_pdf(document))
