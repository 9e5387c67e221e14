"""Anomalies: one row an episode, open until somebody resolves it, suspected until somebody judges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from storage.db.crud import Row, TenantTable
from storage.db.database import Database
from storage.db.tables import utc_now
from storage.sensors.tables import SEVERITIES, anomalies

_TELLING: Final = ("type", "value", "expected", "deviation")
_GROWING: Final = (*_TELLING, "severity", "timestamp", "last_seen", "readings")
"""What another odd reading may change of its episode; the rest of the row is for people to decide."""


class Anomalies(TenantTable):
    """The table ``anomalies``.

    A reading that is odd soon after another odd one belongs to the same episode: its row is extended, so a
    fault that lasts a week is one thing to look at and one thing to decide about.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database, anomalies, "anomaly")

    def record(self, tenant: str, found: Sequence[Mapping[str, Any]], gap_s: float) -> list[int]:
        """Odd readings of one sensor in order of time; the id of the episode each belongs to.

        Parameters
        ----------
        found : sequence of mapping
            ``sensor_id``, ``type``, ``severity``, ``value``, ``expected``, ``deviation``, ``timestamp``
            and ``source``.
        gap_s : float
            Seconds without an odd reading after which an episode is over.
        """
        ids: list[int] = []
        gap = timedelta(seconds=gap_s)
        with self.database.write() as connection:
            episode = _open_episode(connection, tenant, found[0]["sensor_id"]) if found else None
            for odd in found:
                if episode is None or not _touches(episode, odd["timestamp"], gap):
                    _keep(connection, episode)
                    episode = _begun(connection, tenant, odd)
                else:
                    episode = _extended(episode, odd)
                ids.append(episode["id"])
            _keep(connection, episode)
        return ids

    def resolve(self, tenant: str, row_id: int, decided: Mapping[str, Any]) -> Row:
        """Close or open an episode again (``resolved``), and say what it was (``verdict``).

        ``false_alarm`` and ``new_normal`` let its readings be learnt from; ``confirmed`` and None, which
        takes a verdict back, keep them out.
        """
        closed = {"resolved_at": utc_now() if decided["resolved"] else None} if "resolved" in decided else {}
        return self.update(tenant, row_id, {**decided, **closed})

    def suspected(self, sensor_id: int) -> list[tuple[datetime, datetime]]:
        """The periods a model must not learn from, oldest first."""
        kept_out = sa.or_(anomalies.c.verdict.is_(None), anomalies.c.verdict == "confirmed")
        query = (
            sa.select(anomalies.c.timestamp, anomalies.c.last_seen)
            .where(anomalies.c.sensor_id == sensor_id, kept_out)
            .order_by(anomalies.c.timestamp)
        )
        with self.database.read() as connection:
            return [(row[0], row[1]) for row in connection.execute(query)]


def _open_episode(connection: sa.Connection, tenant: str, sensor_id: int) -> Row | None:
    """The newest episode that nobody has closed or judged; nobody does before the transaction ends."""
    mine = [anomalies.c.tenant == tenant, anomalies.c.sensor_id == sensor_id]
    undecided = [anomalies.c.resolved.is_(False), anomalies.c.verdict.is_(None)]
    newest = sa.select(anomalies).where(*mine, *undecided).order_by(anomalies.c.last_seen.desc()).limit(1)
    row = connection.execute(newest.with_for_update()).one_or_none()
    return None if row is None else dict(row._mapping)


def _touches(episode: Row, at: datetime, gap: timedelta) -> bool:
    return bool(episode["timestamp"] - gap <= at <= episode["last_seen"] + gap)


def _begun(connection: sa.Connection, tenant: str, odd: Mapping[str, Any]) -> Row:
    row = {**odd, "tenant": tenant, "last_seen": odd["timestamp"], "readings": 1, "resolved": False}
    made = connection.execute(sa.insert(anomalies).values(row).returning(anomalies))
    return dict(made.one()._mapping)


def _extended(episode: Row, odd: Mapping[str, Any]) -> Row:
    """One more reading of an episode; the most deviant one stands for it."""
    worse = abs(odd["deviation"] or 0.0) > abs(episode["deviation"] or 0.0)
    return {
        **episode,
        **{name: odd[name] for name in _TELLING if worse},
        "severity": max(episode["severity"], odd["severity"], key=SEVERITIES.index),
        "timestamp": min(episode["timestamp"], odd["timestamp"]),
        "last_seen": max(episode["last_seen"], odd["timestamp"]),
        "readings": episode["readings"] + 1,
    }


def _keep(connection: sa.Connection, episode: Row | None) -> None:
    if episode is not None:
        grown = {name: episode[name] for name in _GROWING}
        connection.execute(sa.update(anomalies).where(anomalies.c.id == episode["id"]).values(**grown))
