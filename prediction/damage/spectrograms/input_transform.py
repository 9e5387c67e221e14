"""From a recording to the network's input: at one rate, in windows, as images; for training and serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.damage.spectrograms.precomputed_spectrogram import PrecomputedSpectrograms
from prediction.damage.spectrograms.spectrogram import Floats, Spectrograms, window_starts


@dataclass(frozen=True)
class InputTransform:
    """How recordings become images, in training and serving alike.

    Parameters
    ----------
    channels : tuple of str
        The columns of a recording; of precomputed spectrograms, their bands.
    sampling_rate_hz : float
        What recordings are resampled to; of precomputed spectrograms, rows a second.
    hop : int
        Samples from one window to the next; a multiple of the frames' hop.
    """

    channels: tuple[str, ...]
    sampling_rate_hz: float
    spectrograms: Spectrograms | PrecomputedSpectrograms
    hop: int

    @property
    def levels(self) -> int:
        """How many of the images show levels: the first ones."""
        return self.spectrograms.level_images(len(self.channels))

    @property
    def modulations(self) -> int:
        """How many of the images show modulations: those that follow the levels."""
        return self.spectrograms.modulation_images(len(self.channels))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one window: (images, bands, frames)."""
        return self.spectrograms.shape(len(self.channels))

    @property
    def window_seconds(self) -> float:
        """Length of one window."""
        return self.spectrograms.window_size / self.sampling_rate_hz

    def resampled_length(self, samples: int, rate_hz: float | None) -> float:
        """Return how many samples, or rows, a recording has at this transform's rate."""
        if isinstance(self.spectrograms, PrecomputedSpectrograms):
            return samples
        return samples * self.sampling_rate_hz / (rate_hz or self.sampling_rate_hz)

    def windows(
        self, samples: Floats, rate_hz: float | None, max_windows: int
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Return normalised images of one recording's windows, and their first samples at this rate.

        Windows over missing samples are left out; of more than ``max_windows``, an even choice is taken.
        """
        is_missing: NDArray[np.bool_] = np.logical_or.reduce(np.isnan(samples), axis=1)
        spectrograms, rate = self.spectrograms, self.sampling_rate_hz
        signal = spectrograms.resample(_fill_missing(samples, is_missing), rate_hz or rate, rate)
        starts = window_starts(len(signal), spectrograms.window_size, self.hop, spectrograms.hop)
        if is_missing.any():
            starts = starts[~_touches_missing(starts, spectrograms.window_size, is_missing, len(signal))]
        # An even choice keeps the whole length of the recording in view.
        if len(starts) > max_windows:
            starts = starts[np.linspace(0, len(starts) - 1, max_windows).round().astype(np.int64)]
        images = spectrograms.compute(signal, starts)
        return spectrograms.normalise_images(images, samples.shape[1]), starts

    def to_dict(self) -> dict[str, object]:
        """Return what `from_dict` reads."""
        return {
            "channels": list(self.channels),
            "sampling_rate_hz": self.sampling_rate_hz,
            "hop": self.hop,
            "spectrograms": self.spectrograms.to_dict(),
        }

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> InputTransform:
        """Return the transform with these parameters."""
        is_precomputed = "given" in parameters["spectrograms"]
        kind = PrecomputedSpectrograms if is_precomputed else Spectrograms
        spectrograms = kind.from_dict(parameters["spectrograms"])
        rate_hz, hop = parameters["sampling_rate_hz"], parameters["hop"]
        return cls(tuple(parameters["channels"]), rate_hz, spectrograms, hop)


def _fill_missing(samples: Floats, is_missing: NDArray[np.bool_]) -> Floats:
    """Interpolate missing samples: one NaN would spread over the whole recording when it is resampled."""
    if not is_missing.any():
        return samples
    if is_missing.all():
        return np.zeros_like(samples)
    positions = np.arange(len(samples))
    readable = positions[~is_missing]
    columns = [np.interp(positions, readable, column[readable]) for column in samples.T]
    return np.stack(columns, axis=1).astype(np.float32)


def _touches_missing(
    starts: NDArray[np.int64], window: int, is_missing: NDArray[np.bool_], length: int
) -> NDArray[np.bool_]:
    """Mark windows over a missing sample, whose position changes with resampling to ``length`` samples."""
    counts = np.zeros(length + 1, dtype=np.int64)
    positions = np.flatnonzero(is_missing) * length // len(is_missing)
    np.add.at(counts, np.minimum(positions, length - 1) + 1, 1)
    total = np.cumsum(counts)
    touched: NDArray[np.bool_] = total[starts + window] > total[starts]
    return touched
