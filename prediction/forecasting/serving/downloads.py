"""Write the files of a version: what the server reads, and what people take away and open without it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import joblib
import numpy as np
from sklearn.preprocessing import StandardScaler

from prediction.forecasting.data.preparation import PreparedForecastData
from prediction.forecasting.data.series import ForecastSeries, StandardScaling
from prediction.forecasting.model.fitting import TrainedForecaster, list_inputs
from prediction.forecasting.networks import Forecaster
from prediction.forecasting.options import CHANNEL_ARCHITECTURES
from prediction.forecasting.serving.figures import forecast_last_window
from prediction.forecasting.serving.plot import plot_forecast
from prediction.forecasting.serving.postprocess import ForecastPostprocessor
from prediction.neural.export import FORMAT, describe_loading, export_network, training_history
from prediction.onnx import export
from storage.filesystem.checked_write import save_arrays, save_json, write_checked

_PARITY_EXAMPLES = 64
_OWN_CLASS = (
    "The keys of the weights begin with the names of the layers in the class above. Three keys are no weights, so load "
    "with strict=False: where residual_to_last is 1, subtract the last row from every row of the window, and add the "
    "columns target_columns of that row to the output. Where there are effects, the rows of the horizon follow those "
    "of the window in the input: subtract rows @ effects from the targets of the window, and add it to the output."
)
# The weights that were evaluated, where others serve that know all rows: a later training compares itself with them.
EVALUATED_FILE = "evaluated.onnx"


def write_files(
    model: TrainedForecaster, prepared: PreparedForecastData, scores: Mapping[str, object], folder: Path
) -> None:
    """Write every file of a version into an empty folder.

    Raises
    ------
    ParityFailed
        The ONNX file does not answer like the network.
    """
    test = prepared.test
    series, scaler = test.series, test.series.scaler
    windows = list_inputs(test, test.subsample(_PARITY_EXAMPLES).starts, model.network)
    opset = model.options.get("onnx_opset")
    deviation = export_network(model.network, windows, folder, opset=opset)
    evaluated = model.evaluated or model
    if is_refit := evaluated.network is not model.network:
        export(evaluated.network, np.repeat(windows[:1], 2, axis=0), folder / EVALUATED_FILE, opset)
    pickled = io.BytesIO()
    joblib.dump(to_sklearn(scaler), pickled)
    write_checked(folder / "scaler.joblib", pickled.getbuffer())
    # The array keeps the name that version 0.1 gave it.
    save_arrays(folder / "intervals.npz", margins=model.half_widths)
    info = {
        "format": FORMAT,
        "family": "forecasting",
        "architecture": model.architecture,
        "class": f"prediction.forecasting.networks:{type(model.network).__name__}",
        "arguments": model.arguments,
        "pytorch": describe_loading(type(model.network), model.arguments, _OWN_CLASS),
        "columns": list(series.columns),
        "target_columns": list(series.target_names),
        "target_indices": list(series.targets),
        **_describe_future(model.network, series),
        "window_size": series.window,
        "future_steps": series.steps,
        "season": series.season,
        "model_used": model.evaluation.model_used,
        "time_column": series.time_column,
        "time_format": series.time_format,
        "step_ns": series.step.nanoseconds if series.step else None,
        "step": asdict(series.step) if series.step else None,
        "scaler": {"mean": scaler.mean.tolist(), "scale": scaler.scale.tolist(), "rows": scaler.count},
        "options": dict(model.options),
        "data": dict(prepared.facts),
        "fingerprint": prepared.fingerprint,
        "best_epoch": model.run.best_epoch,
        "refit": _describe_refit(series) if is_refit else None,
        "compared": model.trials,
        "scores": scores,
        "onnx_deviation": deviation,
    }
    save_json(folder / "model_info.json", info)
    save_json(folder / "training_history.json", training_history(model.run))
    write_checked(folder / "forecast.png", plot_forecast(forecast_last_window(evaluated, test)))


def _describe_future(network: Forecaster, series: ForecastSeries) -> dict[str, object]:
    """Return the columns known in advance, and by target what one unit of each changes, in the target's units."""
    columns, scale, effects = series.columns, series.scaler.scale, network.effects
    return {
        "future_columns": [columns[known] for known in series.future],
        # Rows of the horizon behind the window in the input of model.onnx.
        "future_rows": 0 if effects is None else series.steps,
        "future_effects": {}
        if effects is None
        else {
            columns[target]: {
                columns[known]: float(effects[known, number] * scale[target] / scale[known])
                for known in series.future
            }
            for number, target in enumerate(series.targets)
        },
    }


def _describe_refit(series: ForecastSeries) -> dict[str, int | None]:
    """Return the last row that the weights know which serve."""
    last = len(series.z) - 1
    return {
        "known_until": None if series.times is None else int(series.times[last]),
        "known_until_row": last,
    }


def to_sklearn(scaling: StandardScaling) -> StandardScaler:
    """Return the scaling as a fitted scikit-learn scaler."""
    scaler = StandardScaler()
    scaler.mean_, scaler.scale_, scaler.var_ = scaling.mean, scaling.scale, scaling.scale**2
    scaler.n_features_in_, scaler.n_samples_seen_ = len(scaling.mean), scaling.count
    return scaler


def create_postprocessor(model: TrainedForecaster, series: ForecastSeries) -> ForecastPostprocessor:
    """Return the postprocessor of the trained model, as its files will describe it."""
    return ForecastPostprocessor(
        columns=series.columns,
        targets=series.targets,
        window=series.window,
        steps=series.steps,
        scaler=series.scaler,
        half_widths=model.half_widths,
        time_column=series.time_column,
        time_format=series.time_format,
        step=series.step,
        model_used=model.evaluation.model_used,
        future=() if model.network.effects is None else series.future,
        is_channel_network=model.architecture in CHANNEL_ARCHITECTURES,
    )
