"""Anomalies of assets: one row per episode, open until somebody resolves it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict

import sqlalchemy as sa

from storage.alarms.outbox import Alarm, has_alarm, record_alarms
from storage.db.crud import Row, TenantTable
from storage.db.database import Database
from storage.db.tables import utc_now
from storage.devices.tables import asset_anomalies
from storage.sensors.tables import SEVERITIES

# A score of 2 is twice the limit: the health index is 0 there. Doubled from one severity to the next.
_SEVERITY_SCORES: Final = (2.0, 4.0, 8.0)
_MAX_CONTRIBUTIONS: Final = 5
# History that is sent late has anomalies that nobody can do anything about now.
_MAX_ALARM_AGE: Final = timedelta(hours=24)

# Whether the second instant belongs to the episode whose last alarm was at the first.
Follows = Callable[[datetime, datetime], bool]


class ChannelShare(TypedDict):
    """A channel and its share of what raised the score."""

    channel: str
    share: float


@dataclass
class AssetEpisode:
    """Alarms of one asset that follow each other closely.

    ``contributions`` are means over the alarms; ``condition`` is the operating condition of the highest score.
    """

    device_id: str
    model: str
    version: int
    timestamp: datetime
    last_seen: datetime
    alarms: int
    max_score: float
    min_health: float
    condition: int
    contributions: Sequence[ChannelShare]

    @property
    def severity(self) -> str:
        """Return how far beyond the limit the score went."""
        return SEVERITIES[sum(self.max_score >= score for score in _SEVERITY_SCORES)]

    def merge(self, later: AssetEpisode) -> None:
        """Take over the alarms of another episode."""
        count = self.alarms + later.alarms
        shares: dict[str, float] = {}
        for episode in (self, later):
            for item in episode.contributions:
                share = item["share"] * episode.alarms / count
                shares[item["channel"]] = shares.get(item["channel"], 0.0) + share
        ranked = sorted(shares.items(), key=lambda pair: -pair[1])[:_MAX_CONTRIBUTIONS]
        self.contributions = [{"channel": name, "share": share} for name, share in ranked]
        if later.max_score > self.max_score:
            self.max_score, self.condition = later.max_score, later.condition
        self.min_health = min(self.min_health, later.min_health)
        self.timestamp = min(self.timestamp, later.timestamp)
        self.last_seen = max(self.last_seen, later.last_seen)
        self.alarms = count


class AssetAnomalies(TenantTable):
    """The table ``asset_anomalies``."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, asset_anomalies, "anomaly of an asset")

    def record(
        self, connection: sa.Connection, tenant: str, episodes: Sequence[AssetEpisode], follows: Follows
    ) -> list[int]:
        """Store episodes of one model in order of time, and return the id of the row that holds each.

        Parameters
        ----------
        connection : Connection
            An open write transaction: the caller commits the anomalies together with their telemetry.
        follows : callable
            Whether an alarm extends the open episode.
        """
        if not episodes:
            return []
        row_id, current = _select_open(connection, tenant, episodes[0])
        ids: list[int] = []
        for episode in episodes:
            if current is not None and follows(current.last_seen, episode.timestamp):
                before = current.severity
                current.merge(episode)
                values = {**asdict(current), "severity": current.severity}
                connection.execute(
                    sa.update(asset_anomalies).where(asset_anomalies.c.id == row_id).values(values)
                )
                event = None if current.severity == before else "anomaly.escalated"
            else:
                current = episode
                values = {
                    **asdict(current),
                    "severity": current.severity,
                    "tenant": tenant,
                    "resolved": False,
                }
                insert = sa.insert(asset_anomalies).values(values).returning(asset_anomalies.c.id)
                row_id, event = connection.execute(insert).scalar_one(), "anomaly.opened"
            ids.append(row_id)
            if event is not None and current.last_seen >= utc_now() - _MAX_ALARM_AGE:
                record_alarms(connection, [_describe(tenant, row_id, current, event, "")])
        return ids

    def resolve(self, tenant: str, row_id: int, decision: Mapping[str, object]) -> Row:
        """Close or reopen an episode (``resolved``) and record what it was (``verdict``).

        Models learn from its rows after ``false_alarm`` and ``new_normal``. They do not after ``confirmed`` nor after
        None, which withdraws a verdict.
        """
        row = self.get(tenant, row_id)
        closed = (
            {"resolved_at": utc_now() if decision["resolved"] else None} if "resolved" in decision else {}
        )
        with self.database.write() as connection:
            update = sa.update(asset_anomalies).where(*self._is_row(tenant, row_id))
            connection.execute(update.values({**decision, **closed}))
            is_closing = bool(decision.get("resolved")) and not row["resolved"]
            if is_closing and has_alarm(connection, tenant, _name_incident(row_id)):
                episode = _to_episode(row)
                record_alarms(
                    connection, [_describe(tenant, row_id, episode, "anomaly.closed", " was resolved")]
                )
        return self.get(tenant, row_id)

    def suspected(self, tenant: str, model: str) -> list[tuple[datetime, datetime]]:
        """Return the periods that a model must not learn from, oldest first."""
        table = asset_anomalies.c
        is_suspected = sa.or_(table.verdict.is_(None), table.verdict == "confirmed")
        query = sa.select(table.timestamp, table.last_seen).where(
            table.tenant == tenant, table.model == model, is_suspected
        )
        with self.database.read() as connection:
            return [(row[0], row[1]) for row in connection.execute(query.order_by(table.timestamp))]


def _select_open(
    connection: sa.Connection, tenant: str, episode: AssetEpisode
) -> tuple[int, AssetEpisode | None]:
    """Return the newest episode of a model without resolution or verdict; the row stays locked."""
    table = asset_anomalies.c
    query = (
        sa.select(asset_anomalies)
        .where(
            table.tenant == tenant,
            table.model == episode.model,
            table.device_id == episode.device_id,
            table.resolved.is_(False),
            table.verdict.is_(None),
            table.timestamp <= episode.timestamp,
        )
        .order_by(table.last_seen.desc())
        .limit(1)
        .with_for_update()
    )
    row = connection.execute(query).one_or_none()
    return (0, None) if row is None else (row.id, _to_episode(dict(row._mapping)))


def _to_episode(row: Mapping[str, Any]) -> AssetEpisode:
    return AssetEpisode(**{name: row[name] for name in AssetEpisode.__dataclass_fields__})


def _name_incident(row_id: int) -> str:
    return f"asset-anomalies/{row_id}"


def _describe(tenant: str, row_id: int, episode: AssetEpisode, event: str, what: str) -> Alarm:
    channels = ", ".join(f"{item['channel']} {item['share']:.0%}" for item in episode.contributions[:3])
    return Alarm(
        tenant,
        event,
        episode.severity,
        "equipment",
        f"equipment/{episode.model}",
        f"Anomaly of {episode.device_id}{what}: score {episode.max_score:.1f} (limit 1), {channels or 'no channel'}, "
        f"{episode.timestamp:%Y-%m-%d %H:%M:%S} UTC",
        incident=_name_incident(row_id),
        data={
            "device_id": episode.device_id,
            "asset_anomaly_id": row_id,
            "max_score": episode.max_score,
            "contributions": list(episode.contributions),
        },
    )
