"""/metrics for Prometheus: the counters of all workers, and gauges of the present state."""

from __future__ import annotations

import time
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
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.http.context import identity, manager
from api.http.resource import Resource
from api.operations.tenant_gauges import TenantGauges

metrics = Resource("metrics", "Figures for Prometheus.")
COUNTERS = CollectorRegistry()
REQUESTS = Counter(
    "millwright_http_requests", "Requests answered.", ["method", "route", "status"], registry=COUNTERS
)
SECONDS = Histogram(
    "millwright_http_request_seconds",
    "Time to a response.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60),
    registry=COUNTERS,
)
# Labelled by family and not by model: there can be thousands of sensors.
PREDICTIONS = Counter(
    "millwright_predictions",
    "Inputs answered with a prediction.",
    ["tenant", "family"],
    registry=COUNTERS,
)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


def install(app: Flask) -> None:
    """Count every request of this application."""
    app.before_request(_start_clock)
    app.after_request(_count_request)


def elapsed_seconds() -> float:
    """Return how long this request has taken so far."""
    now = time.perf_counter()
    return now - float(g.get("started_at", now))


def _start_clock() -> None:
    g.started_at = time.perf_counter()


def _count_request(response: Response) -> Response:
    # Labels are from closed sets: a client that invents paths and methods must not invent time series.
    route = request.url_rule.rule if request.url_rule else "unknown"
    method = request.method if request.method in _METHODS else "other"
    REQUESTS.labels(method, route, response.status_code).inc()
    SECONDS.labels(method, route).observe(elapsed_seconds())
    return response


@metrics.operation("/metrics", {200: {"text/plain": {"type": "string"}}})
def get_metrics() -> Response:
    """Return counters of all workers and gauges of the present state, in Prometheus' text format.

    ---
    Sessions, models, predictions and backups are those of the key's tenant.
    """
    tenant, registry = identity().tenant, CollectorRegistry()
    registry.register(_TenantCounters(_shared_counters(), tenant))
    registry.register(TenantGauges(manager(), tenant))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _TenantCounters(Collector):
    """The counters without the samples that are labelled with another tenant."""

    def __init__(self, counters: CollectorRegistry, tenant: str) -> None:
        self._counters = counters
        self._tenant = tenant

    def collect(self) -> Iterator[Metric]:
        """Yield the counters; a scrape calls this."""
        for metric in self._counters.collect():
            metric.samples = [
                s for s in metric.samples if s.labels.get("tenant", self._tenant) == self._tenant
            ]
            yield metric


def _shared_counters() -> CollectorRegistry:
    """Return the counters of all workers where they share a folder, else those of this process."""
    if values.ValueClass.__name__ != "MmapedValue":
        return COUNTERS
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
