"""What answers: the exported network on onnxruntime and NumPy, without torch and without a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from errors import InvalidContent
from prediction.contract import JSON, Predictor, Resources
from prediction.onnx import OnnxModel
from prediction.rul.evaluation.intervals import Residuals
from prediction.rul.preprocessing.preprocessor import Preprocessor, answer, telemetry_from_rows

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class RulPredictor(Predictor):
    """Remaining useful life by one model.

    Parameters
    ----------
    network : callable
        Windows ``(n, window, channels)`` in, hours ``(n, outputs)`` out.
    """

    def __init__(self, serving: Preprocessor, residuals: Residuals, network: Network) -> None:
        self.serving = serving
        self.residuals = residuals
        self.network = network

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> RulPredictor:
        told = json.loads((folder / "model_metadata.json").read_text(encoding="utf-8"))
        serving, residuals = Preprocessor.from_dict(told["serving"]), Residuals.from_dict(told["residuals"])
        return cls(serving, residuals, OnnxModel(folder / "rul_predictor.onnx"))

    def predict(self, inputs: Sequence[Any], options: JSON) -> list[JSON]:
        """One answer a device; what the options say goes before what the input says."""
        if not inputs:
            return []
        devices = [_rows_of(asked) for asked in inputs]
        windows = np.stack([self.serving.window_of(recorded) for recorded in devices])
        output = self.network(windows)
        hours = output[:, output.shape[1] // 2]
        said = {name: value for name, value in options.items() if name in {"coverage", "costs"}}
        return [
            answer(self.serving, self.residuals, hour, {**asked, **said}, recorded)
            for hour, asked, recorded in zip(hours, inputs, devices, strict=True)
        ]


def _rows_of(asked: JSON) -> Any:
    if not asked.get("rows"):
        raise InvalidContent("There are no rows to answer from")
    return telemetry_from_rows(asked["rows"], asked["times"], asked.get("device_id"))
