"""Copies of a device, and channels that know the failure, stop a training and are named."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from errors import InvalidContent
from prediction.options import load_options
from prediction.rul.data.collect import DeviceHistory
from prediction.rul.options import RulOptions
from prediction.rul.prepare import PreparedFleet, prepare_devices
from storage.devices.telemetry import DeviceTelemetry
from tests.prediction.rul.conftest import HOUR, SMALL, START

# Values of a further channel, of the hours of a device since its start and before its failure.
Channel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def devices(channels: Mapping[str, Channel], count: int = 8) -> list[DeviceHistory]:
    """Return devices with two sensors that show wear, and further channels."""
    chance, fleet = np.random.default_rng(0), []
    for number in range(count):
        life = int(chance.integers(80, 140))
        age, left = np.arange(life), np.arange(life)[::-1]
        wear = np.clip(1 - left / 60, 0, None)[:, None] + chance.normal(0, 0.2, (life, 2))
        values = np.column_stack([wear, *(make(age, left) for make in channels.values())])
        times = START + HOUR * (age + 1_000 * number)
        names = ("heat", "noise", *channels)
        telemetry = DeviceTelemetry(f"P-{number}", np.arange(life), times, names, values)
        fleet.append(DeviceHistory(telemetry, [(int(times[-1]), True)]))
    return fleet


def rename(history: DeviceHistory, rows: slice, error: float) -> DeviceHistory:
    """Return the same device under another name, with some of its rows and small errors."""
    known = history.telemetry
    values = known.values[rows] + np.random.default_rng(1).normal(0, error, known.values[rows].shape)
    copy = DeviceTelemetry("COPY", known.ids[rows], known.times[rows], known.channels, values)
    return DeviceHistory(copy, history.ends)


def prepare(fleet: list[DeviceHistory], **options: object) -> PreparedFleet:
    return prepare_devices(fleet, load_options(RulOptions, {**SMALL, **options}))


@pytest.mark.parametrize("error", [0.0, 0.01])
@pytest.mark.parametrize("rows", [slice(None), slice(30, None)], ids=["whole", "later"])
def test_a_device_under_two_names_stops_the_training(rows, error):
    fleet = devices({"housing": lambda age, left: np.full(len(age), 7.0)})
    with pytest.raises(InvalidContent, match=r"COPY and P-3 have the same telemetry, .*device_id=P-3\)"):
        prepare([rename(fleet[3], rows, error), *fleet])


def test_devices_that_work_and_wear_alike_are_no_copies():
    fleet = devices(
        {
            "load": lambda age, left: np.sin(age / 4),
            "switch": lambda age, left: (age % 24 < 8).astype(float),
        }
    )
    assert prepare(fleet).preprocessor.channels == ["heat", "noise", "load", "switch"]


COUNTERS: Mapping[str, Channel] = {
    "down": lambda age, left: 3 + 2.0 * left + np.sin(age),
    "up": lambda age, left: 90 - 0.5 * left,
    "share": lambda age, left: age / age[-1],
    "capped": lambda age, left: np.minimum(left, 70.0),
}


@pytest.mark.parametrize("name", COUNTERS)
def test_a_channel_that_counts_to_the_failure_stops_the_training(name):
    fleet = devices({name: COUNTERS[name]})
    with pytest.raises(
        InvalidContent, match=rf"^'{name}' counts to the failure .*\(8 devices, R² (0\.99|1\.0)"
    ):
        prepare(fleet)
    assert prepare(fleet, exclude_channels=[name]).preprocessor.channels == ["heat", "noise"]
    assert prepare(fleet, trusted_channels=[name]).preprocessor.channels == ["heat", "noise", name]


def test_a_clock_and_a_meter_are_no_countdowns():
    fleet = devices(
        {"hours": lambda age, left: age + 5.0, "energy": lambda age, left: 0.3 * age + np.sin(age / 9)}
    )
    assert "hours" in prepare(fleet).preprocessor.channels
