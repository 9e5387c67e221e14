"""Serving: the exported network on onnxruntime and NumPy, without torch and without a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from prediction.contract import Options, Predictor, Resources
from prediction.onnx import OnnxModel
from prediction.rul.evaluation.intervals import Residuals
from prediction.rul.metadata import ModelMetadata
from prediction.rul.preprocessing.preprocessor import (
    Preprocessor,
    RulInput,
    RulPrediction,
    build_prediction,
)
from prediction.telemetry import telemetry_from_rows

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class RulPredictor(Predictor[RulInput, RulPrediction]):
    """Remaining useful life by one model.

    Parameters
    ----------
    network : callable
        Windows ``(n, window, channels)`` in, hours ``(n, outputs)`` out.
    """

    def __init__(self, preprocessor: Preprocessor, residuals: Residuals, network: Network) -> None:
        self.preprocessor = preprocessor
        self.residuals = residuals
        self.network = network

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> Self:
        metadata: ModelMetadata = json.loads((folder / "model_metadata.json").read_text(encoding="utf-8"))
        preprocessor = Preprocessor.from_dict(metadata["serving"])
        residuals = Residuals.from_dict(metadata["residuals"])
        return cls(preprocessor, residuals, OnnxModel(folder / "rul_predictor.onnx"))

    def predict(self, inputs: Sequence[RulInput], options: Options) -> list[RulPrediction]:
        """Return one prediction for each device; options override those of the input."""
        if not inputs:
            return []
        if not all(request.get("rows") for request in inputs):
            raise InvalidContent("There are no rows to answer from")
        devices = [
            telemetry_from_rows(request["rows"], request["times"], request.get("device_id"))
            for request in inputs
        ]
        output = self.network(np.stack([self.preprocessor.last_window(device) for device in devices]))
        # One output, or quantiles with the median in the middle.
        hours = output[:, output.shape[1] // 2]
        requests: list[RulInput] = [{**request} for request in inputs]
        for request in requests:
            if "coverage" in options:
                request["coverage"] = options["coverage"]
            if "costs" in options:
                request["costs"] = options["costs"]
        return [
            build_prediction(self.preprocessor, self.residuals, hour, request, device)
            for hour, request, device in zip(hours, requests, devices, strict=True)
        ]

    @classmethod
    def agrees(cls, answer: RulPrediction, other: RulPrediction) -> bool:
        """Return whether the other hours lie in the interval, and the verdicts are the same."""
        interval = answer["interval"]
        is_within = interval["lower"] <= other["rul_hours"] <= interval["upper"]
        return is_within and answer["health_status"] == other["health_status"]
