"""/metrics for Prometheus: what workers count, beside gauges of the present state."""

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
from api.operations.gauges import TenantGauges

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
    "millwright_predictions",
    "Inputs answered with a prediction.",
    ["tenant", "family"],  # not the model: a fleet of sensors has thousands
    registry=COUNTED,
)


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
    """Counters of all workers and gauges of the present state, in Prometheus' text format.

    ---
    Of sessions, models, predictions and backups it tells those of the key's tenant.
    """
    tenant, registry = identity().tenant, CollectorRegistry()
    registry.register(_Own(_counted(), tenant))
    registry.register(TenantGauges(manager().storage, tenant))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Own(Collector):
    """What was counted, without the samples that are labelled with another tenant."""

    def __init__(self, counted: CollectorRegistry, tenant: str) -> None:
        self._counted = counted
        self._tenant = tenant

    def collect(self) -> Iterator[Metric]:
        for metric in self._counted.collect():
            metric.samples = [
                sample
                for sample in metric.samples
                if sample.labels.get("tenant", self._tenant) == self._tenant
            ]
            yield metric


def _counted() -> CollectorRegistry:
    """Return the counters of this process, or of all workers where they share a folder."""
    if values.ValueClass.__name__ != "MmapedValue":
        return COUNTED
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
