"""Telemetry goes in by the hundred thousand and comes out device by device; failures beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from storage.devices.device_patterns import matches_device
from storage.devices.failures import FailureEvent, Failures
from storage.devices.tables import failure_events, sensor_data
from storage.devices.telemetry import Telemetry, TelemetryRows, merge_channels
from storage.sensors.readings import to_microseconds

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = 3_600_000_000


def samples(device: str, count: int, **channels: float) -> TelemetryRows:
    times = [to_microseconds(START) + HOUR * hour for hour in range(count)]
    rows = [{name: value + hour for name, value in channels.items()} for hour in range(count)]
    return TelemetryRows([device] * count, times, rows)


@pytest.mark.parametrize("count", [1, 249, 250, 251, 1_001])
def test_every_row_arrives_once_and_unchanged(database, count):
    telemetry = Telemetry(database)
    assert telemetry.ingest("plant", samples("P-1", count, current_mean=0.1, oil=1e-9)) == count
    (stored,) = telemetry.stream("plant")
    assert stored.channels == ("current_mean", "oil")
    np.testing.assert_array_equal(stored.values[:, 0], 0.1 + np.arange(count))
    np.testing.assert_array_equal(stored.values[:, 1], 1e-9 + np.arange(count))
    assert telemetry.count("plant") == count


def test_devices_come_one_by_one_in_order_of_time_with_their_own_channels(database):
    telemetry = Telemetry(database)
    one = samples("P-2", 3, current_mean=1.0)
    telemetry.ingest("plant", TelemetryRows(one.devices, one.times[::-1], one.channels[::-1]))
    telemetry.ingest("plant", samples("P-1", 2, oil=5.0))
    telemetry.ingest("other", samples("P-1", 9, oil=7.0))
    first, second = telemetry.stream("plant")
    assert (first.device_id, first.channels, len(first)) == ("P-1", ("oil",), 2)
    assert second.values[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert telemetry.devices("plant") == ["P-1", "P-2"]
    assert telemetry.devices("nobody") == []


def test_known_times_are_those_of_stored_rows_among_the_given_ones(database):
    telemetry = Telemetry(database)
    telemetry.ingest("plant", samples("P-1", 1_200, oil=0.0))
    telemetry.ingest("other", samples("P-2", 3, oil=0.0))
    first = to_microseconds(START)
    given = np.array([first - HOUR, *(first + HOUR * hour for hour in range(0, 1_200, 2))])
    assert sorted(telemetry.find_known_times("plant", "P-1", given)) == given[1:].tolist()
    # The rows between two given times are not read, however many there are.
    ends = given[[0, -1]]
    assert telemetry.find_known_times("plant", "P-1", ends).tolist() == [int(ends[1])]
    assert len(telemetry.find_known_times("plant", "P-2", given)) == 0


def test_a_stream_is_narrowed_to_devices_time_and_a_mark(database):
    telemetry = Telemetry(database)
    telemetry.ingest("plant", samples("P-1", 10, oil=0.0))
    mark = telemetry.get_watermark()
    telemetry.ingest("plant", samples("P-2", 10, oil=0.0))
    first = to_microseconds(START)
    (narrow,) = telemetry.stream("plant", ["P-1"], start=first + 2 * HOUR, end=first + 4 * HOUR)
    assert narrow.values[:, 0].tolist() == [2.0, 3.0, 4.0]
    assert [found.device_id for found in telemetry.stream("plant", up_to=mark)] == ["P-1"]
    assert telemetry.latest("plant", "P-2", 2).values[:, 0].tolist() == [8.0, 9.0]
    assert telemetry.span("plant", "P-2") == (first, first + 9 * HOUR)
    assert telemetry.span("plant", "P-9") is None
    assert len(telemetry.latest("plant", "P-9", 5)) == 0


def test_channels_that_a_row_lacks_are_missing_there(database):
    telemetry = Telemetry(database)
    times = [to_microseconds(START), to_microseconds(START) + HOUR]
    telemetry.ingest("plant", TelemetryRows(["P"] * 2, times, [{"oil": 1.0}, {"temperature_mean": 2.0}]))
    (stored,) = telemetry.stream("plant")
    assert stored.channels == ("temperature_mean", "oil")
    np.testing.assert_array_equal(stored.values, [[np.nan, 1.0], [2.0, np.nan]])
    rows, _ = telemetry.page("plant")
    assert [merge_channels(row) for row in rows] == [{"oil": 1.0}, {"temperature_mean": 2.0}]


def test_rows_are_removed_for_one_tenant_only(database):
    telemetry = Telemetry(database)
    for tenant in ("plant", "other"):
        telemetry.ingest(tenant, samples("P-1", 4, oil=1.0))
    late = sensor_data.c.timestamp >= to_microseconds(START) + 2 * HOUR
    assert telemetry.remove("plant", [late]) == 2
    assert [telemetry.count(tenant) for tenant in ("plant", "other")] == [2, 4]


def test_a_row_without_a_device_is_refused_whole(database):
    telemetry = Telemetry(database)
    wrong = TelemetryRows(["P-1", None], [1, 2], [{"oil": 1.0}, {"oil": 2.0}])
    with pytest.raises(Exception, match=r"(?i)null"):
        telemetry.ingest("plant", wrong)
    assert telemetry.count("plant") == 0


def test_failures_are_kept_with_what_failed(database):
    failures = Failures(database)
    end = START + timedelta(hours=5, microseconds=7)
    events: list[FailureEvent] = [
        {"device_id": "P-1", "event_time": end, "event_type": "failure", "component_failed": "bearing"},
        {"device_id": "P-1", "event_time": START, "event_type": "maintenance"},
        {"device_id": "P-2", "event_time": START, "event_type": "seized", "operating_hours_at_failure": 8.5},
    ]
    assert failures.ingest("plant", events) == 3
    first, last = to_microseconds(START), to_microseconds(end)
    assert failures.run_ends("plant") == {"P-1": [(first, False), (last, True)], "P-2": [(first, True)]}
    assert failures.run_ends("plant", ["P-2"]).keys() == {"P-2"}
    assert failures.run_ends("other") == {}
    (row,) = failures.page("plant", [failure_events.c.component_failed == "bearing"])[0]
    assert (row["event_time"], row["tenant_id"]) == (end, "plant")
    assert failures.remove("plant", [failure_events.c.device_id == "P-1"]) == 2


def test_an_event_told_twice_counts_once(database):
    failures = Failures(database)
    event: FailureEvent = {"device_id": "P-1", "event_time": START, "event_type": "failure"}
    failures.ingest("plant", [event, {**event, "event_type": "maintenance"}, event])
    mark = failures.get_watermark()
    assert failures.run_ends("plant") == {"P-1": [(to_microseconds(START), True)]}
    later: FailureEvent = {**event, "event_time": START + timedelta(hours=1)}
    failures.ingest("plant", [event, later, later, {**event, "device_id": "P-2"}])
    assert failures.count_after("plant", mark) == 2, "the whole list was sent again"
    assert failures.count_after("plant", mark, ["P-2"]) == 1


def test_devices_are_named_by_their_beginnings_too(database):
    telemetry, failures = Telemetry(database), Failures(database)
    names = ("FD1-001", "FD1-002", "fd1-003", "FD10-1", "F%1-1", "Öl-1", "Öl-2")
    for name in names:
        telemetry.ingest("plant", samples(name, 2, oil=0.0))
        failures.ingest("plant", [{"device_id": name, "event_time": START, "event_type": "failure"}])
    for asked, found in (
        (["FD1-*"], {"FD1-001", "FD1-002"}),
        (["F%*", "FD10-1"], {"F%1-1", "FD10-1"}),
        (["Öl*"], {"Öl-1", "Öl-2"}),
        (["*"], set(names)),
        (["FD1-"], set()),
        (None, set(names)),
    ):
        assert {one.device_id for one in telemetry.stream("plant", asked)} == found
        assert failures.run_ends("plant", asked).keys() == found
        assert failures.count_after("plant", 0, asked) == len(found)
        assert {name for name in names if matches_device(name, asked)} == found
    for name in ("FD1-*", "*"):
        assert telemetry.span("plant", name) is None, "one device is asked for by its whole name"
        assert len(telemetry.latest("plant", name, 5)) == 0
        assert telemetry.first_after("plant", name, 0) == 0
