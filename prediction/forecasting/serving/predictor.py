"""Serve the exported network with onnxruntime and NumPy, without torch and without a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.contract import JSON, Predictor, Resources
from prediction.forecasting.data.series import StandardScaling
from prediction.forecasting.model.rules import NETWORK, create_rule
from prediction.forecasting.options import CHANNEL_ARCHITECTURES
from prediction.forecasting.serving.postprocess import ForecastPostprocessor
from prediction.onnx import OnnxModel

NetworkFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class ForecastingPredictor(Predictor):
    """Forecasts of one model.

    Parameters
    ----------
    network : callable
        ``(n, window, n_features)`` z-scores in, ``(n, steps * n_targets)`` z-scores out.
    """

    def __init__(self, postprocessor: ForecastPostprocessor, network: NetworkFunction) -> None:
        self.postprocessor = postprocessor
        self.network = network

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> ForecastingPredictor:
        info = json.loads((folder / "model_info.json").read_text(encoding="utf-8"))
        scaler = info["scaler"]
        with np.load(folder / "intervals.npz", allow_pickle=False) as stored:
            half_widths = stored["margins"]
        postprocessor = ForecastPostprocessor(
            columns=tuple(info["columns"]),
            targets=tuple(info["target_indices"]),
            window=info["window_size"],
            steps=info["future_steps"],
            scaler=StandardScaling(np.array(scaler["mean"]), np.array(scaler["scale"]), scaler["rows"]),
            half_widths=half_widths,
            time_column=info["time_column"],
            time_format=info.get("time_format"),
            step_ns=info["step_ns"],
            # Version 0.1 always served the network.
            model_used=info.get("model_used", NETWORK),
            uses_targets_only=info["architecture"] in CHANNEL_ARCHITECTURES,
        )
        if postprocessor.model_used == NETWORK:
            return cls(postprocessor, OnnxModel(folder / "model.onnx"))
        rule = create_rule(
            postprocessor.model_used, postprocessor.targets, postprocessor.steps, info["season"]
        )
        return cls(postprocessor, rule)

    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
        """Forecast each series; the request's options override those of a series."""
        if not inputs:
            return []
        windows = np.stack([self.postprocessor.extract_window(series["rows"]) for series in inputs])
        output = self.network(windows).reshape(len(inputs), self.postprocessor.steps, -1)
        return [
            self.postprocessor.build_prediction(series["rows"], z, {**series, **options})
            for series, z in zip(inputs, output, strict=True)
        ]
