"""From a recording and a network's output to an answer: class, probabilities, timeline, honest doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, NotEnoughData
from prediction.contract import JSON
from prediction.damage.evaluation.metrics import softmax
from prediction.damage.model.novelty import Novelty
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.damage.spectrograms.spectrogram import Floats, Spectrograms

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Images in, logits out."""

UNKNOWN_CLASS: Final = "none of the known classes"
MAX_WINDOWS: Final = 2_000


@dataclass(frozen=True)
class DamagePostprocessor:
    """What is known of a model when it answers; the network itself is somebody else's."""

    classes: tuple[str, ...]
    sound: InputTransform
    temperature: float
    novelty: Novelty

    def probabilities(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrated probabilities of windows."""
        return softmax(logits, self.temperature)

    def answer(self, samples: Floats, rate_hz: float | None, network: Network) -> JSON:
        """The answer for one recording.

        Parameters
        ----------
        samples : ndarray, shape (samples, channels)
            NaN where one is missing.
        rate_hz : float, optional
            The training's rate where it is None.

        Raises
        ------
        InvalidContent, NotEnoughData
            It has another number of channels, or no whole window.
        """
        wanted = self.sound.channels
        if samples.shape[1] != len(wanted):
            what = (
                "channels" if isinstance(self.sound.spectrograms, Spectrograms) else "bands of spectrograms"
            )
            raise InvalidContent(
                f"This model listens to {len(wanted)} {what} ({', '.join(wanted)[:200]}); "
                f"the recording has {samples.shape[1]}"
            )
        images, starts = self.sound.heard(samples, rate_hz, MAX_WINDOWS)
        if not len(images):
            seconds = self.sound.spectrograms.window_size / self.sound.sampling_rate_hz
            raise NotEnoughData(
                f"This model looks at windows of {seconds:g} s without missing samples; there is none"
            )
        return self._told(
            self.probabilities(network(images)), self.novelty.of(images[:, : self.sound.levels]), starts
        )

    def _told(
        self, probabilities: NDArray[np.float64], novelty: NDArray[np.float64], starts: NDArray[np.int64]
    ) -> JSON:
        vote = probabilities.mean(axis=0)
        strange = float(np.median(novelty))
        nearest = self.classes[int(vote.argmax())]
        return {
            "class": UNKNOWN_CLASS if strange > 1 else nearest,
            "known": strange <= 1,
            "nearest_class": nearest,
            "probabilities": dict(zip(self.classes, map(float, vote), strict=True)),
            "novelty": strange,
            "windows": len(starts),
            "timeline": self._timeline(probabilities, novelty, starts),
        }

    def _timeline(
        self, probabilities: NDArray[np.float64], novelty: NDArray[np.float64], starts: NDArray[np.int64]
    ) -> list[JSON]:
        rate, window = self.sound.sampling_rate_hz, self.sound.spectrograms.window_size
        told = probabilities.argmax(axis=1)
        return [
            {
                "from_seconds": float(start / rate),
                "to_seconds": float((start + window) / rate),
                "class": UNKNOWN_CLASS if strange > 1 else self.classes[place],
                "probability": float(chances[place]),
                "novelty": float(strange),
            }
            for start, place, chances, strange in zip(starts, told, probabilities, novelty, strict=True)
        ]
