"""From a recording and a network's output to a prediction: class, probabilities, timeline, novelty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypedDict

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent, NotEnoughData
from prediction.damage.evaluation.metrics import Numbers, softmax
from prediction.damage.model.novelty import Novelty
from prediction.damage.model.rules import NETWORK
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.damage.spectrograms.spectrogram import Floats, Spectrograms

# Images in, logits out.
NetworkFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]

UNKNOWN_CLASS: Final = "none of the known classes"
MAX_WINDOWS: Final = 2_000


# One window of a recording. In this form because ``class`` is a word of the language.
WindowClass = TypedDict(
    "WindowClass",
    {"from_seconds": float, "to_seconds": float, "class": str, "probability": float, "novelty": float},
)

# The prediction for a recording; ``known`` is False where the sound is like none of the classes, and then
# ``nearest_class`` says which it resembles most.
DamagePrediction = TypedDict(
    "DamagePrediction",
    {
        "class": str,
        "known": bool,
        "nearest_class": str,
        "probabilities": dict[str, float],
        "novelty": float,
        "windows": int,
        "model_used": str,
        "timeline": list[WindowClass],
    },
)


@dataclass(frozen=True)
class DamagePostprocessor:
    """What a prediction needs besides the network.

    Parameters
    ----------
    model_used : str
        ``"network"``, or the simple rule that answers because the network errs more.
    """

    classes: tuple[str, ...]
    transform: InputTransform
    temperature: float
    novelty: Novelty
    model_used: str = NETWORK

    def to_probabilities(self, logits: NDArray[np.floating]) -> Numbers:
        """Return calibrated probabilities of windows."""
        return softmax(logits, self.temperature)

    def predict(self, samples: Floats, rate_hz: float | None, network: NetworkFunction) -> DamagePrediction:
        """Return the prediction for one recording.

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
        channels = self.transform.channels
        if samples.shape[1] != len(channels):
            is_waveform = isinstance(self.transform.spectrograms, Spectrograms)
            unit = "channels" if is_waveform else "bands of spectrograms"
            raise InvalidContent(
                f"This model takes {len(channels)} {unit} ({', '.join(channels)[:200]}); "
                f"the recording has {samples.shape[1]}"
            )
        images, starts = self.transform.windows(samples, rate_hz, MAX_WINDOWS)
        if not len(images):
            raise NotEnoughData(
                f"This model needs windows of {self.transform.window_seconds:g} s without missing samples; "
                "the recording has none"
            )
        probabilities = self.to_probabilities(network(images))
        novelty = self.novelty.score(images[:, : self.transform.levels])
        vote, median_novelty = probabilities.mean(axis=0), float(np.median(novelty))
        nearest = self.classes[int(vote.argmax())]
        rate, window = self.transform.sampling_rate_hz, self.transform.spectrograms.window_size
        return {
            "class": UNKNOWN_CLASS if median_novelty > 1 else nearest,
            "known": median_novelty <= 1,
            "nearest_class": nearest,
            "probabilities": dict(zip(self.classes, map(float, vote), strict=True)),
            "novelty": median_novelty,
            "windows": len(starts),
            "model_used": self.model_used,
            "timeline": [
                {
                    "from_seconds": float(start / rate),
                    "to_seconds": float((start + window) / rate),
                    "class": UNKNOWN_CLASS if window_novelty > 1 else self.classes[int(row.argmax())],
                    "probability": float(row.max()),
                    "novelty": float(window_novelty),
                }
                for start, row, window_novelty in zip(starts, probabilities, novelty, strict=True)
            ],
        }
