"""Log-power spectrograms for training and serving alike: both see equal numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from errors import InvalidContent
from prediction.damage.spectrograms.modulation_spectrum import ModulationSpectra

Floats = NDArray[np.float32]

_FLOOR: Final = 1e-10
_WINDOWS_AT_ONCE, _FRAMES_AT_ONCE = 64, 64
_LEAST_LEVEL: Final = 1e-15
_PIECES: Final = 4
_MOST_RESAMPLED: Final = 100_000_000
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
    phase : bool
        Whether each pair of neighbouring channels has two more images, the real and the imaginary part of
        their cross-spectrum as a share of their levels: how their vibrations lie to each other. It hangs on
        where the force acts and not on its size, so it stays much as it is when speed and load change
        (Bendat and Piersol, Random Data, 4th ed. 2010, chapter 9).
    modulation : int
        Samples of a short frame, a few milliseconds; where it is not 0, each channel has one more image, its
        modulation spectrum: how often (rows) the power at each carrier frequency (columns) swells, as a share
        of that power's own mean. Impacts show at their rate whatever they make ring and however loud, so
        neither resonance nor transfer path of a specimen count (cyclic modulation spectrum; Antoni and
        Hanson, IEEE TASLP 20, 2012).
    """

    window_size: int = 2048
    n_fft: int = 256
    hop: int = 64
    bands: int = 64
    scale: str = "log"
    normalise: str = "window"
    envelope: bool = False
    phase: bool = False
    modulation: int = 0

    def to_dict(self) -> dict[str, Any]:
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

    def level_images(self, channels: int) -> int:
        """How many of the images show levels: the first ones. Modulations follow, then phases."""
        return channels * (2 if self.envelope else 1)

    def modulation_images(self, channels: int) -> int:
        """How many of the images show modulations: those that follow the levels."""
        return channels if self.modulation else 0

    def pairs(self, channels: int) -> list[tuple[int, int]]:
        """Neighbouring channels whose phase is shown; the last one is the first one's neighbour."""
        if not self.phase or channels < 2:
            return []
        return [(place, (place + 1) % channels) for place in range(channels if channels > 2 else 1)]

    def shape(self, channels: int) -> tuple[int, int, int]:
        """Shape of one image: (images, bands, frames)."""
        images = self.level_images(channels) + self.modulation_images(channels)
        return images + 2 * len(self.pairs(channels)), self.bands, self.frames

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

    @cached_property
    def swelling(self) -> ModulationSpectra | None:
        """What makes the modulation spectra, where they are wanted."""
        if not self.modulation:
            return None
        return ModulationSpectra(self.window_size, self.modulation, self.hop, self.bands, self.frames)

    @cached_property
    def _pieces(self) -> list[tuple[slice, slice, Floats]]:
        """The filters in a few pieces without bins that their bands do not weigh: bins, bands, weights.

        On a log scale most bands look at few bins, so this is half the work.
        """
        made = []
        for bands in np.array_split(np.arange(self.bands), _PIECES):
            weights = self.filters[:, bands]
            bins = np.flatnonzero(weights.any(axis=1))
            seen = slice(bins[0], bins[-1] + 1)
            made.append((seen, slice(bands[0], bands[-1] + 1), np.ascontiguousarray(weights[seen])))
        return made

    def at_rate(self, samples: Floats, from_hz: float, to_hz: float) -> Floats:
        """A recording at another sampling rate."""
        return resample(samples, from_hz, to_hz)

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
        channels, levels = samples.shape[1], self.level_images(samples.shape[1])
        signals, pairs = self._signals(samples), self.pairs(channels)
        made = np.empty((len(starts), *self.shape(channels)), dtype=np.float32)
        others = levels + self.modulation_images(channels)
        for first, end in _neighbours(starts, self.window_size):
            begin = starts[first]
            heard = signals[:, begin : starts[end - 1] + self.window_size]
            seen = self._pictures(heard, pairs)
            for place, frame in enumerate((starts[first:end] - begin) // self.hop, first):
                made[place, :levels] = seen[:levels, :, frame : frame + self.frames]
                made[place, others:] = seen[levels:, :, frame : frame + self.frames]
            if self.swelling is not None:
                made[first:end, levels:others] = self.swelling.of(heard[:channels], starts[first:end] - begin)
        return made

    def normalised(self, images: Floats, channels: int) -> Floats:
        """Images of one recording ``(n, images, bands, frames)`` on their own level, changed in place."""
        on_own_level(images[:, : self.level_images(channels)], self.normalise)
        return images

    def _signals(self, samples: NDArray[np.floating]) -> Floats:
        """What is transformed, shape (images, samples): the channels and, if asked, their envelopes."""
        signals = np.ascontiguousarray(samples.T, dtype=np.float32)
        if self.envelope:
            swell = np.abs(np.diff(signals, axis=1, prepend=signals[:, :1]))
            signals = np.concatenate([signals, swell])
        centred: Floats = signals - signals.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        return centred

    def _pictures(self, signals: Floats, pairs: Sequence[tuple[int, int]]) -> Floats:
        """Images of every frame, shape (images, bands, frames of all), in pieces that stay in the cache."""
        from scipy.fft import rfft

        frames = sliding_window_view(signals, self.n_fft, axis=1)[:, :: self.hop]
        count, together = len(signals), max(1, _FRAMES_AT_ONCE // len(signals))
        made = np.empty((count + 2 * len(pairs), frames.shape[1], self.bands), dtype=np.float32)
        for first in range(0, frames.shape[1], together):
            spectra = rfft(frames[:, first : first + together] * self.taper, axis=2)
            part = made[:, first : first + together]
            power = spectra.real**2
            power += spectra.imag**2
            self._filter(power, part[:count])
            for place, (one, other) in enumerate(pairs):
                cross = spectra[one] * spectra[other].conj()
                both = part[count + 2 * place : count + 2 * place + 2]
                self._filter(np.stack([cross.real, cross.imag]), both)
                both /= np.sqrt(part[one] * part[other]) + np.float32(_LEAST_LEVEL)
        levels = made[:count]
        levels += np.float32(_FLOOR)
        np.log(levels, out=levels)
        return np.ascontiguousarray(made.swapaxes(1, 2))

    def _filter(self, spectra: Floats, bands: Floats) -> None:
        """Weigh ``(…, bins)`` into ``(…, bands)``."""
        for seen, told, weights in self._pieces:
            np.matmul(spectra[..., seen], weights, out=bands[..., told])


def _neighbours(starts: NDArray[np.int64], window: int) -> Iterator[tuple[int, int]]:
    """Runs of windows whose frames are worth sharing, a few at a time: (first, end)."""
    for first in range(0, len(starts), _WINDOWS_AT_ONCE):
        end = min(first + _WINDOWS_AT_ONCE, len(starts))
        if starts[end - 1] - starts[first] <= (end - first) * window:
            yield first, end
        else:
            yield from ((place, place + 1) for place in range(first, end))


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


def on_own_level(images: Floats, normalise: str) -> Floats:
    """Images of one recording ``(n, images, bands, frames)`` less their mean, changed in place."""
    if normalise != "none":
        axes = (2, 3) if normalise == "window" else (0, 2, 3)
        images -= images.mean(axis=axes, keepdims=True, dtype=np.float32)
    return images


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


def resample(samples: Floats, from_hz: float, to_hz: float) -> Floats:
    """The same recording at another sampling rate, by its Fourier transform (band-limited, no aliasing).

    Raises
    ------
    InvalidContent
        It would have more samples than a computer can look at: its rate is hardly right.
    """
    count = round(len(samples) * to_hz / from_hz)
    if count == len(samples) or not len(samples):
        return samples
    if not count:
        return samples[:0]
    if count > max(len(samples), _MOST_RESAMPLED):
        raise InvalidContent(
            f"{len(samples):,} samples at {from_hz:g} Hz would be {count:,} at {to_hz:g} Hz, and "
            f"{_MOST_RESAMPLED:,} at most are made: look at its sampling rate"
        )
    spectrum = np.fft.rfft(samples, axis=0)
    kept = spectrum[: min(len(spectrum), count // 2 + 1)]
    even = np.fft.irfft(kept, count, axis=0) * (count / len(samples))
    made: Floats = even.astype(np.float32)
    return made
