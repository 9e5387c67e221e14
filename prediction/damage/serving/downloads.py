"""The files of a version: what the server reads, and what people take away and open without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from prediction.contract import JSON
from prediction.damage.data.preparation import ImageSplit, PreparedRecordings
from prediction.damage.evaluation.metrics import ClassificationMetrics
from prediction.damage.model.fitting import TrainedDamageModel
from prediction.onnx import check_parity, export

FORMAT = 1
_PARITY_EXAMPLES = 64
_RESULT = ("accuracy", "macro_f1", "recording_accuracy", "calibration_error")
_TOLD = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")


def write(
    model: TrainedDamageModel,
    prepared: PreparedRecordings,
    scores: JSON,
    measured: ClassificationMetrics,
    folder: Path,
) -> None:
    """Write every file of a version into an empty folder.

    Raises
    ------
    ParityFailed
        The ONNX file does not answer like the network.
    """
    images = _spread(prepared.test, _PARITY_EXAMPLES)
    export(model.network, np.repeat(images[:1], 2, axis=0), folder / "model.onnx")
    deviation = check_parity(model.network, folder / "model.onnx", images, atol=1e-4)
    weights = model.network.state_dict()
    torch.save(weights, folder / "model.pth")
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    model.answering.novelty.write(folder / "novelty.npz")
    told = {"scores": scores, "evaluation": measured.told(prepared.classes), "onnx_deviation": deviation}
    _write_json(folder / "model_info.json", {**info(model, prepared), **told})
    _write_json(folder / "training_history.json", history(model))
    (folder / "training.log").write_text(
        "\n".join(log_lines(model, prepared, scores)) + "\n", encoding="utf-8"
    )


def info(model: TrainedDamageModel, prepared: PreparedRecordings) -> JSON:
    """``model_info.json``: everything but the weights."""
    return {
        "format": FORMAT,
        "family": "damage",
        "architecture": model.model_type,
        "class": f"prediction.damage.networks:{type(model.network).__name__}",
        "arguments": model.given,
        "input_shape": list(model.network.input_shape),
        "classes": list(prepared.classes),
        "sound": model.answering.sound.to_dict(),
        "temperature": model.answering.temperature,
        "parameters": sum(weight.numel() for weight in model.network.parameters()),
        "options": dict(model.options),
        "data": dict(prepared.facts),
        "fingerprint": prepared.fingerprint,
        "best_epoch": model.run.best_epoch,
    }


def history(model: TrainedDamageModel) -> JSON:
    """``training_history.json``: one entry an epoch."""
    return {
        "format": FORMAT,
        "family": "damage",
        "epochs": model.run.history,
        "best_epoch": model.run.best_epoch,
        "stopped": model.run.stop_reason or "the last epoch",
    }


def log_lines(model: TrainedDamageModel, prepared: PreparedRecordings, scores: JSON) -> list[str]:
    """``training.log``: what a person who had watched would have read, and how it came out."""
    facts = prepared.facts
    counts = ", ".join(f"{part} {n} of {facts['recordings'][part]}" for part, n in facts["windows"].items())
    shape = " x ".join(map(str, model.network.input_shape))
    weights = sum(weight.numel() for weight in model.network.parameters())
    lines = [
        f"Windows of recordings: {counts}; split by {facts['split_by']}",
        *([facts["split_note"]] if facts["split_note"] else []),
        f"Classes: {', '.join(f'{name} {n}' for name, n in facts['class_balance'].items())}",
        f"Images of {shape}; {model.model_type} of {weights:,} weights",
    ]
    for epoch in model.run.history:
        told = "  ".join(f"{name} {epoch[name]:.4f}" for name in _TOLD if epoch.get(name) is not None)
        lines.append(f"Epoch {epoch['epoch']:>3}  {told}  rate {epoch['learning_rate']:.2g}")
    lines.append(
        f"Ended after {model.run.stop_reason or 'the last epoch'}; kept epoch {model.run.best_epoch}"
    )
    told = ", ".join(f"{name} {scores['metrics'][name]:.3f}" for name in _RESULT)
    beside = ", ".join(f"{name} {value:.3f}" for name, value in scores["baselines"].items())
    lines += [f"On the test part: {told}", f"Beside it, macro_f1 of simple rules: {beside}"]
    return lines


def _spread(part: ImageSplit, count: int) -> Any:
    places = np.linspace(0, len(part) - 1, min(count, len(part))).round().astype(np.int64)
    return part.images[places]


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
