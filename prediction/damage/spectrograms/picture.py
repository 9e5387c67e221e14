"""A picture of a whole recording: the levels that the model sees, put side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.damage.spectrograms.spectrogram import Floats, Spectrograms

# Of one channel; more would not be told apart on a screen.
MAX_COLUMNS = 240
_MAX_WINDOWS = 40


@dataclass(frozen=True)
class LevelPicture:
    """Levels of one channel over time.

    Parameters
    ----------
    seconds : ndarray, shape (columns,)
    bands : ndarray, shape (bands,)
        Hertz; of precomputed spectrograms, their numbers.
    levels : ndarray, shape (bands, columns)
        Natural logarithm of power.
    """

    seconds: NDArray[np.float64]
    bands: NDArray[np.float64]
    levels: Floats


def draw_levels(transform: InputTransform, samples: Floats, rate_hz: float | None) -> LevelPicture | None:
    """Return the picture of a recording's first channel; None where it has no whole window.

    Parameters
    ----------
    samples : ndarray, shape (samples, channels)
    """
    spectrograms, step = transform.spectrograms, transform.spectrograms.hop
    # Without overlap, so that no moment is drawn twice; a hop is a multiple of the frames' hop.
    apart = replace(transform, hop=-(-spectrograms.window_size // step) * step)
    images, starts = apart.windows(samples, rate_hz, _MAX_WINDOWS)
    if not len(images):
        return None
    per_window = max(1, MAX_COLUMNS // len(images))
    parts = [np.array_split(image, min(per_window, image.shape[1]), axis=1) for image in images[:, 0]]
    columns = [part.mean(axis=1) for window in parts for part in window]
    shares = np.linspace(0, spectrograms.window_size, len(parts[0]), endpoint=False)
    seconds = (starts[:, None] + shares).ravel() / transform.sampling_rate_hz
    # The last window ends with the recording, so it may begin within the one before.
    is_new = seconds > np.maximum.accumulate(np.concatenate([[-1.0], seconds[:-1]]))
    if isinstance(spectrograms, Spectrograms):
        bands = spectrograms.filters.argmax(axis=0) * transform.sampling_rate_hz / spectrograms.n_fft
    else:
        bands = np.arange(1, images.shape[2] + 1)
    levels = np.stack(columns, axis=1)[:, is_new]
    return LevelPicture(seconds[is_new], bands.astype(np.float64), levels)
