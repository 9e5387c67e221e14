"""Facts in, both files out: what a child process does when somebody asks for a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from reports.layout.compose import compose
from reports.narrative import language_model
from reports.narrative.endpoint import Endpoint
from reports.render import html, pdf

JSON = dict[str, Any]

FILES: Final = ("report.pdf", "report.html")


def build_report(facts: JSON, folder: Path, endpoint: JSON | None = None) -> None:
    """Write both forms of a report into an empty folder; both tell the same.

    Parameters
    ----------
    facts : mapping
        As ``facts.gather`` made them.
    endpoint : mapping, optional
        The fields of an ``Endpoint``, where a language model is to write the words.
    """
    words = language_model.written(facts, Endpoint(**endpoint) if endpoint else None)
    document = compose(facts, words)
    (folder / "report.html").write_bytes(html.render_html(document))
    (folder / "report.pdf").write_bytes(pdf.render_pdf(document))
