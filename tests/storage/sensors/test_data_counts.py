"""What all sensors hold is told at once, and no further than somebody looks."""

from datetime import timedelta

import pytest

from storage.sensors.calibrations import SOURCE_MODEL
from storage.sensors.data_counts import DataCountQuery, SensorDataCount, count_data
from storage.sensors.readings import to_microseconds
from tests.storage.sensors.test_readings import START, block

ASKED = DataCountQuery(max_readings=4, nth_first=2, nth_last=3, nth_last_calibration=2)


def at(seconds):
    return to_microseconds(START + timedelta(seconds=seconds))


def calibrate(calibrations, sensor, seconds, source="manual", tenant="default"):
    made = {"method": "linear", "params": {}, "corrected_value": 1.0, "source": source}
    when = START + timedelta(seconds=seconds)
    calibrations.insert(tenant, [{**made, "sensor_id": sensor, "applied_at": when}])


@pytest.fixture
def three(sensors):
    return sensors.create("default", [{"name": f"P-{n}", "type": "Pressure"} for n in range(3)])


def test_every_sensor_is_told_by_count_and_times(database, readings, calibrations, sensors, three):
    many, few, none = three
    readings.ingest("default", block([many] * 6, [0, 10, 20, 30, 40, 50], range(6)))
    readings.ingest("default", block([few], [5], [1.0]))
    for seconds in (100, 300, 200):
        calibrate(calibrations, many, seconds)
    calibrate(calibrations, few, 100)
    calibrate(calibrations, few, 200, source=SOURCE_MODEL)
    sensors.create("plant-7", [{"name": "theirs", "type": "Flow"}])
    assert count_data(database, "default", ASKED) == {
        many: SensorDataCount(4, at(10), at(30), 3, at(200)),
        few: SensorDataCount(1, None, None, 1, None),
        none: SensorDataCount(),
    }


def test_a_tenant_without_sensors_holds_nothing(database):
    assert count_data(database, "default", ASKED) == {}
