"""Conditions that last, such as a silent sensor: one alarm when one begins, one when it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from storage.alarms.outbox import Alarm, record_alarms
from storage.alarms.tables import alarm_conditions
from storage.db.database import Database
from storage.db.tables import utc_now

# The event that is raised when the condition of an event has ended, and how its message begins.
ENDINGS: Final = {
    "device.below_alarm_time": ("device.recovered", "No longer below its alarm time"),
    "drift.found": ("drift.ended", "No drift any more"),
    "data.silent": ("data.resumed", "Sends again"),
    "backup.problem": ("backup.recovered", "No longer so"),
    "disk.nearly_full": ("disk.recovered", "No longer so"),
}


@dataclass(frozen=True)
class Observation:
    """What is known now of one kind of condition of a tenant.

    Parameters
    ----------
    lasting : set of str
        The subjects that are in this condition.
    alarms : mapping of str to Alarm
        For those of them that raise an alarm if it is new.
    """

    tenant: str
    event: str
    lasting: Set[str]
    alarms: Mapping[str, Alarm]


def observe_conditions(database: Database, observation: Observation) -> None:
    """Raise an alarm for each condition that is new, and for each that has ended, in one transaction."""
    tenant, event = observation.tenant, observation.event
    with database.read() as connection:
        if not _find_changes(connection, observation):
            return
    with database.write() as connection:
        for subject, has_begun in _find_changes(connection, observation):
            if has_begun:
                begin_condition(connection, observation.alarms[subject])
            else:
                end_condition(connection, tenant, event, subject)


def _find_changes(connection: sa.Connection, observation: Observation) -> list[tuple[str, bool]]:
    """Return the subjects whose condition has ended or begun, and whether it has begun."""
    table = alarm_conditions.c
    is_kind = (table.tenant == observation.tenant, table.event == observation.event)
    stored = set(connection.execute(sa.select(table.subject).where(*is_kind)).scalars())
    ended = [(subject, False) for subject in sorted(stored - observation.lasting)]
    return ended + [(subject, True) for subject in sorted(observation.alarms.keys() - stored)]


def begin_condition(connection: sa.Connection, alarm: Alarm) -> None:
    """Raise the alarm of a condition, unless it lasts already."""
    if _select(connection, alarm.tenant, alarm.event, alarm.subject) is not None:
        return
    names = ("tenant", "event", "subject", "severity", "family", "tag", "message")
    row = {**{name: getattr(alarm, name) for name in names}, "since": utc_now()}
    connection.execute(sa.insert(alarm_conditions).values(row))
    record_alarms(connection, [replace(alarm, incident=f"{alarm.event} {alarm.subject}")])


def end_all_conditions(
    connection: sa.Connection, tenant: str, subject: str, subject_prefix: str, reason: str
) -> None:
    """End every condition of a subject that goes away, and of the subjects that begin with a prefix.

    Parameters
    ----------
    reason : str
        How the messages begin.
    """
    table = alarm_conditions.c
    is_concerned = sa.or_(table.subject == subject, table.subject.startswith(subject_prefix, autoescape=True))
    query = sa.select(table.event, table.subject).where(table.tenant == tenant, is_concerned)
    for row in connection.execute(query.order_by(table.event, table.subject)).all():
        end_condition(connection, tenant, row.event, row.subject, reason)


def end_condition(connection: sa.Connection, tenant: str, event: str, subject: str, reason: str = "") -> None:
    """Raise the alarm that says that a condition has ended; none where it did not last."""
    condition = _select(connection, tenant, event, subject)
    if condition is None:
        return
    connection.execute(sa.delete(alarm_conditions).where(*_is_condition(tenant, event, subject)))
    ending, begin = ENDINGS[event]
    alarm = Alarm(
        tenant,
        ending,
        condition.severity,
        condition.family,
        subject,
        f"{reason or begin} (since {condition.since:%Y-%m-%d %H:%M} UTC: {condition.message})",
        tag=condition.tag,
        incident=f"{event} {subject}",
    )
    record_alarms(connection, [alarm])


def _select(connection: sa.Connection, tenant: str, event: str, subject: str) -> Any:
    query = sa.select(alarm_conditions).where(*_is_condition(tenant, event, subject))
    return connection.execute(query.with_for_update()).one_or_none()


def _is_condition(tenant: str, event: str, subject: str) -> list[sa.ColumnElement[bool]]:
    table = alarm_conditions.c
    return [table.tenant == tenant, table.event == event, table.subject == subject]
