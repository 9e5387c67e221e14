"""Readings go in by the hundred thousand and come out by sensor and time; their sensors follow."""

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sa

from errors import InvalidContent, NotFound
from storage.db.database import Database
from storage.sensors import readings as readings_module
from storage.sensors.baseline import Baseline, make_baseline
from storage.sensors.reading_block import ReadingBlock
from storage.sensors.readings import EPOCH, Readings, from_microseconds, to_microseconds

START = datetime(2024, 12, 5, 14, 30, tzinfo=UTC)


def block(owners, seconds, values):
    times = [to_microseconds(START) + int(s * 1e6) for s in seconds]
    return ReadingBlock(np.array(owners, np.int64), np.array(times, np.int64), np.array(values, np.float64))


@pytest.fixture
def pair(sensors):
    made = [{"name": "Inlet", "type": "Pressure", "nominal_value": 50.0}, {"name": "Outlet", "type": "Flow"}]
    return sensors.create("default", made)


def test_what_goes_in_comes_out_in_order_of_time(readings, pair):
    one, two = pair
    assert readings.ingest("default", block([one, two, one], [20, 0, 10], [1.5, 7.0, -2.25])) == 3
    stored = readings.series(one)
    assert stored.values.tolist() == [-2.25, 1.5]
    assert [from_microseconds(time) for time in stored.times.tolist()] == [
        START + timedelta(seconds=s) for s in (10, 20)
    ]


@pytest.mark.parametrize("count", [1, 249, 250, 251, 100_001])
def test_every_reading_of_a_block_arrives_once_and_unchanged(readings, pair, count):
    values = np.random.default_rng(1).normal(size=count)
    readings.ingest("plant-7", block([pair[0]] * count, np.arange(count), values))
    assert np.array_equal(readings.series(pair[0]).values, values)
    assert readings.count("plant-7") == count
    assert readings.count("default") == 0


def test_a_sensor_follows_its_latest_reading_by_time_whenever_it_arrives(readings, sensors, pair):
    readings.ingest("default", block([pair[0]] * 3, [0, 60, 30], [50.0, 55.0, 99.0]))
    readings.ingest("default", block([pair[0]], [10], [-1.0]))
    known = sensors.get("default", pair[0])
    assert (known["value"], known["drift"]) == (55.0, pytest.approx(10.0))
    assert known["last_updated"] == START + timedelta(seconds=60)


def test_a_sensor_follows_the_latest_of_readings_that_arrive_at_once(readings, sensors, pair, monkeypatch):
    is_newer = readings_module._is_newer
    newer = threading.Thread(target=readings.ingest, args=("default", block([pair[0]], [60], [55.0])))

    def meanwhile(*given):
        if newer.ident is None:
            newer.start()
            newer.join(0.5)
        return is_newer(*given)

    monkeypatch.setattr(readings_module, "_is_newer", meanwhile)
    readings.ingest("default", block([pair[0]], [30], [99.0]))
    newer.join()
    assert sensors.get("default", pair[0])["value"] == 55.0


def test_a_sensor_follows_a_reading_that_is_mended_or_taken_out(readings, sensors, pair):
    readings.ingest("default", block([pair[0]] * 3, [0, 60, 30], [50.0, 500.0, 55.0]))
    wrong = readings.page_by_time("default", pair[0])[0][-1]["id"]
    readings.update("default", wrong, {"raw_value": 52.0})
    known = sensors.get("default", pair[0])
    assert (known["value"], known["drift"]) == (52.0, pytest.approx(4.0))
    readings.delete("default", wrong)
    known = sensors.get("default", pair[0])
    assert (known["value"], known["drift"]) == (55.0, pytest.approx(10.0))
    assert known["last_updated"] == START + timedelta(seconds=30)
    assert known["silent_at"] == START + timedelta(seconds=30 + 7_200)
    for row in readings.page_by_time("default", pair[0])[0]:
        readings.delete("default", row["id"])
    known = sensors.get("default", pair[0])
    assert (known["value"], known["drift"], known["last_updated"]) == (None, None, None)


