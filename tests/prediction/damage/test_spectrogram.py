"""Images are what SciPy would compute, windows cover the recording, and resampling keeps tones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import spectrogram as scipy_spectrogram

from prediction.damage.sound import Sound
from prediction.damage.spectrogram import Spectrograms, band_filters, cut, resampled, window_starts

CHANCE = np.random.default_rng(0)


def test_powers_are_those_of_scipy():
    windows = CHANCE.normal(size=(3, 1024, 2)).astype(np.float32)
    images = Spectrograms(1024, 128, 32, 16, scale="linear", normalise="none").of(windows)
    centred = windows - windows.mean(axis=1, keepdims=True)
    _, _, power = scipy_spectrogram(
        centred, window="hann", nperseg=128, noverlap=96, axis=1, detrend=False, mode="psd",
        scaling="density", return_onesided=False,
    )  # fmt: skip
    one_sided = np.moveaxis(power[:, :65], 1, 2)
    expected = np.log(
        np.einsum("nctf,fb->ncbt", np.moveaxis(one_sided, 2, 3), band_filters(65, 16, "linear"))
    )
    np.testing.assert_allclose(images, expected, atol=1e-3)


def test_images_do_not_depend_on_the_batch():
    windows = CHANCE.normal(size=(70, 256, 1)).astype(np.float32)
    maker = Spectrograms(256, 32, 8, 16, envelope=True)
    np.testing.assert_array_equal(maker.of(windows)[65:66], maker.of(windows[65:66]))
    assert maker.of(windows).shape == (70, *maker.shape(1))


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize(("bins", "bands"), [(5, 8), (17, 16), (129, 64), (33, 64)])
def test_every_band_has_weight_and_a_tone_is_in_its_band(scale, bins, bands):
    filters = band_filters(bins, bands, scale)
    np.testing.assert_allclose(filters.sum(axis=0), 1, rtol=1e-5)
    peaks = filters.argmax(axis=0)
    assert (np.diff(peaks) >= 0).all()
    assert (peaks[0], peaks[-1]) == (1, bins - 1)


def test_louder_recordings_look_alike_where_the_level_is_taken_away():
    windows = CHANCE.normal(size=(4, 256, 1)).astype(np.float32)
    for normalise, same in (("window", True), ("recording", True), ("none", False)):
        maker = Spectrograms(256, 32, 8, 16, normalise=normalise)
        quiet, loud = (maker.normalised(maker.of(gain * windows)) for gain in (np.float32(1), np.float32(3)))
        assert np.allclose(quiet, loud, atol=1e-3) is same


@given(st.integers(0, 500), st.integers(1, 60), st.integers(1, 40))
def test_windows_cover_the_recording_to_its_end(samples, window, hop):
    starts = window_starts(samples, window, hop)
    if samples < window:
        assert len(starts) == 0
        return
    assert (starts[0], starts[-1]) == (0, samples - window)
    assert (np.diff(starts) <= hop).all()
    pieces = cut(np.arange(samples, dtype=np.float32)[:, None], window, starts)
    assert pieces.shape == (len(starts), window, 1)
    assert pieces[-1, -1, 0] == samples - 1


@pytest.mark.parametrize("to_hz", [500, 1000, 2000, 1333])
def test_resampling_keeps_a_tone_and_its_loudness(to_hz):
    times = np.arange(2000) / 1000
    tone = np.sin(2 * np.pi * 50 * times).astype(np.float32)[:, None]
    made = resampled(tone, 1000, to_hz)[:, 0]
    expected = np.sin(2 * np.pi * 50 * np.arange(len(made)) / to_hz)
    assert len(made) == 2 * to_hz
    np.testing.assert_allclose(made, expected, atol=0.02)


def test_resampling_down_lets_nothing_through_that_would_fold_back():
    high = np.sin(2 * np.pi * 400 * np.arange(2000) / 1000).astype(np.float32)[:, None]
    assert np.abs(resampled(high, 1000, 500)).max() < 0.05


def test_windows_over_missing_samples_are_left_out_at_any_rate():
    samples = CHANCE.normal(size=(1000, 1)).astype(np.float32)
    samples[500] = np.nan
    for rate in (100.0, 200.0):
        sound = Sound(("x",), rate, Spectrograms(100, 16, 4, 8), 50)
        windows, starts = sound.windows(samples, 100.0, 10_000)
        place = 500 * rate / 100
        assert len(starts) and not ((starts <= place) & (place < starts + 100)).any()
        assert np.isfinite(windows).all()
