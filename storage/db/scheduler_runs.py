"""Runs of the scheduler, and what each decided about the models it checked."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypedDict, Unpack

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from storage.alarms import Alarm, begin_condition, end_condition
from storage.db.database import Database
from storage.db.tables import AnySelect, scheduler_runs, training_decisions
from storage.filesystem.checksummed_json import Document

MAX_DECISIONS_PER_MODEL: Final = 400
MAX_ATTEMPTS: Final = 3
DRIFT: Final = "drift.found"
_RUN_RETENTION: Final = timedelta(days=400)


@dataclass(frozen=True)
class RetrainDecision:
    """The decision of one run about one model.

    Parameters
    ----------
    run_id : str
        The scheduler run or command it belongs to. Each run decides about a model once.
    action : str
        ``train``, ``wait`` (it should be trained, and may not yet) or ``leave``.
    session_id : int or None
        The session it started.
    """

    tenant: str
    family: str
    name: str
    run_id: str
    decided_at: datetime
    action: str
    reasons: list[str]
    evidence: Document = field(default_factory=dict)
    session_id: int | None = None
    id: int = 0


class DecisionFields(TypedDict, total=False):
    """Fields of a decision that can change."""

    action: str
    reasons: list[str]
    session_id: int


class RetrainDecisions:
    """The table ``training_decisions``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, decision: RetrainDecision) -> RetrainDecision | None:
        """Store a decision; return None where this run has decided about the model already.

        Where the evidence says that the model has ``changed``, an alarm says so in the same transaction, and
        another one once it says the contrary.
        """
        row = {name: value for name, value in vars(decision).items() if name != "id"}
        insert = sa.insert(training_decisions).values(row).returning(training_decisions.c.id)
        try:
            with self._database.write() as connection:
                number = int(connection.execute(insert).scalar_one())
                _delete_old(connection, decision)
                _observe_drift(connection, decision)
        except IntegrityError:
            return None
        return replace(decision, id=number)

    def update(self, number: int, **fields: Unpack[DecisionFields]) -> None:
        """Change some fields of a decision."""
        with self._database.write() as connection:
            is_decision = training_decisions.c.id == number
            connection.execute(sa.update(training_decisions).where(is_decision).values(**fields))

    def list(
        self,
        tenant: str,
        family: str | None = None,
        name: str | None = None,
        limit: int = 100,
        cursor: int | None = None,
    ) -> Sequence[RetrainDecision]:
        """Return decisions, newest first; ``cursor`` is the id of the last one seen."""
        where = _of_model(tenant, family, name)
        where += [] if cursor is None else [training_decisions.c.id < cursor]
        return self._select(_newest_first(where).limit(limit))

    def list_started(
        self, tenant: str, limit: int, session_id: int | None = None
    ) -> Sequence[RetrainDecision]:
        """Return decisions that have started a session, or this one, newest first."""
        where = [*_of_model(tenant), _HAS_SESSION]
        where += [] if session_id is None else [training_decisions.c.session_id == session_id]
        return self._select(_newest_first(where).limit(limit))

    def latest(
        self, tenant: str, limit: int | None = None, after: tuple[str, str] | None = None
    ) -> Sequence[RetrainDecision]:
        """Return the newest decision about each model, in order of families and names.

        Parameters
        ----------
        after : tuple of str, optional
            Family and name of the last model seen.
        """
        model = (training_decisions.c.family, training_decisions.c.name)
        where = _of_model(tenant) + ([] if after is None else [sa.tuple_(*model) > sa.tuple_(*after)])
        newest = sa.select(sa.func.max(training_decisions.c.id)).where(*where).group_by(*model)
        is_newest = training_decisions.c.id.in_(newest.order_by(*model).limit(limit))
        return self._select(sa.select(*_COLUMNS).where(is_newest).order_by(*model))

    def list_trainings(self, tenant: str, family: str, name: str) -> Sequence[RetrainDecision]:
        """Return the decisions about a model that started a session, newest first."""
        return self._select(_newest_first([*_of_model(tenant, family, name), _HAS_SESSION]))

    def count_trainings(self, tenant: str, since: datetime) -> int:
        """Count the sessions that decisions have started; the models of a batch share one."""
        session = training_decisions.c.session_id
        where = [*_of_model(tenant), _HAS_SESSION, training_decisions.c.decided_at >= since]
        with self._database.read() as connection:
            query = sa.select(sa.func.count(session.distinct())).where(*where)
            return int(connection.execute(query).scalar_one())

    def _select(self, query: AnySelect) -> Sequence[RetrainDecision]:
        with self._database.read() as connection:
            return [RetrainDecision(**row._mapping) for row in connection.execute(query)]


