"""The picture of a recording that a page shows is what the model sees, at its time and frequency."""

from __future__ import annotations

import numpy as np

from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.damage.spectrograms.picture import MAX_COLUMNS, draw_levels
from prediction.damage.spectrograms.spectrogram import Spectrograms

RATE = 8_000


def test_a_tone_is_drawn_at_its_frequency_and_only_while_it_sounds() -> None:
    spectrograms = Spectrograms(
        window_size=2_048, n_fft=512, hop=128, bands=48, scale="linear", normalise="none"
    )
    transform = InputTransform(("x",), RATE, spectrograms, hop=512)
    seconds = np.arange(10 * RATE) / RATE
    noise = np.random.default_rng(3).normal(0, 0.01, len(seconds))
    tone = np.sin(2 * np.pi * 2_000 * seconds) * (seconds > 5)
    picture = draw_levels(transform, (noise + tone).astype(np.float32)[:, None], RATE)
    assert picture is not None
    assert picture.levels.shape == (len(picture.bands), len(picture.seconds))
    assert len(picture.seconds) <= MAX_COLUMNS and (np.diff(picture.seconds) > 0).all()
    late, early = picture.seconds > 5.5, picture.seconds < 4.5
    loudest = picture.bands[picture.levels[:, late].mean(axis=1).argmax()]
    assert abs(loudest - 2_000) < 100
    assert picture.levels[:, late].max() > picture.levels[:, early].max() + 3


def test_a_recording_without_a_whole_window_has_no_picture() -> None:
    transform = InputTransform(("x",), RATE, Spectrograms(normalise="none"), hop=64)
    assert draw_levels(transform, np.zeros((100, 1), dtype=np.float32), RATE) is None
