"""Stores of what sensors and devices sent, grouped for routes and commands."""

from __future__ import annotations

from dataclasses import dataclass

from storage.db.database import Database
from storage.devices.failures import Failures
from storage.devices.predictions import Predictions
from storage.devices.telemetry import Telemetry
from storage.sensors.anomalies import Anomalies
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors


@dataclass(frozen=True)
class SensorStores:
    """Sensors, their readings, and what was found in them."""

    database: Database
    sensors: Sensors
    readings: Readings
    anomalies: Anomalies
    calibrations: Calibrations


@dataclass(frozen=True)
class DeviceStores:
    """Telemetry and failures of devices, and what was predicted about them."""

    database: Database
    telemetry: Telemetry
    failures: Failures
    predictions: Predictions


def open_sensor_stores(database: Database) -> SensorStores:
    """Return the sensors' stores in a database."""
    return SensorStores(
        database, Sensors(database), Readings(database), Anomalies(database), Calibrations(database)
    )


def open_device_stores(database: Database) -> DeviceStores:
    """Return the devices' stores in a database."""
    return DeviceStores(database, Telemetry(database), Failures(database), Predictions(database))
