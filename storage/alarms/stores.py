"""The stores of alarms in a database."""

from __future__ import annotations

from dataclasses import dataclass

from storage.alarms.deliveries import Deliveries
from storage.alarms.outbox import Alarms
from storage.alarms.routes import AlarmRoutes
from storage.db.database import Database


@dataclass(frozen=True)
class AlarmStores:
    """What was raised, where it goes, and what became of it."""

    alarms: Alarms
    routes: AlarmRoutes
    deliveries: Deliveries


def open_alarm_stores(database: Database) -> AlarmStores:
    """Return the stores of alarms in a database."""
    return AlarmStores(Alarms(database), AlarmRoutes(database), Deliveries(database))
