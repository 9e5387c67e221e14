"""What a report is written from: ``collect_facts`` reads it from storage, `SessionView` gives it types."""

from reports.facts.collect import collect_facts
from reports.facts.session_view import ModelQuality, SessionView, TrainingCurve

__all__ = ["ModelQuality", "SessionView", "TrainingCurve", "collect_facts"]
