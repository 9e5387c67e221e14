"""Anomalies of assets: one row per episode, open until somebody resolves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, TypedDict

import sqlalchemy as sa

from storage.alarms import Alarm
from storage.alarms.episode_table import EpisodeTable
from storage.alarms.tables import SEVERITY_NAMES
from storage.db.database import Database
from storage.db.tables import AnySelect, StoredRow
from storage.devices.tables import asset_anomalies

# A score of 2 is twice the limit: the health index is 0 there. Doubled from one severity to the next.
_SEVERITY_SCORES: Final = (2.0, 4.0, 8.0)
_MAX_CONTRIBUTIONS: Final = 5

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
        return SEVERITY_NAMES[sum(self.max_score >= score for score in _SEVERITY_SCORES)]

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


class AssetAnomalies(EpisodeTable):
    """The table ``asset_anomalies``."""

    incidents = "asset-anomalies"

    def __init__(self, database: Database) -> None:
        super().__init__(database, asset_anomalies, "anomaly of an asset")

    def query_episodes(self) -> AnySelect:
        """Return a query for all episodes."""
        return sa.select(asset_anomalies)

    def describe(self, row: StoredRow, event: str, what: str) -> Alarm:
        """Return the alarm of an episode."""
        channels = ", ".join(f"{item['channel']} {item['share']:.0%}" for item in row.contributions[:3])
        return Alarm(
            row._mapping[asset_anomalies.c.tenant],  # the column of the database has another name
            event,
            row.severity,
            "equipment",
            f"equipment/{row.model}",
            f"Anomaly of {row.device_id}{what}: score {row.max_score:.1f} (limit 1), {channels or 'no channel'}, "
            f"{row.timestamp:%Y-%m-%d %H:%M:%S} UTC",
            incident=f"{self.incidents}/{row.id}",
            data={
                "device_id": row.device_id,
                "asset_anomaly_id": row.id,
                "max_score": row.max_score,
                "contributions": list(row.contributions),
            },
        )

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
        worse: list[int] = []
        for episode in episodes:
            if current is not None and follows(current.last_seen, episode.timestamp):
                before = current.severity
                current.merge(episode)
                values = {**asdict(current), "severity": current.severity}
                connection.execute(
                    sa.update(asset_anomalies).where(asset_anomalies.c.id == row_id).values(values)
                )
                worse += [row_id] if current.severity != before else []
            else:
                current = episode
                values = {
                    **asdict(current),
                    "severity": current.severity,
                    "tenant": tenant,
                    "resolved": False,
                }
                insert = sa.insert(asset_anomalies).values(values).returning(asset_anomalies.c.id)
                row_id = connection.execute(insert).scalar_one()
                worse.append(row_id)
            ids.append(row_id)
        self.record_worse(connection, tenant, worse)
        return ids

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
    if row is None:
        return 0, None
    return row.id, AssetEpisode(**{name: row._mapping[name] for name in AssetEpisode.__dataclass_fields__})
