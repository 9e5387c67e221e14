"""What a report is written from: ``collect_facts`` reads it from storage, `SessionFacts` gives it types."""

from reports.facts.collect import collect_facts
from reports.facts.session_facts import ModelQuality, ReportFacts, SessionFacts, TrainingCurve

__all__ = ["ModelQuality", "ReportFacts", "SessionFacts", "TrainingCurve", "collect_facts"]
