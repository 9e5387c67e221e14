"""The list of resources: a new one is a module and a line here."""

from __future__ import annotations

from flask import Flask

from api.datasets import datasets
from api.devices.failures import resource as failures
from api.devices.health import resource as device_health
from api.devices.telemetry import resource as telemetry
from api.models.models import models
from api.models.predict import predictions
from api.operations.health import health
from api.operations.metrics import metrics
from api.operations.monitoring import monitoring
from api.pages.docs import describe, docs
from api.pages.forecasting import forecasting_page
from api.sensors.anomalies import resource as anomalies
from api.sensors.calibrations import resource as calibrations
from api.sensors.detection import resource as sensor_models
from api.sensors.model_training import resource as sensor_training
from api.sensors.readings import resource as readings
from api.sensors.sensors import resource as sensors
from api.training.backups import backups
from api.training.quarantine import quarantine
from api.training.session_reports import session_reports
from api.training.sessions import sessions
from api.training.statistics import statistics
from api.training.train import training

RESOURCES = (
    *(predictions, training, statistics, sessions, quarantine, session_reports, backups, models),
    *(datasets, sensors, readings, calibrations, anomalies, sensor_models, sensor_training),
    *(telemetry, failures, device_health, monitoring),
    *(forecasting_page, health, metrics, docs),
)


def register(app: Flask) -> None:
    """Put every resource into the application and its description.

    A path is answered with and without a slash at its end; the description has the declared one.
    """
    app.url_map.strict_slashes = False
    api = describe(app)
    for resource in RESOURCES:
        api.register_blueprint(resource)
