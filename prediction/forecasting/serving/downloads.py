"""The files of a version: what the server reads, and what people take away and open without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.preprocessing import StandardScaler

from prediction.contract import JSON
from prediction.forecasting.data.preparation import PreparedForecastData
from prediction.forecasting.data.series import ForecastSeries, StandardScaling, WindowSplit
from prediction.forecasting.intervals import interpolate_half_widths
from prediction.forecasting.model.fitting import TrainedForecaster, forecast_function
from prediction.forecasting.serving.plot import plot_forecast
from prediction.forecasting.serving.postprocess import DEFAULT_COVERAGE, ForecastPostprocessor
from prediction.onnx import check_parity, export

FORMAT = 1
_PARITY_EXAMPLES = 64


def write(model: TrainedForecaster, prepared: PreparedForecastData, scores: JSON, folder: Path) -> None:
    """Write every file of a version into an empty folder.

    Raises
    ------
    ParityFailed
        The ONNX file does not answer like the network.
    """
    test: WindowSplit = prepared.test
    windows = test.histories(test.subsample(_PARITY_EXAMPLES).starts)
    export(model.network, np.repeat(windows[:1], 2, axis=0), folder / "model.onnx")
    deviation = check_parity(model.network, folder / "model.onnx", windows)
    torch.save(model.network.state_dict(), folder / "model.pth")
    save_file({name: value.contiguous() for name, value in model.network.state_dict().items()},
              folder / "model.safetensors")  # fmt: skip
    joblib.dump(standard_scaler(test.series.scaler), folder / "scaler.joblib")
    np.savez(folder / "intervals.npz", margins=model.margins)
    _write_json(
        folder / "model_info.json", {**info(model, prepared), "scores": scores, "onnx_deviation": deviation}
    )
    _write_json(folder / "training_history.json", history(model))
    _draw_last(model, test, folder / "forecast.png")


def info(model: TrainedForecaster, prepared: PreparedForecastData) -> JSON:
    """``model_info.json``: everything but the weights."""
    series: ForecastSeries = prepared.test.series
    scaler = series.scaler
    return {
        "format": FORMAT,
        "family": "forecasting",
        "architecture": model.architecture,
        "class": f"prediction.forecasting.networks:{type(model.network).__name__}",
        "arguments": model.given,
        "columns": list(series.columns),
        "target_columns": list(series.target_names),
        "target_indices": list(series.targets),
        "window_size": series.window,
        "future_steps": series.steps,
        "time_column": series.time_column,
        "time_format": series.time_format,
        "step_ns": series.step_ns,
        "scaler": {"mean": scaler.mean.tolist(), "scale": scaler.scale.tolist(), "rows": scaler.count},
        "options": dict(model.options),
        "data": dict(prepared.facts),
        "fingerprint": prepared.fingerprint,
        "best_epoch": model.run.best_epoch,
        "compared": model.tried,
    }


def history(model: TrainedForecaster) -> JSON:
    """``training_history.json``: one entry an epoch."""
    return {
        "format": FORMAT,
        "epochs": model.run.history,
        "best_epoch": model.run.best_epoch,
        "stopped": model.run.stop_reason or "the last epoch",
    }


def standard_scaler(scaler: StandardScaling) -> StandardScaler:
    """The scaler as the library people know, fitted."""
    made = StandardScaler()
    made.mean_, made.scale_, made.var_ = scaler.mean, scaler.scale, scaler.scale**2
    made.n_features_in_, made.n_samples_seen_ = len(scaler.mean), scaler.count
    return made


def answering(model: TrainedForecaster, series: ForecastSeries) -> ForecastPostprocessor:
    """How the saved copy will answer, before it is saved."""
    return ForecastPostprocessor(
        columns=series.columns,
        targets=series.targets,
        window=series.window,
        steps=series.steps,
        scaler=series.scaler,
        margins=model.margins,
        time_column=series.time_column,
        time_format=series.time_format,
        step_ns=series.step_ns,
    )


def _draw_last(model: TrainedForecaster, test: WindowSplit, target: Path) -> None:
    series, last = test.series, test.starts[-1:]
    columns = list(series.targets)
    past = test.histories(last)[0][:, columns]
    plot_forecast(
        series.target_names,
        target,
        history=series.scaler.inverse_transform(past, columns),
        truth=series.scaler.inverse_transform(test.futures(last)[0], columns),
        forecast=series.scaler.inverse_transform(forecast_function(model.network)(test, last)[0], columns),
        half=interpolate_half_widths(model.margins, DEFAULT_COVERAGE) * series.scaler.scale[columns],
    )


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
