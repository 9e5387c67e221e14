"""Log-power spectrograms with NumPy alone, for training and serving alike: both see equal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_FLOOR: Final = 1e-10
_WINDOWS_AT_ONCE, _FRAMES_AT_ONCE = 64, 64
NORMALISATIONS: Final = ("window", "recording", "none")
SCALES: Final = ("log", "linear")


@dataclass(frozen=True)
class Spectrograms:
    """How a window of samples becomes an image.

    Parameters
    ----------
    window_size : int
        Samples of one window.
    n_fft, hop : int
        Samples of one frame, and from one frame to the next.
    bands : int
        Frequency bands of the image, spaced by ``scale``.
    normalise : str
        ``"window"``: every window has mean level 0, so how loud it is does not count; ``"recording"``: every
        recording has; ``"none"``.
    envelope : bool
        Whether each channel has a second image, of its envelope: of how much the signal changes from one
        sample to the next, which lifts ringing over hum. It shows how often the signal swells, by which a
        damaged rolling bearing is told (Randall and Antoni, MSSP 25, 2011).
    """

    window_size: int = 2048
    n_fft: int = 256
    hop: int = 64
    bands: int = 64
    scale: str = "log"
    normalise: str = "window"
    envelope: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The parameters as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Spectrograms:
        """The parameters from JSON."""
        return cls(**said)

    @property
    def frames(self) -> int:
        """Frames of one window: the width of the image."""
        return 1 + (self.window_size - self.n_fft) // self.hop

    def shape(self, channels: int) -> tuple[int, int, int]:
        """Shape of one image: (images, bands, frames)."""
        return channels * (2 if self.envelope else 1), self.bands, self.frames

    @cached_property
    def taper(self) -> Floats:
        """A periodic Hann window of ``n_fft`` samples, scaled so that white noise keeps its variance."""
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)
        made: Floats = (hann / np.sqrt((hann**2).sum())).astype(np.float32)
        return made

    @cached_property
    def filters(self) -> Floats:
        """Weights of the FFT's bins in each band, shape (n_fft // 2 + 1, bands); each band's sum is 1."""
        return band_filters(self.n_fft // 2 + 1, self.bands, self.scale)

    def of(self, samples: NDArray[np.floating], starts: NDArray[np.int64]) -> Floats:
        """Images of the windows of one recording, not yet normalised.

        Windows that overlap share their frames: each is transformed once.

        Parameters
        ----------
        samples : ndarray, shape (samples, channels)
        starts : ndarray of int64, shape (n,)
            First samples of the windows, ascending; multiples of ``hop``.

        Returns
        -------
        ndarray of float32, shape (n, images, bands, frames)
            Natural logarithm of the power by band.
        """
        signals = self._signals(samples)
        made = np.empty((len(starts), *self.shape(samples.shape[1])), dtype=np.float32)
        for first in range(0, len(starts), _WINDOWS_AT_ONCE):
            block = starts[first : first + _WINDOWS_AT_ONCE]
            dense = block[-1] - block[0] <= len(block) * self.window_size
            for places in [np.arange(len(block))] if dense else np.arange(len(block))[:, None]:
                begin, end = block[places[0]], block[places[-1]] + self.window_size
                levels = self._levels(signals[:, begin:end])
                views = sliding_window_view(levels, self.frames, axis=2)
                made[first + places] = np.moveaxis(views[:, :, (block[places] - begin) // self.hop], 2, 0)
        return made

    def normalised(self, images: Floats) -> Floats:
        """Images of one recording ``(n, images, bands, frames)`` on their own level, changed in place."""
        if self.normalise == "none":
            return images
        axes = (2, 3) if self.normalise == "window" else (0, 2, 3)
        images -= images.mean(axis=axes, keepdims=True, dtype=np.float32)
        return images

    def _signals(self, samples: NDArray[np.floating]) -> Floats:
        """What is transformed, shape (images, samples): the channels and, if asked, their envelopes."""
        signals = np.ascontiguousarray(samples.T, dtype=np.float32)
        if self.envelope:
            swell = np.abs(np.diff(signals, axis=1, prepend=signals[:, :1]))
            signals = np.concatenate([signals, swell])
        centred: Floats = signals - signals.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        return centred

    def _levels(self, signals: Floats) -> Floats:
        """Log power of every frame, shape (images, bands, frames of all)."""
        return np.stack([self._log_power(signal) for signal in signals])

    def _log_power(self, signal: Floats) -> Floats:
        """(samples,) → (bands, frames), in pieces that stay in the processor's cache."""
        frames = sliding_window_view(signal, self.n_fft)[:: self.hop]
        made = np.empty((len(frames), self.bands), dtype=np.float32)
        for first in range(0, len(frames), _FRAMES_AT_ONCE):
            spectrum = np.fft.rfft(frames[first : first + _FRAMES_AT_ONCE] * self.taper, axis=1)
            power = spectrum.real**2
            power += spectrum.imag**2
            np.matmul(power, self.filters, out=made[first : first + _FRAMES_AT_ONCE])
        made += np.float32(_FLOOR)
        levels: Floats = np.log(made, out=made).T
        return levels


def band_filters(bins: int, bands: int, scale: str) -> Floats:
    """Triangles over the FFT's bins, shape (bins, bands): every band has weight in at least one bin.

    On the ``"log"`` scale the centres are evenly spaced in log frequency from the second bin to the last one,
    so a machine that runs faster is the same picture, shifted.
    """
    last = bins - 1
    centres = np.linspace(1, last, bands)
    if scale == "log":
        centres = np.geomspace(1, last, bands)
    padded = np.concatenate([[2 * centres[0] - centres[1]], centres, [2 * centres[-1] - centres[-2]]])
    below = np.maximum(np.diff(padded)[:-1], 1.0)
    above = np.maximum(np.diff(padded)[1:], 1.0)
    away = np.arange(bins)[:, None] - centres
    weights = np.clip(1 - np.where(away < 0, -away / below, away / above), 0, None)
    weights[0] = 0
    made: Floats = (weights / weights.sum(axis=0)).astype(np.float32)
    return made


def window_starts(samples: int, window: int, hop: int, grid: int = 1) -> NDArray[np.int64]:
    """First samples of the windows of a recording, the last one at its end but for less than ``grid``.

    Parameters
    ----------
    grid : int
        All starts are multiples of it, and ``hop`` is.
    """
    if samples < window:
        return np.zeros(0, dtype=np.int64)
    starts = np.arange(0, samples - window + 1, hop)
    last = (samples - window) // grid * grid
    return starts if starts[-1] == last else np.append(starts, last)


def resampled(samples: Floats, from_hz: float, to_hz: float) -> Floats:
    """The same recording at another sampling rate, by its Fourier transform (band-limited, no aliasing)."""
    count = round(len(samples) * to_hz / from_hz)
    if count == len(samples) or not len(samples):
        return samples
    spectrum = np.fft.rfft(samples, axis=0)
    kept = spectrum[: min(len(spectrum), count // 2 + 1)]
    even = np.fft.irfft(kept, count, axis=0) * (count / len(samples))
    made: Floats = even.astype(np.float32)
    return made
