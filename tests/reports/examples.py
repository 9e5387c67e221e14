"""The invented sessions that every report test runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reports.facts import SessionFacts
from reports.layout import Document, compose
from reports.narrative import write_by_rules
from tests.reports import example_facts as examples

EXAMPLES: dict[str, Callable[[], Any]] = {
    "good": examples.good,
    "rejected": examples.rejected,
    "failed": lambda: examples.without_version("failed"),
    "cancelled": lambda: examples.without_version("cancelled"),
    "interrupted": lambda: examples.without_version("interrupted"),
    "batch": examples.batch,
    "deleted version": examples.deleted_version,
    "hostile": examples.hostile,
}


def compose_facts(facts: Any) -> Document:
    """Compose the report of a session with the sentences of the rules."""
    view = SessionFacts.from_dict(facts)
    return compose(view, write_by_rules(view))
