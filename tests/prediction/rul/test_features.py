"""Features: equal to the slow way, for every window and hour; kept, and computed for what is new only."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal, stats

from prediction.rul.features.feature_store import FeatureStore, FeatureVersion
from prediction.rul.features.window_features import FEATURES, hourly_features, window_ends, window_features
from storage.devices.telemetry import DeviceTelemetry

HOUR = 3_600_000_000
RATE = 10.0


def recorded(rows: int, seed: int = 0) -> DeviceTelemetry:
    chance = np.random.default_rng(seed)
    times = np.arange(rows) * HOUR // 20
    return DeviceTelemetry(
        "P-1", np.arange(rows), times, ("a", "b"), chance.normal(5, 2, (rows, 2)).cumsum(axis=0)
    )


def slowly(block: np.ndarray) -> list[float]:
    """One window of one channel, with the libraries' own functions."""
    frequencies, power = signal.welch(block - block.mean(), fs=RATE, nperseg=min(len(block), 256))
    return [
        block.mean(),
        block.std(),
        block.min(),
        block.max(),
        np.median(block),
        np.ptp(block),
        stats.skew(block),
        stats.kurtosis(block),
        (block[-1] - block[0]) / (len(block) - 1) * RATE,
        frequencies[power[1:].argmax() + 1],
        power.sum(),
    ]


@pytest.mark.parametrize("window", [8, 50, 300])
def test_every_window_has_the_features_of_the_slow_way(window):
    device = recorded(400)
    ends = window_ends(400, window, 7)
    found = window_features(device.values, ends, window, RATE)
    assert found.shape == (len(ends), 2, len(FEATURES))
    for place, end in enumerate(ends):
        for channel in (0, 1):
            expected = slowly(device.values[end - window + 1 : end + 1, channel])
            np.testing.assert_allclose(found[place, channel], expected, rtol=1e-6, atol=1e-9)


def test_the_last_window_is_included_once():
    assert window_ends(20, 10, 4).tolist() == [9, 13, 17, 19]
    assert window_ends(18, 10, 4).tolist() == [9, 13, 17]
    assert window_ends(9, 10, 4).tolist() == []
    assert window_ends(10, 10, 4).tolist() == [9]


def test_hours_of_unequal_length_have_features_of_their_own_rows():
    device = recorded(100)
    kept = np.delete(np.arange(100), [3, 4, 5, 47])
    begins, found = hourly_features(device.times[kept], device.values[kept], 1.0, RATE)
    assert begins.tolist() == [HOUR * hour for hour in range(5)]
    for place, begin in enumerate(begins):
        mine = kept[(device.times[kept] >= begin) & (device.times[kept] < begin + HOUR)]
        np.testing.assert_allclose(found[place, 1], slowly(device.values[mine, 1]), rtol=1e-6, atol=1e-9)


def test_a_channel_that_stands_still_has_no_shape_and_no_spectrum():
    (still,) = window_features(np.full((20, 1), 3.5), np.array([19]), 20, RATE)[:, 0]
    told = dict(zip(FEATURES, still, strict=True))
    assert told == {name: 3.5 if name in {"mean", "min", "max", "median"} else 0.0 for name in FEATURES}


def test_a_tone_is_found_at_its_frequency():
    seconds = np.arange(400) / RATE
    tone = np.sin(2 * np.pi * 1.25 * seconds)[:, None]
    found = window_features(tone, np.array([399]), 400, RATE)[0, 0]
    assert found[FEATURES.index("dominant_frequency_hz")] == pytest.approx(1.25, abs=RATE / 256)


def test_only_what_is_new_is_computed(tmp_path):
    store = FeatureStore(tmp_path, FeatureVersion(window=10, stride=4, sampling_rate_hz=RATE))
    whole = recorded(60)

    def until(rows: int) -> DeviceTelemetry:
        return DeviceTelemetry(
            "P-1", whole.ids[:rows], whole.times[:rows], whole.channels, whole.values[:rows]
        )

    first = store.update(until(41))
    assert (first.windows, first.computed) == (9, 9)
    assert store.update(until(41)).computed == 0
    more = store.update(whole)
    assert (more.windows, more.computed) == (14, 6)
    times, names, values = store.read("P-1")
    fresh = window_features(whole.values, window_ends(60, 10, 4), 10, RATE)
    np.testing.assert_array_equal(values, fresh.reshape(14, -1))
    assert names[:2] == ["a.mean", "a.std"] and times[-1] == whole.times[-1]


def test_only_hours_that_are_new_or_were_not_over_are_computed(tmp_path):
    store = FeatureStore(tmp_path, FeatureVersion(sampling_rate_hz=RATE, hours=0.5))
    some, whole = recorded(1_000), recorded(1_450)
    first = store.update(some)
    assert (first.computed, store.update(some).computed) == (first.windows, 0)
    later = store.update(whole)
    assert later.computed == later.windows - first.windows + 1
    times, names, values = store.read(whole.device_id)
    begins, fresh = hourly_features(whole.times, whole.values, 0.5, RATE)
    assert (times == begins).all() and len(names) == fresh[0].size
    assert values == pytest.approx(fresh.reshape(len(begins), -1))


def test_rows_that_changed_and_another_version_are_computed_anew(tmp_path):
    version = FeatureVersion(window=10, stride=5, sampling_rate_hz=RATE)
    store, device = FeatureStore(tmp_path, version), recorded(60)
    store.update(device)
    device.values[3, 0] += 1
    assert store.update(device).computed == 11
    other = FeatureStore(tmp_path, FeatureVersion(window=10, stride=5, sampling_rate_hz=1.0))
    assert other.folder != store.folder and other.update(device).computed == 11
    store.delete_others()
    assert store.update(device).computed == 11


def test_a_device_with_fewer_rows_than_a_window_has_no_file(tmp_path):
    store = FeatureStore(tmp_path, FeatureVersion(window=50, stride=5, sampling_rate_hz=RATE))
    few = recorded(49)
    assert store.update(few).windows == 0 and not store.path(few.device_id).exists()
    assert store.update(recorded(60)).windows == 3
    assert store.update(few).windows == 0 and not store.path(few.device_id).exists()
