"""The state of the house as gauges, looked up when somebody asks."""

from __future__ import annotations

import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import groupby
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from errors import ArtefactCorrupt, NotFound
from storage.container import Storage
from storage.models.versions import VersionStore

Gauges = Iterator[Metric]
MAX_LISTED_MODELS: Final = 100
"""Models of a family with more than these are not all told one by one: a fleet of sensors has thousands."""


class TenantGauges:
    """Gauges of a tenant's present state, for a registry of Prometheus' client."""

    def __init__(self, storage: Storage, tenant: str) -> None:
        self._storage = storage
        self._tenant = tenant

    def collect(self) -> Gauges:
        """What a scrape gets."""
        yield from self._sessions()
        yield from self._champions()
        yield from self._kept()

    def _sessions(self) -> Gauges:
        states = _gauge("millwright_sessions", "Training sessions by state.", "tenant", "model", "state")
        tallies = self._storage.sessions.count_by_state(self._tenant)
        names: dict[str, set[str]] = defaultdict(set)
        for family, name, _ in tallies:
            names[family].add(name)
        told: Counter[tuple[str, str]] = Counter()
        for (family, name, state), count in tallies.items():
            told[f"{family}/{name}" if len(names[family]) <= MAX_LISTED_MODELS else family, state] += count
        for (model, state), count in told.items():
            states.add_metric([self._tenant, model, state], count)
        yield states

    def _champions(self) -> Gauges:
        told = ChampionGauges()
        mine = self._storage.versions.keys(f"{self._tenant}/")
        fleets = groupby(mine, key=lambda path: path.rpartition("/")[0])
        for _, paths in fleets:
            told.add(list(paths), self._storage.versions)
        yield from told.gauges()

    def _kept(self) -> Gauges:
        backups = [one for one in self._storage.backups.list() if one.belongs_to(self._tenant)]
        yield GaugeMetricFamily("millwright_backups", "Backups kept.", len(backups))
        used = sum(backup.size_bytes for backup in backups)
        yield GaugeMetricFamily("millwright_backup_bytes", "Storage used by backups.", used)
        last = max((backup.created_at.timestamp() for backup in backups), default=0.0)
        yield GaugeMetricFamily("millwright_backup_last_timestamp_seconds", "When the newest was made.", last)
        free = shutil.disk_usage(self._storage.settings.home).free
        yield GaugeMetricFamily("millwright_storage_free_bytes", "Free space where data is kept.", free)


class ChampionGauges:
    """Gauges of the models that answer: each family as a whole, and the models of small families singly."""

    def __init__(self) -> None:
        self._count = _gauge("millwright_champions", "Models that answer.", "tenant", "family")
        self._oldest = _gauge(
            "millwright_champion_oldest_age_seconds", "Time since the oldest began to.", "tenant", "family"
        )
        self._damaged = _gauge(
            "millwright_champions_damaged", "Champions that cannot be read.", "tenant", "family"
        )
        self._version = _gauge(
            "millwright_champion_version", "The version that answers now.", "tenant", "model"
        )
        self._age = _gauge("millwright_champion_age_seconds", "Time since it began to.", "tenant", "model")
        self._score = _gauge("millwright_champion_score", "Its held-out scores.", "tenant", "model", "metric")

    def gauges(self) -> list[Metric]:
        """All of them, as they stand now."""
        return [self._count, self._oldest, self._damaged, self._version, self._age, self._score]

    def add(self, paths: list[str], versions: VersionStore) -> None:
        """Count the models of one tenant's family, and tell each where there are at most ``SINGLY``."""
        tenant, family, _ = paths[0].split("/")
        pointed, damaged = versions.read_pointers(paths)
        ages = dict(_ages((path for path, number in pointed.items() if number is not None), versions))
        numbers = {path: number for path, number in pointed.items() if path in ages and number is not None}
        self._count.add_metric([tenant, family], len(numbers))
        self._oldest.add_metric([tenant, family], max(ages.values(), default=0.0))
        unreadable = len(damaged)
        if len(paths) <= MAX_LISTED_MODELS:
            unreadable += sum(not self._told(path, numbers[path], ages[path], versions) for path in numbers)
        self._damaged.add_metric([tenant, family], unreadable)

    def _told(self, path: str, number: int, age: float, versions: VersionStore) -> bool:
        """Whether one model could be told with its scores."""
        tenant, _, model = path.partition("/")
        self._version.add_metric([tenant, model], number)
        self._age.add_metric([tenant, model], age)
        try:
            scores = versions.get(path, number).manifest.get("metrics", {}).get("metrics", {})
        except (ArtefactCorrupt, NotFound):
            return False
        for metric, value in scores.items():
            self._score.add_metric([tenant, model, metric], value)
        return True


def _ages(paths: Iterable[str], versions: VersionStore) -> Iterator[tuple[str, float]]:
    """Seconds since each of these models began to answer; a pointer that has gone meanwhile has none."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield path, time.time() - versions.pointer_file(path).stat().st_mtime


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=labels)