_HAS_SESSION: Final = training_decisions.c.session_id.is_not(None)
_COLUMNS: Final = tuple(column.label(column.key) for column in training_decisions.c)


def _of_model(
    tenant: str, family: str | None = None, name: str | None = None
) -> list[sa.ColumnElement[bool]]:
    model = {"tenant": tenant, "family": family, "name": name}
    return [training_decisions.c[column] == value for column, value in model.items() if value is not None]


def _newest_first(where: Sequence[sa.ColumnElement[bool]]) -> AnySelect:
    return sa.select(*_COLUMNS).where(*where).order_by(training_decisions.c.id.desc())


def _observe_drift(connection: sa.Connection, decision: RetrainDecision) -> None:
    """Raise an alarm when a model's evidence begins, or ceases, to say that what it learnt has changed."""
    model = f"{decision.family}/{decision.name}"
    subject = f"models/{model}"
    if decision.evidence.get("changed"):
        message = f"What {model} has learnt no longer holds: {' '.join(decision.reasons)}"
        data = {"version": decision.evidence.get("version"), "action": decision.action}
        drift = Alarm(decision.tenant, DRIFT, "Medium", decision.family, subject, message, data=data)
        begin_condition(connection, drift)
    elif "changed" in decision.evidence:
        end_condition(connection, decision.tenant, DRIFT, subject)


def _delete_old(connection: sa.Connection, decision: RetrainDecision) -> None:
    """Delete all but the newest decisions about a model."""
    of_model = _of_model(decision.tenant, decision.family, decision.name)
    number = training_decisions.c.id
    newest = sa.select(number).where(*of_model).order_by(number.desc())
    last_deleted = newest.offset(MAX_DECISIONS_PER_MODEL).limit(1).scalar_subquery()
    connection.execute(sa.delete(training_decisions).where(*of_model, number <= last_deleted))


@dataclass(frozen=True)
class SchedulerRun:
    """One tick at which the models were checked; ``ended_at`` is None while it is running."""

    tick: int
    host: str
    attempts: int
    started_at: datetime
    ended_at: datetime | None


class SchedulerRuns:
    """The table ``scheduler_runs``: one row per tick, whichever machine ran it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._host = socket.gethostname()

    def begin(self, tick: int, now: datetime) -> bool:
        """Return whether the caller, the only one of its machine, has to run this tick.

        A run that ended with the death of its process is tried again, three times at most. The very first
        tick is only recorded: there is nothing yet to compare with.

        Parameters
        ----------
        tick : int
            When the tick was due, in microseconds since 1970.
        """
        is_tick = scheduler_runs.c.tick == tick
        try:
            with self._database.write() as connection:
                run = connection.execute(sa.select(scheduler_runs).where(is_tick)).one_or_none()
                if run is None:
                    is_first = connection.execute(sa.select(scheduler_runs.c.tick).limit(1)).first() is None
                    row = {"tick": tick, "host": self._host, "attempts": 1, "started_at": now}
                    row["ended_at"] = now if is_first else None
                    connection.execute(sa.insert(scheduler_runs).values(row))
                    return not is_first
                if run.ended_at is not None or run.host != self._host:
                    return False
                gives_up = run.attempts >= MAX_ATTEMPTS
                values = {"ended_at": now} if gives_up else {"attempts": run.attempts + 1}
                connection.execute(sa.update(scheduler_runs).where(is_tick).values(values))
                return not gives_up
        except IntegrityError:  # another machine was faster
            return False

    def end(self, tick: int, now: datetime) -> None:
        """Record that everything due at this tick has been done."""
        is_old = scheduler_runs.c.started_at < now - _RUN_RETENTION
        with self._database.write() as connection:
            is_tick = scheduler_runs.c.tick == tick
            connection.execute(sa.update(scheduler_runs).where(is_tick).values(ended_at=now))
            connection.execute(sa.delete(scheduler_runs).where(is_old))

    def last(self) -> SchedulerRun | None:
        """Return the newest run."""
        newest_first = scheduler_runs.c.started_at.desc(), scheduler_runs.c.tick.desc()
        with self._database.read() as connection:
            query = sa.select(scheduler_runs).order_by(*newest_first).limit(1)
            row = connection.execute(query).one_or_none()
        return None if row is None else SchedulerRun(**row._mapping)
