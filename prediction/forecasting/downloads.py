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

from prediction.contract import JSON, Prepared
from prediction.forecasting.answers import DEFAULT_COVERAGE, Answering
from prediction.forecasting.chart import draw
from prediction.forecasting.intervals import margin
from prediction.forecasting.model import Forecast, forecasts_of
from prediction.forecasting.series import Part, Scaler, Series
from prediction.onnx import export, prove_parity

FORMAT = 1
_PARITY_EXAMPLES = 64


def write(model: Forecast, prepared: Prepared, scores: JSON, folder: Path) -> None:
    """Write every file of a version into an empty folder.

    Raises
    ------
    ParityFailed
        The ONNX file does not answer like the network.
    """
    test: Part = prepared.test
    windows = test.histories(test.thinned(_PARITY_EXAMPLES).starts)
    export(model.network, np.repeat(windows[:1], 2, axis=0), folder / "model.onnx")
    deviation = prove_parity(model.network, folder / "model.onnx", windows)
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


def info(model: Forecast, prepared: Prepared) -> JSON:
    """``model_info.json``: everything but the weights."""
    series: Series = prepared.test.series
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


def history(model: Forecast) -> JSON:
    """``training_history.json``: one entry an epoch."""
    return {
        "format": FORMAT,
        "epochs": model.run.history,
        "best_epoch": model.run.best_epoch,
        "stopped": model.run.stopped or "the last epoch",
    }


def standard_scaler(scaler: Scaler) -> StandardScaler:
    """The scaler as the library people know, fitted."""
    made = StandardScaler()
    made.mean_, made.scale_, made.var_ = scaler.mean, scaler.scale, scaler.scale**2
    made.n_features_in_, made.n_samples_seen_ = len(scaler.mean), scaler.count
    return made


def answering(model: Forecast, series: Series) -> Answering:
    """How the saved copy will answer, before it is saved."""
    return Answering(
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


def _draw_last(model: Forecast, test: Part, target: Path) -> None:
    series, last = test.series, test.starts[-1:]
    columns = list(series.targets)
    past = test.histories(last)[0][:, columns]
    draw(
        series.target_names,
        target,
        history=series.scaler.restored(past, columns),
        truth=series.scaler.restored(test.futures(last)[0], columns),
        forecast=series.scaler.restored(forecasts_of(model.network)(test, last)[0], columns),
        half=margin(model.margins, DEFAULT_COVERAGE) * series.scaler.scale[columns],
    )


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
