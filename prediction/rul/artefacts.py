"""The files of a version: what the server reads, and what people download."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from prediction.model_files import MODEL_INFO
from prediction.neural.export import describe_loading, export_network, training_history
from prediction.rul.evaluation.evaluate import PerformanceMetrics
from prediction.rul.metadata import ModelMetadata
from prediction.rul.monitoring.input_drift import PsiBaseline
from prediction.rul.monitoring.production_metrics import ExpectedError
from prediction.rul.networks import Ensemble, network_arguments
from prediction.rul.prepare import PreparedFleet
from prediction.rul.training import RulModel
from storage.filesystem.checked_write import save_json

FORMAT: Final = 1
_PARITY_EXAMPLES: Final = 64
# Outputs are hours: the allowed difference grows with the horizon.
_PARITY_TOLERANCE: Final = 1e-4
_OWN_CLASS: Final = (
    "The keys of the weights begin with the names of the layers in the class above. horizon and rows are no weights, "
    "so load with strict=False: give the network only the rows of a window that rows names, counted from 0 (all "
    "where there is no such key), and multiply its output by horizon to get hours."
)


def write_files(
    model: RulModel,
    prepared: PreparedFleet,
    performance: PerformanceMetrics,
    expected: ExpectedError,
    folder: Path,
) -> None:
    """Write every file of a version into an empty folder.

    Raises
    ------
    ParityFailed
        The ONNX file does not give the outputs of the network.
    """
    windows = prepared.test.subsample(_PARITY_EXAMPLES).windows()
    tolerance = _PARITY_TOLERANCE * prepared.preprocessor.horizon_hours
    opset = model.options.get("onnx_opset")
    deviation = export_network(
        model.network, windows, folder, "rul_predictor.onnx", atol=tolerance, opset=opset
    )
    save_json(
        folder / "model_metadata.json", build_metadata(model, prepared, performance, expected, deviation)
    )
    network = model.network.members[0] if isinstance(model.network, Ensemble) else model.network
    arguments = {"input_size": windows.shape[2], **network_arguments(model.options)}
    loading = describe_loading(type(network), arguments, _OWN_CLASS, model.options["members"])
    save_json(folder / MODEL_INFO, {"pytorch": loading})
    # The history of the first member, and those of all members beside it.
    members = [training_history(run) for run in model.runs]
    save_json(folder / "training_history.json", {**members[0], "members": members})
    save_json(folder / "data_validation.json", prepared.validation_report)


def build_metadata(
    model: RulModel,
    prepared: PreparedFleet,
    performance: PerformanceMetrics,
    expected: ExpectedError,
    deviation: float,
) -> ModelMetadata:
    """Return ``model_metadata.json``: everything but the weights."""
    now = datetime.now(UTC)
    baseline = PsiBaseline.fit(prepared.preprocessor.channels, prepared.train, model.options["seed"])
    metadata: ModelMetadata = {
        "format": FORMAT,
        "model_version": now.strftime("%Y%m%d_%H%M%S"),
        "model_type": model.options["model_type"],
        "training_date": now.isoformat(timespec="seconds"),
        "performance_metrics": performance,
        "serving": prepared.preprocessor.to_dict(),
        "residuals": model.residuals.to_dict(),
        "options": dict(model.options),
        "data": prepared.facts,
        "inputs": baseline.to_dict(),
        "fingerprint": prepared.fingerprint,
        "best_epochs": [run.best_epoch for run in model.runs],
        "onnx_deviation_hours": deviation,
        "promise": expected.to_dict(),
    }
    if model.held_out is not None:
        # With these a later model is compared on all devices, although this one has learnt from them.
        hours = np.round(model.held_out, 3)
        metadata["held_out"] = {
            device.device_id: {"times": device.times.tolist(), "hours": hours[device.positions].tolist()}
            for device in prepared.held_out_rows()
        }
    return metadata
