"""The present state of a tenant as gauges, read when Prometheus scrapes."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from enum import Enum, auto
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from errors import ArtefactCorrupt, NotFound
from prediction.contract import ModelKey
from storage.db.sessions import ENDED_STATES, LIVE_STATES
from storage.models.champions import ChampionRecord, FamilyCount
from training_manager import TrainingManager

# Prometheus keeps a time series for every label set: a family with thousands of models is shown as a whole.
MAX_LISTED_MODELS: Final = 100


class ChampionState(Enum):
    """What the files of a champion say when they are read."""

    READABLE = auto()
    MISSING = auto()
    POINTER_DAMAGED = auto()
    DAMAGED = auto()


class TenantGauges:
    """Gauges of a tenant's present state, for a registry of Prometheus' client."""

    def __init__(self, manager: TrainingManager, tenant: str) -> None:
        self._manager = manager
        self._tenant = tenant

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; a scrape calls this."""
        yield self._count_sessions()
        champions = ChampionGauges(self._manager, self._tenant)
        for family in self._manager.champions.counts(self._tenant):
            champions.add_family(family)
        yield from champions.gauges()
        yield self._measure_quarantine()
        yield from self._measure_storage()

    def _count_sessions(self) -> Metric:
        gauge = _gauge("millwright_sessions", "Training sessions by state.", "tenant", "model", "state")
        counts = self._manager.sessions.count_by_state(self._tenant)
        names: dict[str, set[str]] = defaultdict(set)
        for family, name, _ in counts:
            names[family].add(name)
        totals: Counter[tuple[str, str]] = Counter()
        for (family, name, state), count in counts.items():
            label = f"{family}/{name}" if len(names[family]) <= MAX_LISTED_MODELS else family
            totals[label, state] += count
        # A rate cannot be seen in a series that begins with its first failure: every state begins with 0.
        for label in sorted({label for label, _ in totals}):
            for state in (*LIVE_STATES, *ENDED_STATES):
                gauge.add_metric([self._tenant, label, state], totals[label, state])
        return gauge

    def _measure_quarantine(self) -> Metric:
        waiting = _gauge(
            "millwright_quarantined_records", "Records that wait to be accepted.", "tenant", "model"
        )
        for model in self._manager.data_health.all_waiting(self._tenant):
            waiting.add_metric([self._tenant, str(model.key)], model.records)
        return waiting

    def _measure_storage(self) -> Iterator[Metric]:
        backups = self._manager.backups.list(self._tenant)
        size = sum(backup.size_bytes for backup in backups)
        newest = max((backup.created_at.timestamp() for backup in backups), default=0.0)
        yield GaugeMetricFamily("millwright_backups", "Number of backups.", len(backups))
        yield GaugeMetricFamily("millwright_backup_bytes", "Storage used by backups.", size)
        yield GaugeMetricFamily(
            "millwright_backup_last_timestamp_seconds", "When the newest was created.", newest
        )
        proven_at = self._manager.restore_drills.summary(self._tenant).proven_at
        yield GaugeMetricFamily(
            "millwright_backup_last_proven_timestamp_seconds",
            "When a restore drill last succeeded; 0: never.",
            proven_at.timestamp() if proven_at else 0.0,
        )
        free = self._manager.system.free_bytes()
        yield GaugeMetricFamily("millwright_storage_free_bytes", "Free space where data is stored.", free)
        yield GaugeMetricFamily(
            "millwright_workers_with_stale_models",
            "Web workers that cannot load a champion and answer with an earlier version.",
            len(self._manager.system.worker_errors(self._tenant)),
        )


class ChampionGauges:
    """Gauges of champions: each family as a whole, and the models of small families one by one."""

    def __init__(self, manager: TrainingManager, tenant: str) -> None:
        self._manager = manager
        self._tenant = tenant
        self._count = _gauge("millwright_champions", "Models with a champion.", "tenant", "family")
        self._oldest = _gauge(
            "millwright_champion_oldest_age_seconds", "Age of the oldest champion.", "tenant", "family"
        )
        self._damaged = _gauge(
            "millwright_champions_damaged", "Champions that cannot be read.", "tenant", "family"
        )
        self._version = _gauge(
            "millwright_champion_version", "The version that serves now.", "tenant", "model"
        )
        self._age = _gauge("millwright_champion_age_seconds", "Time since its promotion.", "tenant", "model")
        self._score = _gauge("millwright_champion_score", "Its held-out scores.", "tenant", "model", "metric")
        self._frozen = _gauge(
            "millwright_champions_frozen", "Champions whose later trainings are rejected.", "tenant", "family"
        )
        self._frozen_age = _gauge(
            "millwright_champion_frozen_seconds", "Since when trainings are rejected.", "tenant", "model"
        )

    def gauges(self) -> list[Metric]:
        """Return all of them with what was added so far."""
        return [
            self._count,
            self._oldest,
            self._damaged,
            self._frozen,
            self._version,
            self._age,
            self._score,
            self._frozen_age,
        ]

    def add_family(self, family: FamilyCount) -> None:
        """Count the models of one family, and add each model of a small one."""
        count, damaged = family.champions, family.damaged
        if family.models <= MAX_LISTED_MODELS:
            # The index learns of a damaged or deleted file only when somebody reads it; a small family is read here.
            records = self._manager.champions.page(self._tenant, family.family)
            states = Counter(self._add_model(record) for record in records)
            count = states[ChampionState.READABLE] + states[ChampionState.DAMAGED]
            damaged = states[ChampionState.POINTER_DAMAGED] + states[ChampionState.DAMAGED]
        labels = [self._tenant, family.family]
        self._count.add_metric(labels, count)
        self._oldest.add_metric(labels, _age(family.oldest_promoted_at))
        self._damaged.add_metric(labels, damaged)
        self._frozen.add_metric(labels, family.frozen)
        if family.frozen:
            for record in self._manager.champions.frozen(self._tenant, family.family, MAX_LISTED_MODELS):
                model = f"{record.family}/{record.name}"
                self._frozen_age.add_metric([self._tenant, model], _age(record.rejected_since))

    def _add_model(self, record: ChampionRecord) -> ChampionState:
        """Add one model, and return what its files say."""
        key = ModelKey(record.family, record.name, record.tenant)
        try:
            number = self._manager.models.champion_number(key)
        except ArtefactCorrupt:
            return ChampionState.POINTER_DAMAGED
        if number is None:
            return ChampionState.MISSING
        labels = [self._tenant, str(key)]
        self._version.add_metric(labels, number)
        self._age.add_metric(labels, _age(record.promoted_at))
        try:
            manifest = self._manager.models.version(key, number).manifest
        except (ArtefactCorrupt, NotFound):
            return ChampionState.DAMAGED
        for metric, value in manifest["metrics"]["metrics"].items() if "metrics" in manifest else ():
            if value is not None:
                self._score.add_metric([*labels, metric], value)
        return ChampionState.DAMAGED if record.error else ChampionState.READABLE


def _age(instant: datetime | None) -> float:
    return time.time() - instant.timestamp() if instant is not None else 0.0


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=labels)
