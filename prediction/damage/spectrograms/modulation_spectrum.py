"""Modulation spectra: how often the power at each frequency swells, whatever resonates and however loud."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_FLOOR: Final = 1e-3
_MIN_POWER: Final = 1e-20
_STEPS_PER_FRAME: Final = 8
# Modulation rates that are shown, downwards from the highest that the frames resolve.
_OCTAVES: Final = 7


@dataclass(frozen=True)
class ModulationSpectra:
    """How a window of samples becomes the image of its modulations.

    Parameters
    ----------
    window_size, frame : int
        Samples of a window, and of the short frames whose power is followed through it.
    grid : int
        Windows begin at multiples of it.
    rows, columns : int
        Size of the image: modulation rates on a log scale, and carrier frequencies on a linear one.
    """

    window_size: int
    frame: int
    grid: int
    rows: int
    columns: int

    @cached_property
    def hop(self) -> int:
        """Samples from one frame to the next: an eighth of a frame, or less so that windows share frames."""
        longest = max(1, self.frame // _STEPS_PER_FRAME)
        return next(step for step in range(longest, 0, -1) if self.grid % step == 0)

    @property
    def frames(self) -> int:
        """Frames of one window."""
        return 1 + (self.window_size - self.frame) // self.hop

    @cached_property
    def taper(self) -> Floats:
        """A periodic Hann window over one frame."""
        window: Floats = hann(self.frame).astype(np.float32)
        return window

    @cached_property
    def slow_taper(self) -> Floats:
        """A periodic Hann window over the frames of one window, of unit power, as a column."""
        window = hann(self.frames)
        column: Floats = (window / np.sqrt((window**2).sum())).astype(np.float32)[:, None]
        return column

    @cached_property
    def rates(self) -> Floats:
        """Weights of the modulation rates in each row, shape (rows, frames // 2 + 1)."""
        count = self.frames // 2 + 1
        centres = np.geomspace(max(1, count >> _OCTAVES), count - 1, self.rows)
        step = np.maximum(np.gradient(centres), 1.0)
        weights = np.clip(1 - np.abs(np.arange(count) - centres[:, None]) / step[:, None], 0, None)
        normalized: Floats = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        return normalized

    @cached_property
    def carriers(self) -> Floats:
        """Weights of the frames' frequencies except 0 in each column, shape (frame // 2, columns)."""
        edges = np.linspace(0, self.frame // 2, self.columns + 1)
        frequency = np.arange(self.frame // 2)[:, None]
        weights = np.clip(np.minimum(frequency + 1, edges[1:]) - np.maximum(frequency, edges[:-1]), 0, None)
        normalized: Floats = (weights / weights.sum(axis=0)).astype(np.float32)
        return normalized

    def compute(self, signals: Floats, starts: NDArray[np.int64]) -> Floats:
        """Return images of windows that begin at these samples, shape (n, signals, rows, columns).

        Natural logarithm of the power with which each carrier's level swells; noise has about 1 and less.

        Parameters
        ----------
        signals : ndarray, shape (signals, samples)
        """
        from scipy.fft import rfft

        frames = sliding_window_view(signals, self.frame, axis=1)[:, :: self.hop]
        spectra = rfft(frames * self.taper, axis=2)[:, :, 1:]
        power = spectra.real**2 + spectra.imag**2
        images = np.empty((len(starts), len(signals), self.rows, self.columns), dtype=np.float32)
        for number, first in enumerate(starts // self.hop):
            window = power[:, first : first + self.frames]
            # Relative to each carrier's own mean, so that neither loudness nor resonance counts.
            mean = window.mean(axis=1, keepdims=True) + np.float32(_MIN_POWER)
            modulation = rfft((window / mean - 1) * self.slow_taper, axis=1)
            images[number] = self.rates @ (modulation.real**2 + modulation.imag**2) @ self.carriers
        images += np.float32(_FLOOR)
        logarithms: Floats = np.log(images, out=images)
        return logarithms


def hann(count: int) -> NDArray[np.float64]:
    """Return a periodic Hann window."""
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / count)
    return window
