"""A plant that lives by a simulated clock: devices wear out, are replaced, asked about, and looked after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from prediction import registry
from prediction.contract import ModelKey, Resources
from prediction.serving import ModelCache
from settings import Settings
from storage.container import open_storage
from storage.db.scheduler_runs import RetrainDecision
from storage.db.sessions import Session
from storage.devices.failures import Failures
from storage.devices.telemetry import Telemetry, TelemetryRows
from storage.sensors.readings import from_microseconds, to_microseconds
from training.execution.in_process import InProcessExecutor
from training_manager import TrainingManager

START = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = 3_600_000_000
WEAR_HOURS = 60
OPTIONS = {
    "sequence_length": 12,
    "smoothing": 4,
    "prediction_horizon_hours": 60,
    "model_type": "mlp",
    "hidden_size": 16,
    "epochs": 15,
    "batch_size": 64,
    "learning_rate": 0.005,
    "every": 2,
    "stride": 2,
}


@dataclass
class Device:
    """A device that is worn over its last sixty hours.

    ``gain`` is how much its wear shows, ``offset`` what one sensor adds.
    """

    name: str
    begun: int
    life: int
    gain: float = 1.0
    offset: float = 0.0

    def rows(self, hours: np.ndarray, chance: np.random.Generator) -> list[dict[str, float]]:
        worn = self.gain * np.clip(1 - (self.life - hours) / WEAR_HOURS, 0, None)
        count = len(hours)
        channels = {
            "current_mean": 10 + 2 * worn + chance.normal(0, 0.3, count),
            "vibration_x_mean": 3 + 1.5 * worn + chance.normal(0, 0.2, count),
            "temperature_mean": 60 + 8 * worn + chance.normal(0, 1.0, count),
            "oil_pressure": 2 - worn + self.offset + chance.normal(0, 0.2, count),
        }
        table = np.stack(list(channels.values()), axis=1).tolist()
        return [dict(zip(channels, row, strict=True)) for row in table]


@dataclass
class Plant:
    """Running devices, and the training manager of the server that looks after their model."""

    manager: TrainingManager
    tenant: str = "default"
    hour: int = 0
    gain: float = 1.0
    offset: float = 0.0
    running: list[Device] = field(default_factory=list)
    made: int = 0
    decisions: list[RetrainDecision] = field(default_factory=list)
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    @property
    def key(self) -> ModelKey:
        return ModelKey("rul", "pumps", self.tenant)

    def clock(self) -> datetime:
        return START + timedelta(hours=self.hour)

    def begin(self, failed: int = 30, running: int = 15) -> None:
        """Devices that have failed already teach the first model; others are on their way."""
        self.manager.monitor.clock = self.clock
        for _ in range(failed):
            device = self._new(-150)
            self._tell(device, device.life)
        self.running = [self._new(-int(age)) for age in self.chance.integers(0, 60, running)]
        for device in self.running:
            self._tell(device, -device.begun)
        session = self.manager.train(self.key, [], OPTIONS).session
        assert session is not None
        assert session.state == "completed", session.reasons

    def days(self, count: int, look: bool = True) -> None:
        """Let days go by; what the monitor decides at the end of each is kept in ``decisions``."""
        for _ in range(count):
            self.decisions += self._day(look)

    def sessions(self) -> list[Session]:
        """Return the scheduled trainings, oldest first."""
        found = self.manager.sessions.list(self.tenant)
        return sorted((one for one in found if one.kind == "schedule"), key=lambda one: one.id)

    def performance(self) -> dict[str, Any]:
        watch = self.manager.monitor
        return dict(watch.production_performance(watch.report(self.key).to_dict()["production"]))

    def ask(self, devices: Sequence[str]) -> None:
        """Ask for remaining lives by name, as a client would."""
        storage = self.manager.storage
        source = registry.open_data_source("rul", storage.settings.data_dir, storage.database)
        asked = registry.create_parser("rul").parse_inputs({"devices": list(devices)})
        live = self.manager.model_cache.current(self.key)
        batch = source.resolve_inputs(self.key, asked, {})
        self.manager.predictions.add(self.key, live, live.predictor.predict(batch.records, {}))

    def _day(self, look: bool) -> list[RetrainDecision]:
        for _ in range(2):
            self.hour += 12
            for device in list(self.running):
                lived = self.hour - device.begun
                self._tell(device, min(lived, device.life), 12 - max(0, lived - device.life))
                if lived >= device.life:
                    self.running.remove(device)
                    self.running.append(self._new(self.hour))
            self.ask([device.name for device in self.running if self.hour > device.begun])
        return self.manager.monitor.check(f"hour {self.hour}", self.tenant) if look else []

    def _new(self, begun: int) -> Device:
        self.made += 1
        life = int(self.chance.integers(70, 130))
        return Device(f"{self.tenant}-{self.made:03d}", begun, life, self.gain, self.offset)

    def _tell(self, device: Device, until: int, rows: int | None = None) -> None:
        """Telemetry of a device's hours up to one, and its failure where it was the last."""
        hours = np.arange(until if rows is None else rows) + until - (until if rows is None else rows)
        times = [to_microseconds(START) + HOUR * (device.begun + int(hour)) for hour in hours]
        samples = TelemetryRows([device.name] * len(hours), times, device.rows(hours, self.chance))
        database = self.manager.storage.database
        Telemetry(database).ingest(self.tenant, samples)
        if until == device.life:
            at = from_microseconds(to_microseconds(START) + HOUR * (device.begun + device.life))
            Failures(database).ingest(
                self.tenant, [{"device_id": device.name, "event_time": at, "event_type": "failure"}]
            )


@contextmanager
def front_desk(home: Path, **settings: Any) -> Iterator[TrainingManager]:
    """Return a server's training side in a fresh home."""
    chosen = Settings(home=home, sentence_model="none", demo_data=False, shutdown_grace_seconds=1, **settings)
    chosen.run_dir.mkdir(parents=True)
    storage = open_storage(chosen)
    live = ModelCache(storage.versions, Resources(chosen.cache_dir))
    manager = TrainingManager(storage, InProcessExecutor(chosen), live)
    yield manager
    manager.close()
    storage.close()
