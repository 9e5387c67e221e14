"""Judge telemetry as it arrives, and store the episodes together with the rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from errors import MillwrightError
from prediction.contract import AnyPredictor, ModelKey
from prediction.equipment.judgement import Judgement, judge
from prediction.equipment.model.limits import EPISODE_ROWS
from prediction.equipment.model.rows import CONTEXT_ROWS
from prediction.equipment.predictor import EquipmentPredictor
from prediction.telemetry import drop_duplicates, telemetry_from_rows
from storage.db.crud import Row
from storage.db.database import Database
from storage.devices.asset_anomalies import AssetAnomalies, AssetEpisode
from storage.devices.telemetry import DeviceTelemetry, Telemetry, TelemetryRows
from storage.models.champions import ChampionIndex
from storage.models.versions import VersionStore
from storage.times import from_microseconds, to_microseconds

FAMILY: Final = "equipment"
# Rows of one device that are judged together: each takes a few kilobytes.
BATCH_SIZE: Final = 20_000


class ServedAsset(Protocol):
    """A loaded champion."""

    @property
    def number(self) -> int:
        """Return the version."""

    @property
    def predictor(self) -> AnyPredictor:
        """Return the loaded model."""


# Returns the champion of a key; raises a ``MillwrightError`` where no version can answer.
ChampionLookup = Callable[[ModelKey], ServedAsset]


@dataclass
class NewTelemetry:
    """What became of rows of telemetry.

    Parameters
    ----------
    accepted : int
    anomalies : list of mapping
        Episodes with an alarm among the rows, as they are stored, the oldest first.
    warnings : list of str
        Why rows of a device were not judged although it has a model.
    """

    accepted: int = 0
    anomalies: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _NewEpisodes:
    """The episodes of one batch of one model, and the times of its running rows with those before them."""

    episodes: list[AssetEpisode]
    running_times: NDArray[np.int64]

    def follows(self, last_seen: datetime, start: datetime) -> bool:
        """Return whether at most twelve running rows lie between two alarms."""
        between = (self.running_times > to_microseconds(last_seen)) & (
            self.running_times < to_microseconds(start)
        )
        return int(between.sum()) < EPISODE_ROWS


class EquipmentService:
    """Stores and judges one tenant's telemetry.

    Parameters
    ----------
    models : mapping of str to list of str
        Names of the models with a champion, by device.
    """

    def __init__(
        self, database: Database, tenant: str, models: Mapping[str, list[str]], champion: ChampionLookup
    ) -> None:
        self._database = database
        self._tenant = tenant
        self._models = models
        self._champion = champion
        self._telemetry = Telemetry(database)
        self._anomalies = AssetAnomalies(database)

    def ingest(self, rows: TelemetryRows) -> NewTelemetry:
        """Store rows together with the episodes among them, in one transaction.

        Rows that a model cannot judge are stored all the same, with a warning.
        """
        result = NewTelemetry(accepted=len(rows))
        if not len(rows):
            return result
        # Detection may take seconds, so it comes before the transaction, which keeps others from writing.
        found = [
            batch
            for device in sorted(set(rows.devices) & self._models.keys())
            for name in self._models[device]
            for batch in self._judge(name, device, rows, result)
        ]
        ids: dict[int, None] = {}
        with self._database.write() as connection:
            self._telemetry.ingest_with(connection, self._tenant, rows)
            for batch in found:
                stored = self._anomalies.record(connection, self._tenant, batch.episodes, batch.follows)
                ids.update(dict.fromkeys(stored))
        result.anomalies = [self._anomalies.get(self._tenant, row_id) for row_id in ids]
        return result

    def _judge(self, name: str, device: str, rows: TelemetryRows, result: NewTelemetry) -> list[_NewEpisodes]:
        try:
            served = self._champion(ModelKey(FAMILY, name, self._tenant))
            predictor = cast("EquipmentPredictor", served.predictor)
            return [
                _collect(judgement, name, served.number, device)
                for judgement in self._judge_batches(predictor, device, rows)
            ]
        except MillwrightError as error:
            result.warnings.append(f"Not judged by {FAMILY}/{name}. {error.message}")
            return []

    def _judge_batches(
        self, predictor: EquipmentPredictor, device: str, rows: TelemetryRows
    ) -> Iterator[Judgement]:
        new = _select_device(device, rows)
        for start in range(0, len(new), BATCH_SIZE):
            batch = new.select(slice(start, start + BATCH_SIZE))
            earlier = new.select(slice(max(0, start - CONTEXT_ROWS), start))
            if len(earlier) < CONTEXT_ROWS:
                stored = self._telemetry.read_with_context(
                    self._tenant,
                    device,
                    int(new.times[0]),
                    int(new.times[0]) - 1,
                    context=CONTEXT_ROWS - len(earlier),
                    max_rows=0,
                )
                earlier = _join(drop_duplicates(stored), earlier)
            yield judge(predictor.model, _join(earlier, batch), context=len(earlier))


def map_devices(index: ChampionIndex, versions: VersionStore, tenant: str) -> dict[str, list[str]]:
    """Return the names of a tenant's models with a champion, by the device that each of them watches."""
    models: dict[str, list[str]] = {}
    for record in index.page(tenant, FAMILY):
        if record.version is not None:
            device = _read_device(versions.folder(record.path, record.version)) or record.name
            models.setdefault(device, []).append(record.name)
    return models


@lru_cache(maxsize=20_000)
def _read_device(folder: Path) -> str:
    """Return the device of a version, which never changes; empty where its manifest cannot be read."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return str(manifest["facts"]["device_id"])
    except (OSError, ValueError, KeyError):
        return ""


def _select_device(device: str, rows: TelemetryRows) -> DeviceTelemetry:
    """Return the rows of one device in order of time; of several with the same time the last."""
    positions = [number for number, name in enumerate(rows.devices) if name == device]
    channels = [rows.channels[number] for number in positions]
    times = [rows.times[number] for number in positions]
    return drop_duplicates(telemetry_from_rows(channels, times, device))


def _join(earlier: DeviceTelemetry, later: DeviceTelemetry) -> DeviceTelemetry:
    """Return rows after others, with the channels of both."""
    if not len(earlier):
        return later
    names = tuple(sorted({*earlier.channels, *later.channels}))
    values = np.full((len(earlier) + len(later), len(names)), np.nan)
    for part, rows in ((earlier, slice(0, len(earlier))), (later, slice(len(earlier), None))):
        columns = [names.index(name) for name in part.channels]
        values[rows, columns] = part.values
    times = np.concatenate([earlier.times, later.times])
    return DeviceTelemetry(later.device_id, np.arange(len(times)), times, names, values)


def _collect(judgement: Judgement, name: str, version: int, device: str) -> _NewEpisodes:
    episodes = []
    for episode in judgement.list_episodes():
        highest = episode.rows[int(judgement.scores.score[episode.rows].argmax())]
        episodes.append(
            AssetEpisode(
                device_id=device,
                model=name,
                version=version,
                timestamp=from_microseconds(int(judgement.times[episode.rows[0]])),
                last_seen=from_microseconds(int(judgement.times[episode.rows[-1]])),
                alarms=len(episode.rows),
                max_score=episode.max_score,
                min_health=episode.min_health,
                condition=int(judgement.condition[highest]),
                contributions=[
                    {"channel": item["channel"], "share": item["share"]} for item in episode.contributions
                ],
            )
        )
    return _NewEpisodes(episodes, judgement.times)
