"""The sentences of a report: by fixed rules, or by a language model that writes around placeholders.

``write_narrative`` chooses. A language model never states a number: it names placeholders, and Millwright
fills in the values (``placeholders``). Anything else is refused, and the rules write instead.
"""

from reports.narrative.endpoint import Endpoint
from reports.narrative.language_model import write_narrative
from reports.narrative.rules import Narrative, write_by_rules

__all__ = ["Endpoint", "Narrative", "write_by_rules", "write_narrative"]
