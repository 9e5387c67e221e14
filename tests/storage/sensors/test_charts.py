"""Charts get a few thousand points, thinned by the database, in which no extreme is lost."""

import numpy as np
import pytest

from storage.sensors.charts import MAX_CHART_COLUMNS, read_chart
from storage.sensors.reading_block import ReadingBlock

START = 1_700_000_000_000_000
MINUTE = 60_000_000


@pytest.fixture
def two(sensors):
    """Return two sensors, so that the readings of one may not show in the other's chart."""
    return sensors.create("default", [{"name": name, "type": "Pressure"} for name in ("Inlet", "Outlet")])


def ingest(readings, sensor_id, times, values):
    block = ReadingBlock(np.full(len(times), sensor_id), np.asarray(times), np.asarray(values, float))
    readings.ingest("default", block)


def test_a_chart_of_many_readings_keeps_every_extreme_and_counts_all(database, readings, two):
    times = START + np.arange(50_000) * MINUTE
    values = np.random.default_rng(1).normal(10, 1, len(times))
    values[12_345], values[40_000] = 99.0, -99.0
    ingest(readings, two[0], times, values)
    ingest(readings, two[1], times[:10], np.full(10, 1e6))
    chart = read_chart(database, two[0])
    assert len(chart) <= MAX_CHART_COLUMNS
    assert chart.count.sum() == 50_000
    assert (chart.first[0], chart.last[-1]) == (times[0], times[-1])
    assert (chart.first[1:] > chart.last[:-1]).all()
    spike, dip = (np.searchsorted(chart.last, times[row]) for row in (12_345, 40_000))
    assert (chart.high[spike], chart.low[dip]) == (99.0, -99.0)
    # The same columns as NumPy makes of all readings.
    bounds = np.searchsorted(times, chart.first)
    np.testing.assert_array_equal(chart.low, np.minimum.reduceat(values, bounds))
    np.testing.assert_array_equal(chart.high, np.maximum.reduceat(values, bounds))


def test_a_chart_of_few_readings_shows_each_of_them(database, readings, two):
    ingest(readings, two[0], START + np.arange(300) * MINUTE, np.arange(300))
    chart = read_chart(database, two[0])
    assert chart.low.tolist() == chart.high.tolist() == list(range(300))
    assert (chart.first == chart.last).all()


def test_a_chart_of_a_period_zooms_in_and_leaves_gaps_out(database, readings, two):
    times = START + np.array([0, 1, 2, 500, 501, 9_000]) * MINUTE
    ingest(readings, two[0], times, [1, 2, 3, 4, 5, 6])
    chart = read_chart(database, two[0], columns=10, since=int(times[1]), until=int(times[4]))
    assert (chart.low.tolist(), chart.high.tolist()) == ([2, 4], [3, 5])
    assert not len(read_chart(database, two[0], since=int(times[5]) + 1))
    assert not len(read_chart(database, two[1]))


def test_readings_of_one_moment_are_one_column(database, readings, two):
    ingest(readings, two[0], [START, START], [1, 2])
    chart = read_chart(database, two[0])
    assert (chart.low.tolist(), chart.high.tolist(), chart.count.tolist()) == ([1], [2], [2])


@pytest.mark.parametrize("columns", [0, MAX_CHART_COLUMNS + 1])
def test_a_chart_refuses_a_width_beyond_the_limit(database, columns):
    with pytest.raises(ValueError, match="1 to 1000 columns"):
        read_chart(database, 1, columns)
