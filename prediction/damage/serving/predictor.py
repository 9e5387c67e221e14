"""What answers: the exported network on onnxruntime and NumPy, without torch and without a pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prediction.contract import JSON, Predictor, Resources
from prediction.damage.model.novelty import Novelty
from prediction.damage.serving.postprocess import DamagePostprocessor, Network
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.onnx import OnnxModel


class DamagePredictor(Predictor):
    """Tells the class of recordings.

    Parameters
    ----------
    network : callable
        ``(n, images, bands, frames)`` in, ``(n, classes)`` logits out.
    """

    def __init__(self, answering: DamagePostprocessor, network: Network) -> None:
        self.answering = answering
        self.network = network

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> DamagePredictor:
        return cls(read_answering(folder), OnnxModel(folder / "model.onnx"))

    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
        """One answer a recording; ``sampling_rate_hz`` of the options counts where a recording has none."""
        return [
            self.answering.answer(
                np.asarray(one["samples"], dtype=np.float32),
                one.get("sampling_rate_hz") or options.get("sampling_rate_hz"),
                self.network,
            )
            for one in inputs
        ]


def read_answering(folder: Path) -> DamagePostprocessor:
    """What ``model_info.json`` and ``novelty.npz`` of a version's folder say."""
    info = json.loads((folder / "model_info.json").read_text(encoding="utf-8"))
    return DamagePostprocessor(
        classes=tuple(info["classes"]),
        sound=InputTransform.from_dict(info["sound"]),
        temperature=info["temperature"],
        novelty=Novelty.read(folder / "novelty.npz"),
    )