def test_without_a_nominal_value_drift_is_measured_from_the_first_readings(readings, sensors, pair):
    readings.ingest("default", block([pair[1]] * 12, range(12), [9.0, 11.0] * 5 + [10.0, 12.0]))
    assert sensors.get("default", pair[1])["drift"] == pytest.approx(20.0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_refused_block_leaves_nothing_behind(readings, sensors, pair, wrong):
    with pytest.raises(InvalidContent, match="finite"):
        readings.ingest("default", block([pair[0], pair[0]], [0, 1], [1.0, wrong]))
    assert readings.count("default") == 0
    assert sensors.get("default", pair[0])["value"] is None


def test_a_high_water_mark_hides_what_came_later(readings, pair):
    readings.ingest("default", block([pair[0]] * 2, [0, 1], [1.0, 2.0]))
    mark = readings.get_watermark()
    readings.ingest("default", block([pair[0]], [2], [3.0]))
    assert readings.series(pair[0], up_to=mark).values.tolist() == [1.0, 2.0]
    assert readings.series(pair[0], since=to_microseconds(START) + 1_000_000).values.tolist() == [2.0, 3.0]
    assert readings.before(pair[0], to_microseconds(START) + 2_000_000, 5).values.tolist() == [1.0, 2.0]


def test_pages_go_on_where_the_last_ended_and_stay_stable(readings, pair):
    readings.ingest("default", block([pair[0]] * 5, range(5), range(5)))
    first, cursor = readings.page("default", limit=3)
    readings.ingest("default", block([pair[0]], [9], [9.0]))
    second, end = readings.page("default", limit=3, after=cursor)
    assert [row["raw_value"] for row in first + second] == [0, 1, 2, 3, 4, 9]
    assert end is None
    assert readings.page("other")[0] == []


def test_one_sensors_pages_are_in_order_of_time_with_late_and_equal_times(readings, pair):
    readings.ingest("default", block([pair[0]] * 5, [5, 3, 3, 9, 1], [5, 3.0, 3.5, 9, 1]))
    readings.ingest("default", block([pair[1]], [4], [4]))
    found, cursor = [], 0
    while cursor is not None:
        page, cursor = readings.page_by_time("default", pair[0], limit=2, after=cursor)
        found += [row["raw_value"] for row in page]
    assert found == [1, 3.0, 3.5, 5, 9]
    assert readings.page_by_time("other", pair[0])[0] == []
    gone = readings.page("default")[0][0]["id"]
    readings.delete("default", gone)
    with pytest.raises(InvalidContent, match="has gone"):
        readings.page_by_time("default", pair[0], after=gone)


def test_a_page_reads_no_more_readings_than_it_shows(tmp_path):
    """A small tenant's list and one sensor's list step along an index, whatever others have sent."""
    database, said = Database(f"sqlite:///{tmp_path / 'plan.db'}", tmp_path / "run"), []
    database.migrate()

    def explained(connection, cursor, statement, parameters, context, executemany):
        if statement.startswith("SELECT readings"):
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            said.append(" ".join(row[3] for row in cursor.fetchall()))

    sa.event.listen(database.engine, "before_cursor_execute", explained)
    Readings(database).page("default", after=1)
    Readings(database).page_by_time("default", 13)
    database.close()
    assert "ix_readings_tenant_id (tenant=? AND id>?)" in said[0]
    assert "ix_readings_sensor_id_timestamp (sensor_id=?" in said[1]
    assert not any("TEMP B-TREE" in plan for plan in said)


def test_another_tenants_reading_is_not_found(readings, pair):
    readings.ingest("default", block([pair[0]], [0], [1.0]))
    row = readings.page("default")[0][0]
    for call in (readings.get, readings.delete):
        with pytest.raises(NotFound, match=f"no reading {row['id']}"):
            call("other", row["id"])
    with pytest.raises(NotFound):
        readings.get("default", 10**30)


def test_instants_are_kept_to_the_microsecond():
    late = datetime(2262, 4, 11, 23, 47, 16, 854775, tzinfo=UTC)
    assert from_microseconds(to_microseconds(late)) == late
    assert to_microseconds(EPOCH) == 0


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (20.0, None, None, Baseline(20.0, 20.0)),
        (-40.0, 0.0, 1.0, Baseline(-40.0, 40.0)),
        (0.0, -5.0, 5.0, Baseline(0.0, 10.0)),
        (0.0, None, None, Baseline(0.0, 1.0)),
    ],
)
def test_a_baseline_of_zero_counts_in_spans(value, low, high, expected):
    assert make_baseline(value, low, high) == expected


def test_the_newest_values_of_many_sensors_come_at_once_in_order_of_time(sensors, readings):
    ids = sensors.create("default", [{"name": f"S{number}", "type": "Flow"} for number in range(130)])
    times = np.arange(len(ids) * 5) * 1_000_000
    block = ReadingBlock(np.tile(ids, 5), times[::-1].copy(), np.arange(len(times)) * 1.0)
    readings.ingest("default", block)
    newest = readings.newest_values([ids[7], ids[129], *ids[:3]], 2)
    assert [values.tolist() for values in newest.values()][:2] == [[137.0, 7.0], [259.0, 129.0]]
    assert len(readings.newest_values(ids, 2)) == 130
    assert readings.newest_values([10**6], 2)[10**6].size == 0
    assert readings.newest_values([], 2) == {}


def test_the_start_of_the_newest_readings_is_found(sensors, readings):
    (sensor,) = sensors.create("default", [{"name": "S", "type": "Flow"}])
    times = np.arange(10) * 1_000_000
    readings.ingest("default", ReadingBlock(np.full(10, sensor), times, times * 1.0))
    assert readings.find_start(sensor, 3) == 7_000_000
    assert readings.find_start(sensor, 11) is None
