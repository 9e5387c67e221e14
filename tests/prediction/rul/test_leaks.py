"""Copies of a device, and channels that know the failure, stop a training and are named."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from errors import InvalidContent
from prediction.options import load_options
from prediction.rul.data.collect import DeviceHistory
from prediction.rul.data.label import DataLabeler, LabelledDevice
from prediction.rul.data.leaks import MAX_TWIN_PAIRS, find_twins, refuse_leaks
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
    with pytest.raises(InvalidContent, match=r"'COPY' and 'P-3' have the same telemetry, .*device_id=P-3\)"):
        prepare([rename(fleet[3], rows, error), *fleet])


def test_the_mildest_remedy_comes_first_and_ids_are_quoted():
    fleet = devices({})
    copies = [replace(fleet[3], telemetry=replace(fleet[3].telemetry, device_id="A b&c")), *fleet]
    with pytest.raises(InvalidContent) as refusal:
        prepare(copies)
    message = str(refusal.value)
    assert message.startswith("'A b&c' and 'P-3' have") and "more" not in message
    assert message.index("trusted_channels") < message.index("device_ids") < message.index("DELETE")
    assert "'P-3' out of device_ids" in message
    reverse = [*fleet, replace(copies[0], telemetry=replace(copies[0].telemetry, device_id="ä&b"))]
    with pytest.raises(InvalidContent, match=r"'ä&b' out of .*device_id=%C3%A4%26b\)"):
        prepare(reverse)


def test_devices_that_share_their_programme_are_no_copies():
    programme = np.random.default_rng(3).normal(size=(20, 200))
    settings = {f"setting_{n}": lambda age, left, n=n: programme[n][age] for n in range(10)}
    weather = {f"air_{n}": lambda age, left, n=n: programme[n][age] for n in range(10, 20)}
    assert prepare(devices(settings)).preprocessor.settings == list(settings)
    fleet = devices({**settings, **weather})
    with pytest.raises(
        InvalidContent, match=r"have the same telemetry.*If they are two devices.* trusted_channels"
    ):
        prepare(fleet)
    assert prepare(fleet, trusted_channels=list(weather))


def test_an_unknown_channel_is_refused():
    fleet = devices({})
    with pytest.raises(
        InvalidContent, match=r"exclude_channels names 'heet', which no device has; .* heat, noise"
    ):
        prepare(fleet, exclude_channels=["noise", "heet"])
    with pytest.raises(InvalidContent, match="trusted_channels names 'heet'"):
        prepare(fleet, trusted_channels=["heet"])


@pytest.mark.parametrize("name", ["trusted_channels", "setting_channels"])
def test_a_channel_that_is_used_cannot_be_excluded(name):
    with pytest.raises(InvalidContent, match=rf"{name}: 'heat' cannot be in exclude_channels, too"):
        load_options(RulOptions, {"exclude_channels": ["heat"], name: ["noise", "heat"]})


def test_each_countdown_has_its_own_figures():
    fleet = devices({"up": COUNTERS["up"], "down": lambda age, left: 3 + 2.0 * left + 4 * np.sin(9 * age)})
    with pytest.raises(
        InvalidContent, match=r"^'down' \(8 devices, R² 0\.99\d\), 'up' \(8 devices, R² 1\.000\) run"
    ):
        prepare(fleet)


def test_many_copies_among_thousands_of_devices_are_found_up_to_a_limit():
    chance = np.random.default_rng(5)
    labeler = DataLabeler()
    labelled: list[LabelledDevice] = []
    for number in range(3_000):
        values = chance.normal(size=(40, 6))
        if number % 100 == 1:
            values = labelled[-1].telemetry.values + chance.normal(0, 0.02, (40, 6))
        times = START + HOUR * np.arange(40)
        telemetry = DeviceTelemetry(f"P-{number:04}", np.arange(40), times, tuple("abcdef"), values)
        labelled.append(LabelledDevice(telemetry, labeler.label(times, [(int(times[-1]), True)])))
    began = time.monotonic()
    assert find_twins(labelled[:1_000], tuple("abcdef")) == [
        (f"P-{n:04}", f"P-{n + 1:04}") for n in range(0, 1_000, 100)
    ]
    assert len(find_twins(labelled, tuple("abcdef"))) == MAX_TWIN_PAIRS
    with pytest.raises(InvalidContent, match="at least 19 more pairs"):
        refuse_leaks(labelled, 100.0, (), ())
    assert time.monotonic() - began < 30


def test_devices_that_only_begin_alike_are_no_copies():
    chance, labeler = np.random.default_rng(6), DataLabeler()
    labelled: list[LabelledDevice] = []
    begin = chance.normal(size=(60, 3))
    for number in range(300):
        values = np.concatenate([begin, chance.normal(size=(60, 3))])
        times = START + HOUR * np.arange(120)
        telemetry = DeviceTelemetry(f"P-{number:03}", np.arange(120), times, tuple("abc"), values)
        labelled.append(LabelledDevice(telemetry, labeler.label(times, [(int(times[-1]), True)])))
    assert not find_twins(labelled, tuple("abc"))


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
        InvalidContent, match=rf"^'{name}' \(8 devices, R² (0\.99|1\.0)\d+\) runs in a straight"
    ):
        prepare(fleet)
    assert prepare(fleet, exclude_channels=[name]).preprocessor.channels == ["heat", "noise"]
    assert prepare(fleet, trusted_channels=[name]).preprocessor.channels == ["heat", "noise", name]


def test_a_clock_and_a_meter_are_no_countdowns():
    fleet = devices(
        {"hours": lambda age, left: age + 5.0, "energy": lambda age, left: 0.3 * age + np.sin(age / 9)}
    )
    assert "hours" in prepare(fleet).preprocessor.channels
