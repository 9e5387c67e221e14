"""Alarms: the outbox that events are written to, the routes that they take, and every delivery to a route.

``record_alarms`` writes alarms in the transaction of their event, so that neither is stored without the other.
"""

from storage.alarms.conditions import (
    Observation,
    begin_condition,
    end_all_conditions,
    end_condition,
    observe_conditions,
)
from storage.alarms.outbox import Alarm, Alarms, record_alarms
from storage.alarms.tables import EVENTS, FAMILY_NAMES, SEVERITY_NAMES

__all__ = [
    "EVENTS",
    "FAMILY_NAMES",
    "SEVERITY_NAMES",
    "Alarm",
    "Alarms",
    "Observation",
    "begin_condition",
    "end_all_conditions",
    "end_condition",
    "observe_conditions",
    "record_alarms",
]
