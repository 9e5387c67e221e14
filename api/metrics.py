"""/metrics for Prometheus: what workers count, and the state of the house, looked up when somebody asks."""

from __future__ import annotations

import shutil
import time
from collections import Counter as Counting
from collections.abc import Iterator

from flask import Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from api.context import manager
from api.resource import Resource
from errors import ArtefactCorrupt, NotFound
from storage.open import Storage

metrics = Resource("metrics", "Figures for Prometheus.")
COUNTED = CollectorRegistry()
REQUESTS = Counter(
    "millwright_http_requests", "Requests answered.", ["method", "route", "status"], registry=COUNTED
)
SECONDS = Histogram(
    "millwright_http_request_seconds",
    "Time to an answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
    registry=COUNTED,
)
PREDICTIONS = Counter(
    "millwright_predictions", "Inputs answered with a prediction.", ["model"], registry=COUNTED
)
Gauges = Iterator[Metric]


def install(app: Flask) -> None:
    """Count every request of this application."""
    app.before_request(_start_clock)
    app.after_request(_count)


def _start_clock() -> None:
    g.began = time.perf_counter()


def _count(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "unknown"
    method = request.method if request.method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS") else "other"
    REQUESTS.labels(method, route, response.status_code).inc()
    SECONDS.labels(method, route).observe(time.perf_counter() - g.get("began", time.perf_counter()))
    return response


@metrics.serves("/metrics", {200: {"text/plain": {"type": "string"}}})
def get_metrics() -> Response:
    """Counters of all workers and gauges of the present state, in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(Present(manager().storage))
    return Response(generate_latest(_counted()) + generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _counted() -> CollectorRegistry:
    """This process's counters, or those of all workers where they share a folder."""
    if values.ValueClass.__name__ != "MmapedValue":
        return COUNTED
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


class Present:
    """Gauges of the present state."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def collect(self) -> Gauges:
        """What a scrape gets."""
        yield from self._sessions()
        yield from self._champions()
        yield from self._kept()

    def _sessions(self) -> Gauges:
        states = _gauge("millwright_sessions", "Training sessions by state.", "tenant", "model", "state")
        for (tenant, family, name, state), count in self._storage.sessions.tallies().items():
            states.add_metric([tenant, f"{family}/{name}", state], count)
        yield states

    def _champions(self) -> Gauges:
        version = _gauge("millwright_champion_version", "The version that answers now.", "tenant", "model")
        age = _gauge("millwright_champion_age_seconds", "Time since it began to.", "tenant", "model")
        quality = _gauge("millwright_champion_score", "Its held-out scores.", "tenant", "model", "metric")
        versions = self._storage.versions
        numbers, damaged = versions.readable_pointers(versions.keys())
        for path, number in numbers.items():
            if number is None:
                continue
            tenant, _, model = path.partition("/")
            version.add_metric([tenant, model], number)
            pointed = versions.pointer_file(path).stat().st_mtime
            age.add_metric([tenant, model], time.time() - pointed)
            try:
                scores = versions.get(path, number).manifest.get("metrics", {}).get("metrics", {})
            except (ArtefactCorrupt, NotFound):
                damaged.append(path)
                continue
            for metric, value in scores.items():
                quality.add_metric([tenant, model, metric], value)
        yield from (version, age, quality, _damaged(damaged))

    def _kept(self) -> Gauges:
        backups = self._storage.backups.list()
        yield GaugeMetricFamily("millwright_backups", "Backups kept.", len(backups))
        used = sum(backup.size_bytes for backup in backups)
        yield GaugeMetricFamily("millwright_backup_bytes", "Storage used by backups.", used)
        last = max((backup.created.timestamp() for backup in backups), default=0.0)
        yield GaugeMetricFamily("millwright_backup_last_timestamp_seconds", "When the newest was made.", last)
        free = shutil.disk_usage(self._storage.settings.home).free
        yield GaugeMetricFamily("millwright_storage_free_bytes", "Free space where data is kept.", free)


def _damaged(paths: list[str]) -> Metric:
    damaged = _gauge("millwright_champions_damaged", "Champions that cannot be read.", "tenant")
    for tenant, count in Counting(path.partition("/")[0] for path in paths).items():
        damaged.add_metric([tenant], count)
    return damaged


def _gauge(name: str, help_text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_text, labels=labels)
