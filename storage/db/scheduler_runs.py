"""Why models were trained again or left alone, and at which ticks somebody looked."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from storage.db.database import Database
from storage.db.tables import scheduler_runs, training_decisions

MAX_DECISIONS_PER_MODEL: Final = 400
MAX_ATTEMPTS: Final = 3
_LOOKS_KEPT: Final = timedelta(days=400)


@dataclass(frozen=True)
class RetrainDecision:
    """What was decided about one model at one look.

    Parameters
    ----------
    run_id : str
        The scheduler run it belongs to; each run decides about a model once.
    action : str
        ``train``, ``wait`` (it should be trained, and must not yet) or ``leave``.
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
    evidence: dict[str, Any] = field(default_factory=dict)
    session_id: int | None = None
    id: int = 0


class RetrainDecisions:
    """The table ``training_decisions``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, decision: RetrainDecision) -> RetrainDecision | None:
        """Write a decision; None where this look has decided about that model already."""
        row = {name: value for name, value in vars(decision).items() if name != "id"}
        made = sa.insert(training_decisions).values(row).returning(training_decisions.c.id)
        try:
            with self._database.write() as connection:
                number = int(connection.execute(made).scalar_one())
                _forget_old(connection, decision)
        except IntegrityError:
            return None
        return RetrainDecision(**{**row, "id": number})

    def update(self, number: int, **columns: Any) -> None:
        """Write what became of a decision."""
        with self._database.write() as connection:
            mine = training_decisions.c.id == number
            connection.execute(sa.update(training_decisions).where(mine).values(**columns))

    def list(
        self,
        tenant: str,
        family: str | None = None,
        name: str | None = None,
        limit: int = 100,
        cursor: int | None = None,
    ) -> Sequence[RetrainDecision]:
        """Decisions, the newest first; ``cursor`` is the id of the last one seen."""
        where = _of(tenant, family, name)
        where += [] if cursor is None else [training_decisions.c.id < cursor]
        return self._many(where, limit)

    def latest(
        self, tenant: str, limit: int | None = None, after: tuple[str, str] | None = None
    ) -> Sequence[RetrainDecision]:
        """The newest decision about each model, in order of families and names.

        Parameters
        ----------
        after : tuple of str, optional
            Family and name of the last model seen.
        """
        model = (training_decisions.c.family, training_decisions.c.name)
        where = _of(tenant) + ([] if after is None else [sa.tuple_(*model) > sa.tuple_(*after)])
        newest = sa.select(sa.func.max(training_decisions.c.id)).where(*where).group_by(*model)
        mine = training_decisions.c.id.in_(newest.order_by(*model).limit(limit))
        return self._read(sa.select(*_TOLD).where(mine).order_by(*model))

    def list_trainings(self, tenant: str, family: str, name: str) -> Sequence[RetrainDecision]:
        """Decisions about a model that started a session, the newest first."""
        return self._many([*_of(tenant, family, name), _STARTED], None)

    def count_trainings(self, tenant: str, since: datetime) -> int:
        """How many sessions a tenant's decisions have started; a fleet's thousands share one."""
        column = training_decisions.c.session_id
        where = [*_of(tenant), _STARTED, training_decisions.c.decided_at >= since]
        with self._database.read() as connection:
            counted = sa.select(sa.func.count(column.distinct())).where(*where)
            return int(connection.execute(counted).scalar_one())

    def _many(self, where: Sequence[sa.ColumnElement[bool]], limit: int | None) -> Sequence[RetrainDecision]:
        newest = training_decisions.c.id.desc()
        return self._read(sa.select(*_TOLD).where(*where).order_by(newest).limit(limit))

    def _read(self, query: sa.Select[Any]) -> Sequence[RetrainDecision]:
        with self._database.read() as connection:
            return [RetrainDecision(**row._mapping) for row in connection.execute(query)]


_STARTED: Final = training_decisions.c.session_id.is_not(None)
_TOLD = tuple(column.label(column.key) for column in training_decisions.c)


def _of(tenant: str, family: str | None = None, name: str | None = None) -> list[sa.ColumnElement[bool]]:
    asked = {"tenant": tenant, "family": family, "name": name}
    return [training_decisions.c[column] == value for column, value in asked.items() if value is not None]


def _forget_old(connection: sa.Connection, decision: RetrainDecision) -> None:
    """Keep the newest decisions about a model."""
    mine, number = _of(decision.tenant, decision.family, decision.name), training_decisions.c.id
    newest = sa.select(number).where(*mine).order_by(number.desc())
    last = newest.offset(MAX_DECISIONS_PER_MODEL).limit(1).scalar_subquery()
    connection.execute(sa.delete(training_decisions).where(*mine, number <= last))


@dataclass(frozen=True)
class SchedulerRun:
    """One tick at which the models were looked at; ``ended_at`` is None while it is under way."""

    tick: int
    host: str
    attempts: int
    started_at: datetime
    ended_at: datetime | None


class SchedulerRuns:
    """The table ``looks``: one row a tick, whoever looked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._host = socket.gethostname()

    def begin(self, tick: int, now: datetime) -> bool:
        """Whether the caller, the only one of its machine, has to look at this tick.

        A look that its owner's death cut short is taken up again, three times at most. The first tick there
        ever is has nothing to look back at and is only noted.

        Parameters
        ----------
        tick : int
            When the tick was due, in microseconds since 1970.
        """
        try:
            with self._database.write() as connection:
                known = connection.execute(
                    sa.select(scheduler_runs).where(scheduler_runs.c.tick == tick)
                ).one_or_none()
                if known is None:
                    return self._noted(connection, tick, now)
                if known.ended_at is not None or known.host != self._host:
                    return False
                spent = known.attempts >= MAX_ATTEMPTS
                news = {"ended_at": now} if spent else {"attempts": known.attempts + 1}
                connection.execute(
                    sa.update(scheduler_runs).where(scheduler_runs.c.tick == tick).values(**news)
                )
                return not spent
        except IntegrityError:  # another machine was faster
            return False

    def end(self, tick: int, now: datetime) -> None:
        """Note that everything that was due at this tick has been done."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(scheduler_runs).where(scheduler_runs.c.tick == tick).values(ended_at=now)
            )
            connection.execute(
                sa.delete(scheduler_runs).where(scheduler_runs.c.started_at < now - _LOOKS_KEPT)
            )

    def last(self) -> SchedulerRun | None:
        """The newest look."""
        query = (
            sa.select(scheduler_runs)
            .order_by(scheduler_runs.c.started_at.desc(), scheduler_runs.c.tick.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else SchedulerRun(**row._mapping)

    def _noted(self, connection: sa.Connection, tick: int, now: datetime) -> bool:
        first = connection.execute(sa.select(scheduler_runs.c.tick).limit(1)).first() is None
        row = {"tick": tick, "host": self._host, "attempts": 1, "started_at": now}
        connection.execute(sa.insert(scheduler_runs).values(**row, ended_at=now if first else None))
        return not first
