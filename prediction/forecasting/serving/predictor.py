"""What answers: the exported network on onnxruntime and NumPy, without torch and without a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON, Predictor, Resources
from prediction.forecasting.data.series import StandardScaling
from prediction.forecasting.serving.postprocess import ForecastPostprocessor
from prediction.onnx import OnnxModel

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class ForecastingPredictor(Predictor):
    """Forecasts of one model.

    Parameters
    ----------
    network : callable
        ``(n, window, n_features)`` z-scores in, ``(n, steps * n_targets)`` z-scores out.
    """

    def __init__(self, answering: ForecastPostprocessor, network: Network) -> None:
        self.answering = answering
        self.network = network

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> ForecastingPredictor:
        return cls(read_answering(folder), OnnxModel(folder / "model.onnx"))

    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
        """One answer a series; what the options say goes before what the input says."""
        if not inputs:
            return []
        windows = np.stack([self.answering.window_of(one["rows"]) for one in inputs])
        output = self.network(windows).reshape(len(inputs), self.answering.steps, -1)
        return [
            self.answering.answer(one["rows"], z, {**one, **options})
            for one, z in zip(inputs, output, strict=True)
        ]


def read_answering(folder: Path) -> ForecastPostprocessor:
    """What ``model_info.json`` and ``intervals.npz`` of a version's folder say."""
    info = json.loads((folder / "model_info.json").read_text(encoding="utf-8"))
    scaler = info["scaler"]
    with np.load(folder / "intervals.npz", allow_pickle=False) as kept:
        margins = kept["margins"]
    return ForecastPostprocessor(
        columns=tuple(info["columns"]),
        targets=tuple(info["target_indices"]),
        window=info["window_size"],
        steps=info["future_steps"],
        scaler=StandardScaling(np.array(scaler["mean"]), np.array(scaler["scale"]), scaler["rows"]),
        margins=margins,
        time_column=info["time_column"],
        time_format=info.get("time_format"),
        step_ns=info["step_ns"],
    )
