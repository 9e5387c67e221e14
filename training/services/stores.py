"""Stores of records and of what sensors and devices sent, opened for services, routes and commands."""

from __future__ import annotations

from dataclasses import dataclass

from prediction import registry
from prediction.contract import RecordStore
from storage.container import Storage
from storage.db.database import Database
from storage.devices.asset_anomalies import AssetAnomalies
from storage.devices.failures import Failures
from storage.devices.predictions import PredictionStore
from storage.devices.telemetry import Telemetry
from storage.sensors.anomalies import Anomalies
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors
from storage.sensors.waiting_readings import WaitingReadings


@dataclass(frozen=True)
class SensorStores:
    """Sensors, their readings, and what was found in them."""

    database: Database
    sensors: Sensors
    readings: Readings
    anomalies: Anomalies
    calibrations: Calibrations
    waiting: WaitingReadings


@dataclass(frozen=True)
class DeviceStores:
    """Telemetry and failures of devices, and what was predicted about them."""

    database: Database
    telemetry: Telemetry
    failures: Failures
    predictions: PredictionStore
    anomalies: AssetAnomalies


def open_sensor_stores(database: Database) -> SensorStores:
    """Return the sensors' stores in a database."""
    return SensorStores(
        database,
        Sensors(database),
        Readings(database),
        Anomalies(database),
        Calibrations(database),
        WaitingReadings(database),
    )


def open_device_stores(database: Database, alarm_hours: float = 0.0) -> DeviceStores:
    """Return the devices' stores in a database.

    Parameters
    ----------
    alarm_hours : float
        Time left below which a device raises an alarm; 0 for no alarms.
    """
    predictions = PredictionStore(database, alarm_hours)
    return DeviceStores(
        database, Telemetry(database), Failures(database), predictions, AssetAnomalies(database)
    )


def open_records(storage: Storage, family: str) -> RecordStore:
    """Open the records of a family, after finishing a commit that a dead process or a full disk left behind.

    Raises
    ------
    NotReady, StorageFailed, DiskFull, ArtefactCorrupt
        It cannot be finished now, so that the data files may be half written.
    """
    storage.journal.finish_pending()
    return registry.open_record_store(family, storage.settings.data_dir, storage.database)
