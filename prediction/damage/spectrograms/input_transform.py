"""A recording as the network sees it: at one rate, in windows, as images. Shared by training and serving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON
from prediction.damage.spectrograms.precomputed_spectrogram import PrecomputedSpectrograms
from prediction.damage.spectrograms.spectrogram import Floats, Spectrograms, window_starts


@dataclass(frozen=True)
class InputTransform:
    """How recordings are looked at, in training and serving alike.

    Parameters
    ----------
    channels : tuple of str
        The columns of a recording; of given spectrograms, their bands.
    sampling_rate_hz : float
        What recordings are resampled to; of given spectrograms, how many rows a second has.
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

    def heard(self, samples: Floats, rate_hz: float | None, most: int) -> tuple[Floats, NDArray[np.int64]]:
        """Normalised images of one recording's windows, and their first samples, at this rate.

        Windows over missing samples are left out; of more than ``most``, an even choice is taken.
        """
        missing: NDArray[np.bool_] = np.logical_or.reduce(np.isnan(samples), axis=1)
        look, rate = self.spectrograms, self.sampling_rate_hz
        even = look.at_rate(_filled(samples, missing), rate_hz or rate, rate)
        starts = window_starts(len(even), look.window_size, self.hop, look.hop)
        if missing.any():
            starts = starts[~_touching(starts, look.window_size, missing, len(even))]
        if len(starts) > most:
            starts = starts[np.linspace(0, len(starts) - 1, most).round().astype(np.int64)]
        return look.normalised(look.of(even, starts), samples.shape[1]), starts

    def to_dict(self) -> JSON:
        """The parameters as JSON."""
        return {
            "channels": list(self.channels),
            "sampling_rate_hz": self.sampling_rate_hz,
            "hop": self.hop,
            "spectrograms": self.spectrograms.to_dict(),
        }

    @classmethod
    def from_dict(cls, said: JSON) -> InputTransform:
        """The parameters from JSON."""
        kind = PrecomputedSpectrograms if "given" in said["spectrograms"] else Spectrograms
        spectrograms = kind.from_dict(said["spectrograms"])
        return cls(tuple(said["channels"]), said["sampling_rate_hz"], spectrograms, said["hop"])


def _filled(samples: Floats, missing: NDArray[np.bool_]) -> Floats:
    if not missing.any():
        return samples
    place = np.arange(len(samples))
    known = place[~missing] if not missing.all() else place[:0]
    if not len(known):
        return np.zeros_like(samples)
    columns = [np.interp(place, known, samples[known, column]) for column in range(samples.shape[1])]
    return np.stack(columns, axis=1).astype(np.float32)


def _touching(
    starts: NDArray[np.int64], window: int, missing: NDArray[np.bool_], length: int
) -> NDArray[np.bool_]:
    """Windows over a missing sample, which lies elsewhere after resampling."""
    faults = np.zeros(length + 1, dtype=np.int64)
    places = np.flatnonzero(missing) * length // len(missing)
    np.add.at(faults, np.minimum(places, length - 1) + 1, 1)
    total = np.cumsum(faults)
    found: NDArray[np.bool_] = total[starts + window] > total[starts]
    return found
