"""Facts in, both files out: what a child process does when somebody asks for a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from reports import html, language_model, pdf
from reports.compose import composed
from reports.endpoint import Endpoint

JSON = dict[str, Any]

FILES: Final = ("report.pdf", "report.html")


def make(facts: JSON, folder: Path, endpoint: JSON | None = None) -> None:
    """Write both forms of a report into an empty folder; both tell the same.

    Parameters
    ----------
    facts : mapping
        As ``facts.gather`` made them.
    endpoint : mapping, optional
        The fields of an ``Endpoint``, where a language model is to write the words.
    """
    words = language_model.written(facts, Endpoint(**endpoint) if endpoint else None)
    document = composed(facts, words)
    (folder / "report.html").write_bytes(html.rendered(document))
    (folder / "report.pdf").write_bytes(pdf.rendered(document))
