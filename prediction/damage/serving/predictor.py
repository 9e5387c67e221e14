"""Serve the exported network with onnxruntime and NumPy, without torch and without a pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, Self, TypedDict

import numpy as np

from prediction.contract import Options, Predictor, Resources
from prediction.damage.model.novelty import Novelty
from prediction.damage.model.rules import NETWORK, LinearRule
from prediction.damage.serving.postprocess import DamagePostprocessor, DamagePrediction, NetworkFunction
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.onnx import OnnxModel

RULE_FILE = "rule.npz"


class RecordingInput(TypedDict):
    """A recording to classify: a row a sample, a column a channel; without a rate the request's is used."""

    samples: Sequence[Sequence[float]]
    sampling_rate_hz: NotRequired[float | None]


class DamagePredictor(Predictor[RecordingInput, DamagePrediction]):
    """Classifies recordings.

    Parameters
    ----------
    network : callable
        ``(n, images, bands, frames)`` in, ``(n, classes)`` logits out.
    """

    def __init__(self, postprocessor: DamagePostprocessor, network: NetworkFunction) -> None:
        self.postprocessor = postprocessor
        self.network = network

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> Self:
        info = json.loads((folder / "model_info.json").read_text(encoding="utf-8"))
        postprocessor = DamagePostprocessor(
            classes=tuple(info["classes"]),
            transform=InputTransform.from_dict(info["sound"]),
            temperature=info["temperature"],
            novelty=Novelty.load(folder / "novelty.npz"),
            # Version 0.1 always served the network.
            model_used=info.get("model_used", NETWORK),
        )
        if postprocessor.model_used != NETWORK:
            return cls(postprocessor, LinearRule.load(folder / RULE_FILE))
        return cls(postprocessor, OnnxModel(folder / "model.onnx"))

    def predict(self, inputs: Sequence[RecordingInput], options: Options) -> list[DamagePrediction]:
        """Classify each recording; ``sampling_rate_hz`` of the options is for recordings without a rate."""
        return [
            self.postprocessor.predict(
                np.asarray(recording["samples"], dtype=np.float32),
                recording.get("sampling_rate_hz") or options.get("sampling_rate_hz"),
                self.network,
            )
            for recording in inputs
        ]

    @classmethod
    def agrees(cls, answer: DamagePrediction, other: DamagePrediction) -> bool:
        """Return whether the classes are equal."""
        return answer["class"] == other["class"]
