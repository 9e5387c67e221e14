"""Judge telemetry as it arrives, and store the episodes together with the rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterator, Mapping
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
from prediction.equipment.model.equipment_model import EquipmentModel
from prediction.equipment.model.limits import EPISODE_ROWS
from prediction.equipment.model.rows import CONTEXT_ROWS
from prediction.equipment.predictor import EquipmentPredictor
from prediction.telemetry import join_duplicates, telemetry_from_rows
from storage.db.crud import Row
from storage.db.database import Database
from storage.devices.asset_anomalies import AssetAnomalies, AssetEpisode
from storage.devices.tables import asset_anomalies
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
    anomaly_count : int
        Episodes with an alarm among the rows.
    anomalies : list of mapping
        The first of them, as they are stored.
    warnings : list of str
        Which rows of a device were not judged although it has a model, and why.
    """

    accepted: int = 0
    anomaly_count: int = 0
    anomalies: list[Row] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _NewEpisodes:
    """The episodes of one batch of one model.

    Parameters
    ----------
    running_times : int64
        Times of the running rows of the batch and of those before it.
    known_since : int
        Time of the first row that was read, running or not.
    """

    episodes: list[AssetEpisode]
    running_times: NDArray[np.int64]
    known_since: int

    def follows(self, last_seen: datetime, start: datetime) -> bool:
        """Return whether at most twelve running rows lie between two alarms."""
        last = to_microseconds(last_seen)
        between = (self.running_times > last) & (self.running_times < to_microseconds(start))
        # Of an alarm before all rows that were read, it is not known how long the asset has been running since.
        return last >= self.known_since and int(between.sum()) < EPISODE_ROWS


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

    def ingest(self, rows: TelemetryRows, max_listed: int = 100) -> NewTelemetry:
        """Store rows together with the episodes among them, in one transaction; ``max_listed`` of these are returned.

        Rows that a model cannot judge are stored all the same, with a warning.
        """
        result = NewTelemetry(accepted=len(rows))
        if not len(rows):
            return result
        # Detection may take seconds, so it comes before the transaction, which keeps others from writing.
        found = [
            batch
            for device, new in _split_by_device(rows, self._models.keys())
            for batch in self._judge_device(device, new, result)
        ]
        ids: dict[int, None] = {}
        with self._database.write() as connection:
            self._telemetry.ingest_with(connection, self._tenant, rows)
            for batch in found:
                stored = self._anomalies.record(connection, self._tenant, batch.episodes, batch.follows)
                ids.update(dict.fromkeys(stored))
        result.anomaly_count, listed = len(ids), list(ids)[:max_listed]
        if listed:
            result.anomalies, _ = self._anomalies.page(
                self._tenant, [asset_anomalies.c.id.in_(listed)], max_listed
            )
        return result

    def _judge_device(
        self, device: str, new: DeviceTelemetry, result: NewTelemetry
    ) -> Iterator[_NewEpisodes]:
        """Yield what each model of a device found.

        Rows that are stored already have been judged: sent again, they only give history to the others.
        """
        is_new = ~np.isin(new.times, self._telemetry.find_known_times(self._tenant, device, new.times))
        if repeated := int((~is_new).sum()):
            result.warnings.append(
                f"Not judged again: {repeated:,} of {len(new):,} rows of {device} have the time of a row that "
                "was stored before"
            )
        for name in self._models[device]:
            yield from self._judge(name, new, is_new, result)

    def _judge(
        self, name: str, new: DeviceTelemetry, is_new: NDArray[np.bool_], result: NewTelemetry
    ) -> list[_NewEpisodes]:
        try:
            served = self._champion(ModelKey(FAMILY, name, self._tenant))
            model = cast("EquipmentPredictor", served.predictor).model
            return [
                _NewEpisodes(_list_episodes(judgement, name, served.number, new.device_id), times, since)
                for judgement, times, since in self._judge_batches(model, new, is_new)
            ]
        except MillwrightError as error:
            result.warnings.append(f"Not judged by {FAMILY}/{name}. {error.message}")
            return []

    def _judge_batches(
        self, model: EquipmentModel, new: DeviceTelemetry, is_new: NDArray[np.bool_]
    ) -> Iterator[tuple[Judgement, NDArray[np.int64], int]]:
        """Yield the judgement on each batch, the times of running rows, and the first time that was read."""
        for start in range(0, len(new), BATCH_SIZE):
            batch = new.select(slice(start, start + BATCH_SIZE))
            earlier = new.select(slice(max(0, start - CONTEXT_ROWS), start))
            if len(earlier) < CONTEXT_ROWS:
                stored = self._read_before(new.device_id, int(new.times[0]), CONTEXT_ROWS - len(earlier))
                earlier = _join(stored, earlier)
            rows = _join(earlier, batch)
            is_judged = np.concatenate([np.zeros(len(earlier), np.bool_), is_new[start : start + BATCH_SIZE]])
            judgement = judge(model, rows, is_judged)
            times, since = judgement.times, int(rows.times[0])
            if judgement.is_alarm[:EPISODE_ROWS].any():
                # The asset stood still lately, so an open episode may lie before these rows.
                older = self._read_before(new.device_id, since, BATCH_SIZE)
                if len(older):
                    longer = _join(older, rows)
                    times = longer.times[~model.preprocessor.layout.find_off_time(longer)]
                    since = int(longer.times[0])
            yield judgement, times, since

    def _read_before(self, device: str, time: int, count: int) -> DeviceTelemetry:
        """Return the last stored rows of a device before a time."""
        return join_duplicates(self._telemetry.latest(self._tenant, device, count, end=time - 1))


def map_devices(index: ChampionIndex, versions: VersionStore, tenant: str) -> dict[str, list[str]]:
    """Return the names of a tenant's models with a champion, by the device that each of them watches."""
    models: dict[str, list[str]] = {}
    for record in index.page(tenant, FAMILY):
        if record.version is not None:
            try:
                device = _read_device(versions.folder(record.path, record.version))
            except (OSError, ValueError, KeyError):
                device = record.name
            models.setdefault(device, []).append(record.name)
    return models


# Only what was read is kept: a version never changes, but a file that cannot be read now may be there later.
@lru_cache(maxsize=20_000)
def _read_device(folder: Path) -> str:
    """Return the device of a version."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return str(manifest["facts"]["device_id"])


def _split_by_device(rows: TelemetryRows, devices: Container[str]) -> Iterator[tuple[str, DeviceTelemetry]]:
    """Yield some devices' rows in order of time; of several with the same time the last."""
    positions: dict[str, list[int]] = {}
    for number, device in enumerate(rows.devices):
        if device in devices:
            positions.setdefault(device, []).append(number)
    for device, places in sorted(positions.items()):
        channels, times = [rows.channels[place] for place in places], [rows.times[place] for place in places]
        yield device, join_duplicates(telemetry_from_rows(channels, times, device))


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


def _list_episodes(judgement: Judgement, name: str, version: int, device: str) -> list[AssetEpisode]:
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
    return episodes
