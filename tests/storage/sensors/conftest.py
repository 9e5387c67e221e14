"""The tables of sensors, on a database of each kind."""

import pytest

from storage.sensors.anomalies import Anomalies
from storage.sensors.calibrations import Calibrations
from storage.sensors.readings import Readings
from storage.sensors.sensors import Sensors


@pytest.fixture
def sensors(database):
    return Sensors(database)


@pytest.fixture
def readings(database):
    return Readings(database)


@pytest.fixture
def calibrations(database):
    return Calibrations(database)


@pytest.fixture
def anomalies(database):
    return Anomalies(database)
