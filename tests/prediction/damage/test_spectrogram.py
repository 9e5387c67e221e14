"""Images are what SciPy would compute, windows cover the recording, and resampling keeps tones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import spectrogram as scipy_spectrogram

from errors import InvalidContent
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.damage.spectrograms.modulation_spectrum import ModulationSpectra
from prediction.damage.spectrograms.spectrogram import Spectrograms, band_filters, resample, window_starts

CHANCE = np.random.default_rng(0)


def test_powers_are_those_of_scipy():
    samples = CHANCE.normal(size=(1024, 2)).astype(np.float32)
    maker = Spectrograms(1024, 128, 32, 16, scale="linear", normalise="none")
    (image,) = maker.compute(samples, np.array([0]))
    centred = samples - samples.mean(axis=0)
    _, _, power = scipy_spectrogram(
        centred, window="hann", nperseg=128, noverlap=96, axis=0, detrend=False, mode="psd",
        scaling="density", return_onesided=False,
    )  # fmt: skip
    expected = np.log(np.einsum("fct,fb->cbt", power[:65], band_filters(65, 16, "linear")))
    np.testing.assert_allclose(image, expected, atol=1e-3)


@pytest.mark.parametrize("step", [8, 64, 40_000])
def test_windows_that_share_frames_are_seen_as_if_alone(step):
    samples = CHANCE.normal(size=(120_000, 2)).astype(np.float32)
    maker = Spectrograms(256, 32, 8, 16, envelope=True)
    starts = np.arange(0, 110_000, step)[:150]
    together = maker.compute(samples, starts)
    assert together.shape == (len(starts), *maker.shape(2))
    for place in (0, len(starts) // 2, len(starts) - 1):
        alone = maker.compute(samples, starts[place : place + 1])
        np.testing.assert_allclose(together[place], alone[0], atol=1e-5)


def test_the_envelope_shows_how_often_it_rings():
    times = np.arange(4096) / 4096
    since = times % (1 / 64)
    ringing = np.exp(-since * 600) * np.sin(2 * np.pi * 1300 * since) + 3 * np.sin(2 * np.pi * 20 * times)
    maker = Spectrograms(4096, 2048, 256, 64, scale="linear", normalise="none", envelope=True)
    (image,) = maker.compute(ringing[:, None], np.array([0]))
    bins = maker.filters.argmax(axis=0) * 2
    inner = image[1].mean(axis=1)[bins < 150]
    assert abs(bins[: len(inner)][inner.argmax()] - 64) <= 32


def test_phases_tell_how_channels_lie_to_each_other_whatever_their_level():
    times = np.arange(2048) / 2048
    lag = 0.7
    for gain in (0.01, 1.0, 30.0):
        waves = [np.sin(2 * np.pi * 256 * times + shift) for shift in (0.0, lag, 2 * lag)]
        samples = (gain * np.stack(waves, axis=1) * [1, 5, 0.2]).astype(np.float32)
        maker = Spectrograms(2048, 128, 16, 32, envelope=True, phase=True)
        (image,) = maker.compute(samples, np.array([0]))
        assert image.shape == maker.shape(3) == (6 + 6, 32, maker.frames)
        band = maker.filters[16].argmax()
        for place, (one, other) in enumerate(maker.pairs(3)):
            real, imaginary = image[6 + 2 * place : 8 + 2 * place, band].mean(axis=1)
            expected = np.exp(1j * lag * (one - other))
            np.testing.assert_allclose([real, imaginary], [expected.real, expected.imag], atol=0.02)


def test_noise_that_has_nothing_to_do_with_each_other_has_no_phase_and_silence_no_fault():
    samples = CHANCE.normal(size=(40_000, 2)).astype(np.float32)
    maker = Spectrograms(40_000, 256, 64, 8, scale="linear", phase=True)
    (image,) = maker.compute(samples, np.array([0]))
    assert np.abs(image[2:].mean(axis=2)).max() < 0.1 and np.abs(image[2:]).max() <= 1 + 1e-4
    assert np.isfinite(maker.compute(np.zeros((40_000, 2)), np.array([0]))).all()
    assert maker.shape(1)[0] == 1 and maker.shape(2)[0] == 4


@pytest.mark.parametrize("scale", ["log", "linear"])
@pytest.mark.parametrize(("bins", "bands"), [(5, 8), (17, 16), (129, 64), (33, 64)])
def test_every_band_has_weight_and_a_tone_is_in_its_band(scale, bins, bands):
    filters = band_filters(bins, bands, scale)
    np.testing.assert_allclose(filters.sum(axis=0), 1, rtol=1e-5)
    peaks = filters.argmax(axis=0)
    assert (np.diff(peaks) >= 0).all()
    assert (peaks[0], peaks[-1]) == (1, bins - 1)


def test_louder_recordings_look_alike_where_the_level_is_taken_away():
    samples, starts = CHANCE.normal(size=(1024, 1)).astype(np.float32), np.arange(0, 769, 256)
    for normalise, same in (("window", True), ("recording", True), ("none", False)):
        maker = Spectrograms(256, 32, 8, 16, normalise=normalise)
        quiet, loud = (
            maker.normalise_images(maker.compute(gain * samples, starts), 1)
            for gain in (np.float32(1), np.float32(3))
        )
        assert np.allclose(quiet, loud, atol=1e-3) is same


@given(st.integers(0, 500), st.integers(1, 60), st.integers(1, 10), st.integers(1, 4))
def test_windows_cover_the_recording_to_its_end(samples, window, steps, grid):
    starts = window_starts(samples, window, steps * grid, grid)
    if samples < window:
        assert len(starts) == 0
        return
    assert starts[0] == 0 and samples - window - starts[-1] in range(grid)
    assert (np.diff(starts) <= steps * grid).all() and (np.diff(starts) > 0).all()
    assert (starts % grid == 0).all()


@pytest.mark.parametrize("to_hz", [500, 1000, 2000, 1333])
def test_resampling_keeps_a_tone_and_its_loudness(to_hz):
    times = np.arange(2000) / 1000
    tone = np.sin(2 * np.pi * 50 * times).astype(np.float32)[:, None]
    made = resample(tone, 1000, to_hz)[:, 0]
    expected = np.sin(2 * np.pi * 50 * np.arange(len(made)) / to_hz)
    assert len(made) == 2 * to_hz
    np.testing.assert_allclose(made, expected, atol=0.02)


def test_resampling_down_lets_nothing_through_that_would_fold_back():
    high = np.sin(2 * np.pi * 400 * np.arange(2000) / 1000).astype(np.float32)[:, None]
    assert np.abs(resample(high, 1000, 500)).max() < 0.05


def test_resampling_to_nothing_or_without_bound_is_no_fault_of_the_server():
    few = np.zeros((100, 1), dtype=np.float32)
    assert resample(few, 1e9, 6_000).shape == (0, 1)
    with pytest.raises(InvalidContent, match="look at its sampling rate"):
        resample(few, 1e-6, 6_000)


def test_windows_over_missing_samples_are_left_out_at_any_rate():
    samples = CHANCE.normal(size=(1000, 1)).astype(np.float32)
    samples[500] = np.nan
    for rate in (100.0, 200.0):
        sound = InputTransform(("x",), rate, Spectrograms(100, 16, 4, 8), 48)
        images, starts = sound.windows(samples, 100.0, 10_000)
        place = 500 * rate / 100
        assert len(starts) and not ((starts <= place) & (place < starts + 100)).any()
        assert np.isfinite(images).all() and len(images) == len(starts)


def knocking(
    rate_hz: float, often_hz: float, rings_at_hz: float, loud: float = 1.0, seed: int = 0
) -> np.ndarray:
    """Impacts that ring, in noise."""
    chance = np.random.default_rng(seed)
    times = np.arange(int(rate_hz)) / rate_hz
    since = times % (1 / often_hz)
    samples = np.exp(-900 * since) * np.sin(2 * np.pi * rings_at_hz * since) + chance.normal(
        0, 0.05, len(times)
    )
    return (loud * samples).astype(np.float32)[:, None]


def modulated(samples: np.ndarray, rate_hz: float = 12_000) -> np.ndarray:
    """Return the image of the modulations of the first window, ``(rows, columns)``."""
    maker = Spectrograms(4096, 1024, 128, 64, modulation=64)
    images = maker.compute(samples, np.array([0, 2048]))
    assert images.shape[1:] == maker.shape(1) == (2, 64, 25)
    return images[1, maker.level_images(1)]


def test_modulations_show_how_often_it_knocks_whatever_rings_and_however_loud():
    usual = modulated(knocking(12_000, 105, 2_000)).mean(axis=1)
    for other in (knocking(12_000, 105, 4_200, seed=1), knocking(12_000, 105, 2_000, loud=50, seed=2)):
        assert np.corrcoef(usual, modulated(other).mean(axis=1))[0, 1] > 0.9
    faster = modulated(knocking(12_000, 160, 2_000)).mean(axis=1)
    assert faster.argmax() - usual.argmax() >= 4
    rows = ModulationSpectra(4096, 64, 128, 64, 25)
    rate = rows.rates[usual.argmax()].argmax() / (rows.frames * rows.hop / 12_000)
    assert rate == pytest.approx(105, rel=0.06)


def test_noise_and_silence_swell_at_no_rate():
    noise = CHANCE.normal(size=(12_000, 1)).astype(np.float32)
    strongest = modulated(knocking(12_000, 105, 2_000)).mean(axis=1).max()
    assert modulated(noise).mean(axis=1).max() < strongest - 1
    assert np.isfinite(modulated(np.zeros((12_000, 1), dtype=np.float32))).all()


@pytest.mark.parametrize(
    ("window", "frame", "grid", "rows", "columns"),
    [(32, 8, 1, 4, 25), (64, 8, 2, 8, 1), (512, 8, 16, 64, 25), (8192, 256, 256, 64, 25)],
)
def test_every_row_and_column_has_weight(window, frame, grid, rows, columns):
    maker = ModulationSpectra(window, frame, grid, rows, columns)
    np.testing.assert_allclose(maker.rates.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(maker.carriers.sum(axis=0), 1, rtol=1e-5)
    images = maker.compute(CHANCE.normal(size=(2, 3 * window)).astype(np.float32), np.array([0, grid * 3]))
    assert images.shape == (2, 2, rows, columns) and np.isfinite(images).all()
