"""The files of a version: what the server reads, and what people take away."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from prediction.contract import JSON
from prediction.onnx import check_parity, export
from prediction.rul.model import RulModel
from prediction.rul.monitoring.input_drift import PsiBaseline
from prediction.rul.monitoring.production_metrics import ExpectedError
from prediction.rul.prepare import PreparedFleet

FORMAT = 1
_PARITY_EXAMPLES = 64


def write(
    model: RulModel, prepared: PreparedFleet, performance: JSON, promise: ExpectedError, folder: Path
) -> None:
    """Write every file of a version into an empty folder.

    Raises
    ------
    ParityFailed
        The ONNX file does not answer like the network.
    """
    windows = prepared.test.subsample(_PARITY_EXAMPLES).windows()
    path = folder / "rul_predictor.onnx"
    export(model.network, np.repeat(windows[:1], 2, axis=0), path)
    deviation = check_parity(model.network, path, windows, rtol=1e-4, atol=1e-4 * _horizon(model))
    weights = {name: value.contiguous() for name, value in model.network.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    torch.save(weights, folder / "model.pth")
    told = {**metadata(model, prepared, performance, deviation), "promise": promise.to_dict()}
    _write_json(folder / "model_metadata.json", told)
    _write_json(folder / "training_history.json", history(model))
    _write_json(folder / "data_validation.json", prepared.validation_report)


def metadata(model: RulModel, prepared: PreparedFleet, performance: JSON, deviation: float) -> JSON:
    """``model_metadata.json``: everything but the weights."""
    assert prepared.serving is not None
    now = datetime.now(UTC)
    return {
        "format": FORMAT,
        "model_version": now.strftime("%Y%m%d_%H%M%S"),
        "model_type": model.options["model_type"],
        "training_date": now.isoformat(timespec="seconds"),
        "performance_metrics": performance,
        "serving": prepared.serving.to_dict(),
        "residuals": model.residuals.to_dict(),
        "options": dict(model.options),
        "data": dict(prepared.facts),
        "inputs": PsiBaseline.of(prepared.serving.channels, prepared.train, model.options["seed"]).to_dict(),
        "fingerprint": prepared.fingerprint,
        "best_epochs": [run.best_epoch for run in model.runs],
        "onnx_deviation_hours": deviation,
    }


def history(model: RulModel) -> JSON:
    """``training_history.json``: one entry an epoch of the first member, and all members beside it."""
    members = [
        {"epochs": run.history, "best_epoch": run.best_epoch, "stopped": run.stop_reason or "the last epoch"}
        for run in model.runs
    ]
    return {**members[0], "format": FORMAT, "members": members}


def _horizon(model: RulModel) -> float:
    return float(model.options["prediction_horizon_hours"])


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
