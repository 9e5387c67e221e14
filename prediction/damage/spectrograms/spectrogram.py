"""Log-power spectrograms, computed by the same code in training and serving."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from errors import InvalidContent
from prediction.damage.spectrograms.modulation_spectrum import ModulationSpectra, hann

Floats = NDArray[np.float32]

_FLOOR: Final = 1e-10
# How many are transformed at once: their spectra stay in the cache of one core.
_WINDOW_BATCH, _FRAME_BATCH = 64, 64
_MIN_LEVEL: Final = 1e-15
_FILTER_PIECES: Final = 4
_MAX_RESAMPLED: Final = 100_000_000
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
        ``"window"``: every window has mean level 0, so its loudness does not count; ``"recording"``: every
        recording has; ``"none"``.
    envelope : bool
        Whether each channel has a second image, of its envelope: of how much the signal changes from one
        sample to the next, which lifts ringing over hum. It shows how often the signal swells, by which a
        damaged rolling bearing is recognised (Randall and Antoni, MSSP 25, 2011).
    phase : bool
        Whether each pair of neighbouring channels has two more images, the real and the imaginary part of
        their cross-spectrum as a share of their levels. It depends on where the force acts and not on its
        size, so it changes little with speed and load (Bendat and Piersol, Random Data, 4th ed. 2010,
        chapter 9).
    modulation : int
        Samples of a short frame, a few milliseconds; where it is not 0, each channel has one more image, its
        modulation spectrum: how often (rows) the power at each carrier frequency (columns) swells, as a share
        of that power's own mean. Impacts show at their rate whatever resonates and however loud, so neither
        resonance nor transfer path of a specimen count (cyclic modulation spectrum; Antoni and Hanson, IEEE
        TASLP 20, 2012).
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

    def to_dict(self) -> dict[str, object]:
        """Return what `from_dict` reads."""
        return asdict(self)

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> Spectrograms:
        """Return the transform with these parameters."""
        return cls(**parameters)

    @property
    def frames(self) -> int:
        """Frames of one window: the width of the image."""
        return 1 + (self.window_size - self.n_fft) // self.hop

    def level_images(self, channels: int) -> int:
        """Count the images that show levels. They come first, then modulations, then phases."""
        return channels * (2 if self.envelope else 1)

    def modulation_images(self, channels: int) -> int:
        """Count the images that show modulations."""
        return channels if self.modulation else 0

    def pairs(self, channels: int) -> list[tuple[int, int]]:
        """Return neighbouring channels whose phase is shown; the last one neighbours the first one."""
        if not self.phase or channels < 2:
            return []
        return [(channel, (channel + 1) % channels) for channel in range(channels if channels > 2 else 1)]

    def shape(self, channels: int) -> tuple[int, int, int]:
        """Return the shape of one window: (images, bands, frames)."""
        images = self.level_images(channels) + self.modulation_images(channels)
        return images + 2 * len(self.pairs(channels)), self.bands, self.frames

    @cached_property
    def _taper(self) -> Floats:
        """A periodic Hann window of ``n_fft`` samples, scaled so that white noise keeps its variance."""
        window = hann(self.n_fft)
        scaled: Floats = (window / np.sqrt((window**2).sum())).astype(np.float32)
        return scaled

    @cached_property
    def filters(self) -> Floats:
        """Weights of the FFT's bins in each band, shape (n_fft // 2 + 1, bands); each band's sum is 1."""
        return band_filters(self.n_fft // 2 + 1, self.bands, self.scale)

    @cached_property
    def modulation_spectra(self) -> ModulationSpectra | None:
        """The transform of the modulation images, if there are any."""
        if not self.modulation:
            return None
        return ModulationSpectra(self.window_size, self.modulation, self.hop, self.bands, self.frames)

    @cached_property
    def _filter_pieces(self) -> list[tuple[slice, slice, Floats]]:
        """The filters in pieces (bins, bands, weights) without bins that weigh nothing.

        On a log scale most bands have few bins, so this is half the work.
        """
        pieces = []
        for bands in np.array_split(np.arange(self.bands), _FILTER_PIECES):
            weights = self.filters[:, bands]
            bins = np.flatnonzero(weights.any(axis=1))
            used = slice(bins[0], bins[-1] + 1)
            pieces.append((used, slice(bands[0], bands[-1] + 1), np.ascontiguousarray(weights[used])))
        return pieces

    def resample(self, samples: Floats, from_hz: float, to_hz: float) -> Floats:
        """Return a recording at another sampling rate."""
        return resample(samples, from_hz, to_hz)

    def compute(self, samples: NDArray[np.floating], starts: NDArray[np.int64]) -> Floats:
        """Return images of the windows of one recording, not yet normalised.

        Windows that overlap share their frames: each frame is transformed once.

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
        channels = samples.shape[1]
        levels, pairs = self.level_images(channels), self.pairs(channels)
        first_phase = levels + self.modulation_images(channels)
        signals = self._signals(samples)
        images = np.empty((len(starts), *self.shape(channels)), dtype=np.float32)
        for first, end in _group_neighbours(starts, self.window_size):
            begin = starts[first]
            excerpt = signals[:, begin : starts[end - 1] + self.window_size]
            bands = self._band_levels(excerpt, pairs)
            for window, frame in enumerate((starts[first:end] - begin) // self.hop, first):
                images[window, :levels] = bands[:levels, :, frame : frame + self.frames]
                images[window, first_phase:] = bands[levels:, :, frame : frame + self.frames]
            if self.modulation_spectra is not None:
                modulations = self.modulation_spectra.compute(excerpt[:channels], starts[first:end] - begin)
                images[first:end, levels:first_phase] = modulations
        return images

    def normalise_images(self, images: Floats, channels: int) -> Floats:
        """Normalise images of one recording ``(n, images, bands, frames)`` in place and return them."""
        subtract_mean(images[:, : self.level_images(channels)], self.normalise)
        return images

    def _signals(self, samples: NDArray[np.floating]) -> Floats:
        """Return the channels and, with ``envelope``, their envelopes without their means, as rows."""
        signals = np.ascontiguousarray(samples.T, dtype=np.float32)
        if self.envelope:
            envelopes = np.abs(np.diff(signals, axis=1, prepend=signals[:, :1]))
            signals = np.concatenate([signals, envelopes])
        # Without its mean a signal does not leak into the lowest bands; the sum needs float64.
        centred: Floats = signals - signals.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        return centred

    def _band_levels(self, signals: Floats, pairs: Sequence[tuple[int, int]]) -> Floats:
        """Return levels and phases of every frame, shape (images, bands, frames)."""
        from scipy.fft import rfft

        frames = sliding_window_view(signals, self.n_fft, axis=1)[:, :: self.hop]
        count, batch = len(signals), max(1, _FRAME_BATCH // len(signals))
        bands = np.empty((count + 2 * len(pairs), frames.shape[1], self.bands), dtype=np.float32)
        for first in range(0, frames.shape[1], batch):
            spectra = rfft(frames[:, first : first + batch] * self._taper, axis=2)
            part = bands[:, first : first + batch]
            power = spectra.real**2
            power += spectra.imag**2
            self._filter(power, part[:count])
            for number, (left, right) in enumerate(pairs):
                cross = spectra[left] * spectra[right].conj()
                phase = part[count + 2 * number : count + 2 * number + 2]
                self._filter(np.stack([cross.real, cross.imag]), phase)
                phase /= np.sqrt(part[left] * part[right]) + np.float32(_MIN_LEVEL)
        levels = bands[:count]
        levels += np.float32(_FLOOR)
        np.log(levels, out=levels)
        return np.ascontiguousarray(bands.swapaxes(1, 2))

    def _filter(self, spectra: Floats, bands: Floats) -> None:
        """Sum bins ``(…, bins)`` into ``(…, bands)`` with the filters' weights."""
        for bins, columns, weights in self._filter_pieces:
            np.matmul(spectra[..., bins], weights, out=bands[..., columns])


def _group_neighbours(starts: NDArray[np.int64], window: int) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of windows that lie close enough to share frames, a few at a time."""
    for first in range(0, len(starts), _WINDOW_BATCH):
        end = min(first + _WINDOW_BATCH, len(starts))
        if starts[end - 1] - starts[first] <= (end - first) * window:
            yield first, end
        else:
            yield from ((number, number + 1) for number in range(first, end))


def band_filters(bins: int, bands: int, scale: str) -> Floats:
    """Return triangles over the FFT's bins, shape (bins, bands): every band has weight in some bin.

    On the ``"log"`` scale the centres are evenly spaced in log frequency from the second bin to the last one,
    so a machine that runs faster is the same picture, shifted.
    """
    last = bins - 1
    centres = np.geomspace(1, last, bands) if scale == "log" else np.linspace(1, last, bands)
    padded = np.concatenate([[2 * centres[0] - centres[1]], centres, [2 * centres[-1] - centres[-2]]])
    below = np.maximum(np.diff(padded)[:-1], 1.0)
    above = np.maximum(np.diff(padded)[1:], 1.0)
    distance = np.arange(bins)[:, None] - centres
    weights = np.clip(1 - np.where(distance < 0, -distance / below, distance / above), 0, None)
    weights[0] = 0
    normalized: Floats = (weights / weights.sum(axis=0)).astype(np.float32)
    return normalized


def subtract_mean(images: Floats, normalise: str) -> None:
    """Subtract the mean of each window, or of the recording, from images ``(n, images, bands, frames)``."""
    if normalise != "none":
        axes = (2, 3) if normalise == "window" else (0, 2, 3)
        images -= images.mean(axis=axes, keepdims=True, dtype=np.float32)


def window_starts(samples: int, window: int, hop: int, grid: int = 1) -> NDArray[np.int64]:
    """Return first samples of the windows of a recording; the last window ends less than ``grid`` before it.

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
    """Return a recording at another sampling rate, by its Fourier transform (band-limited, no aliasing).

    Raises
    ------
    InvalidContent
        It would have too many samples, which means that its stated rate is wrong.
    """
    count = round(len(samples) * to_hz / from_hz)
    if count == len(samples) or not len(samples):
        return samples
    if not count:
        return samples[:0]
    if count > max(len(samples), _MAX_RESAMPLED):
        raise InvalidContent(
            f"{len(samples):,} samples at {from_hz:g} Hz would be {count:,} at {to_hz:g} Hz, and "
            f"{_MAX_RESAMPLED:,} at most are made: look at its sampling rate"
        )
    spectrum = np.fft.rfft(samples, axis=0)[: count // 2 + 1]
    return (np.fft.irfft(spectrum, count, axis=0) * (count / len(samples))).astype(np.float32)
