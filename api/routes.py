"""The list of resources: a new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask

from api.alarms.alarms import resource as alarms
from api.alarms.deliveries import resource as alarm_deliveries
from api.alarms.routes import resource as alarm_routes
from api.datasets import datasets
from api.devices.asset_anomalies import resource as asset_anomalies
from api.devices.failures import resource as failures
from api.devices.health import resource as device_health
from api.devices.telemetry import resource as telemetry
from api.http.resource import Resource
from api.models.kept_predictions import kept_predictions
from api.models.models import models
from api.models.predict import predictions
from api.models.severe_cases import severe_cases
from api.operations.health import health
from api.operations.metrics import metrics
from api.operations.monitoring import monitoring
from api.pages.docs import describe, docs
from api.sensors.anomalies import resource as anomalies
from api.sensors.calibrations import resource as calibrations
from api.sensors.detection import resource as sensor_models
from api.sensors.line_protocol import resource as line_protocol
from api.sensors.model_training import resource as sensor_training
from api.sensors.readings import resource as readings
from api.sensors.sensors import resource as sensors
from api.sensors.unknown_tags import resource as unknown_tags
from api.training.backups import backups
from api.training.quarantine import quarantine
from api.training.session_reports import session_reports
from api.training.sessions import sessions
from api.training.statistics import statistics
from api.training.train import training

RESOURCES = (
    *(
        predictions,
        kept_predictions,
        training,
        statistics,
        sessions,
        quarantine,
        session_reports,
        backups,
        models,
        severe_cases,
    ),
    *(datasets, sensors, unknown_tags, readings, line_protocol, calibrations, anomalies),
    *(sensor_models, sensor_training),
    *(telemetry, failures, device_health, asset_anomalies, monitoring),
    *(alarms, alarm_routes, alarm_deliveries),
    *(health, metrics, docs),
)


def register(app: Flask, pages: Iterable[Resource] = ()) -> None:
    """Put every resource into the application and its description.

    A path is answered with and without a slash at its end; the description has the declared one.
    """
    app.url_map.strict_slashes = False
    api = describe(app)
    for resource in (*RESOURCES, *pages):
        api.register_blueprint(resource)
