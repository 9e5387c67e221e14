"""Facts in, both files out: what a child process does when somebody asks for a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from reports import html, narrative, pdf
from reports.compose import composed

JSON = dict[str, Any]

FILES: Final = ("report.pdf", "report.html")


def make(facts: JSON, folder: Path) -> None:
    """Write both forms of a report into an empty folder; both tell the same.

    Parameters
    ----------
    facts : mapping
        As ``facts.gather`` made them.
    """
    document = composed(facts, narrative.written(facts))
    (folder / "report.html").write_bytes(html.rendered(document))
    (folder / "report.pdf").write_bytes(pdf.rendered(document))
