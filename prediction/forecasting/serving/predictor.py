"""Serve the exported network with onnxruntime and NumPy, without torch and without a pickle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, Self, TypedDict

import numpy as np
from numpy.typing import NDArray

from prediction.contract import Options, Predictor, Resources
from prediction.forecasting.data.series import StandardScaling
from prediction.forecasting.model.rules import NETWORK, create_rule
from prediction.forecasting.options import CHANNEL_ARCHITECTURES
from prediction.forecasting.query_options import REFUSE
from prediction.forecasting.serving.postprocess import ForecastPostprocessor, ForecastPrediction, InputRows
from prediction.onnx import OnnxModel
from storage.calendar_steps import CalendarStep, StepKind

NetworkFunction = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class SeriesInput(TypedDict):
    """A series to forecast; what stands beside its rows are wishes of this series alone."""

    rows: InputRows
    coverage: NotRequired[float | None]
    degradation_threshold: NotRequired[Mapping[str, float] | float | None]
    missing_cells: NotRequired[str | None]
    future: NotRequired[InputRows | None]


class ForecastingPredictor(Predictor[SeriesInput, ForecastPrediction]):
    """Forecasts of one model.

    Parameters
    ----------
    network : callable
        ``(n, window, n_features)`` z-scores in, ``(n, steps * n_targets)`` z-scores out; where columns are known in
        advance, the rows of the horizon are behind those of the window.
    """

    def __init__(self, postprocessor: ForecastPostprocessor, network: NetworkFunction) -> None:
        self.postprocessor = postprocessor
        self.network = network

    @classmethod
    def load(cls, folder: Path, resources: Resources) -> Self:
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
            step=_read_step(info),
            # Version 0.1 always served the network.
            model_used=info.get("model_used", NETWORK),
            future=_read_future(info),
            is_channel_network=info["architecture"] in CHANNEL_ARCHITECTURES,
        )
        if postprocessor.model_used == NETWORK:
            return cls(postprocessor, OnnxModel(folder / "model.onnx"))
        rule = create_rule(
            postprocessor.model_used, postprocessor.targets, postprocessor.steps, info["season"]
        )
        return cls(postprocessor, rule)

    def predict(self, inputs: Sequence[SeriesInput], options: Options) -> list[ForecastPrediction]:
        """Forecast each series; the request's options override those of a series."""
        if not inputs:
            return []
        queries = [{**series, **options} for series in inputs]
        split = [self.postprocessor.split_future(series["rows"], series.get("future")) for series in inputs]
        windows = [
            self.postprocessor.extract_window(
                rows, future, refuse_missing=query.get("missing_cells") == REFUSE
            )
            for (rows, future), query in zip(split, queries, strict=True)
        ]
        z = self.network(np.stack([window.z for window in windows]))
        output = z.reshape(len(inputs), self.postprocessor.steps, -1)
        return [
            self.postprocessor.build_prediction(rows, future, window, z, query)
            for (rows, future), window, z, query in zip(split, windows, output, queries, strict=True)
        ]

    @classmethod
    def agrees(cls, answer: ForecastPrediction, other: ForecastPrediction) -> bool:
        """Return whether every step of the other forecast lies in its interval."""
        shapes = [
            {name: len(target["values"]) for name, target in a["targets"].items()} for a in (answer, other)
        ]
        return shapes[0] == shapes[1] and all(
            low <= value <= high
            for name, target in answer["targets"].items()
            for low, value, high in zip(
                target["lower"], other["targets"][name]["values"], target["upper"], strict=True
            )
        )


def _read_future(info: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the columns whose values over the horizon the network takes; versions before 0.2 have none."""
    return tuple(map(info["columns"].index, info["future_columns"])) if info.get("future_rows") else ()


def _read_step(info: Mapping[str, Any]) -> CalendarStep | None:
    """Return the step between two rows; versions before 0.2 know its length only."""
    if step := info.get("step"):
        return CalendarStep(step["nanoseconds"], StepKind(step["kind"]), step["months"], step["time_zone"])
    return None if info["step_ns"] is None else CalendarStep.from_length(info["step_ns"])
