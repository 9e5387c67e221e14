"""Write the files of a version: what the server reads, and what people take away and open without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from prediction.damage.data.preparation import ImageSplit, PreparedRecordings, describe_known
from prediction.damage.model.fitting import TrainedDamageModel
from prediction.damage.model.rules import NETWORK, LinearRule
from prediction.damage.serving.postprocess import NetworkFunction
from prediction.damage.serving.predictor import RULE_FILE
from prediction.neural.export import FORMAT, describe_loading, export_network, training_history
from prediction.onnx import OnnxModel, export
from storage.filesystem.checked_write import save_json, write_checked
from storage.models.manifest import ScoresRecord

_PARITY_EXAMPLES = 64
# What was evaluated, where another fit serves that knows all recordings: a later training compares itself with it.
EVALUATED_FILE, EVALUATED_RULE_FILE = "evaluated.onnx", "evaluated_rule.npz"
_OWN_CLASS = (
    "The keys of the weights begin with the names of the layers in the class above. mean and spread are no weights: "
    "subtract the one from the images and divide by the other."
)
_PARITY_ATOL = 1e-4
_LOG_METRICS = ("accuracy", "macro_f1", "recording_accuracy", "calibration_error")
_LOG_COLUMNS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")


def write_files(
    model: TrainedDamageModel,
    prepared: PreparedRecordings,
    scores: ScoresRecord,
    folder: Path,
) -> None:
    """Write every file of a version into an empty folder.

    Raises
    ------
    ParityFailed
        The ONNX file does not answer like the network.
    """
    test = prepared.test
    chosen = np.linspace(0, len(test) - 1, min(_PARITY_EXAMPLES, len(test))).round().astype(np.int64)
    opset = model.options.get("onnx_opset")
    deviation = export_network(model.network, test.images[chosen], folder, atol=_PARITY_ATOL, opset=opset)
    model.postprocessor.novelty.save(folder / "novelty.npz")
    if model.evaluation.rule is not None:
        model.evaluation.rule.save(folder / RULE_FILE)
    if model.evaluated is not None:
        _save_evaluated(model.evaluated, test, folder)
    info = {
        "format": FORMAT,
        "family": "damage",
        "architecture": model.model_type,
        "class": f"prediction.damage.networks:{type(model.network).__name__}",
        "arguments": model.arguments,
        "pytorch": describe_loading(type(model.network), model.arguments, _OWN_CLASS),
        "input_shape": list(model.network.input_shape),
        "classes": list(prepared.classes),
        # The key of version 0.1, which older servers read as well.
        "sound": model.postprocessor.transform.to_dict(),
        "model_used": model.postprocessor.model_used,
        "temperature": model.postprocessor.temperature,
        "parameters": _count_weights(model),
        "options": dict(model.options),
        "data": dict(prepared.facts),
        "fingerprint": prepared.fingerprint,
        "best_epoch": model.run.best_epoch,
        "refit": describe_known(prepared.whole.entries) if model.evaluated else None,
        "scores": scores,
        "evaluation": model.evaluation.served.to_dict(prepared.classes),
        "onnx_deviation": deviation,
    }
    save_json(folder / "model_info.json", info)
    save_json(folder / "training_history.json", {**training_history(model.run), "family": "damage"})
    # Training prints nothing itself; the report quotes this file.
    log = "\n".join(build_log(model, prepared, scores)) + "\n"
    write_checked(folder / "training.log", log.encode())


def _save_evaluated(evaluated: TrainedDamageModel, test: ImageSplit, folder: Path) -> None:
    if evaluated.evaluation.rule is not None:
        evaluated.evaluation.rule.save(folder / EVALUATED_RULE_FILE)
        return
    # Two examples: with one, the exporter may bake in a batch of one.
    examples = np.repeat(test.images[:1], 2, axis=0)
    export(evaluated.network, examples, folder / EVALUATED_FILE, evaluated.options.get("onnx_opset"))


def load_evaluated(folder: Path, model_used: str) -> NetworkFunction:
    """Return what was evaluated of a version that serves another fit."""
    if model_used == NETWORK:
        return OnnxModel(folder / EVALUATED_FILE)
    return LinearRule.load(folder / EVALUATED_RULE_FILE)


def build_log(model: TrainedDamageModel, prepared: PreparedRecordings, scores: ScoresRecord) -> list[str]:
    """Return the lines of ``training.log``: data, epochs and result, for people."""
    facts, run = prepared.facts, model.run
    counts = ", ".join(f"{part} {n} of {facts['recordings'][part]}" for part, n in facts["windows"].items())
    shape = " x ".join(map(str, model.network.input_shape))
    lines = [
        f"Windows of recordings: {counts}; split by {facts['split_by']}",
        *([facts["split_note"]] if facts["split_note"] else []),
        f"Classes: {', '.join(f'{name} {n}' for name, n in facts['class_balance'].items())}",
        f"Images of {shape}; {model.model_type} of {_count_weights(model):,} weights",
    ]
    for epoch in run.history:
        columns = [f"{name} {value:.4f}" for name in _LOG_COLUMNS if (value := epoch.get(name)) is not None]
        lines.append(f"Epoch {epoch['epoch']:>3}  {'  '.join(columns)}  rate {epoch['learning_rate']:.2g}")
    metrics = ", ".join(f"{name} {scores['metrics'][name]:.3f}" for name in _LOG_METRICS)
    baselines = ", ".join(f"{name} {value:.3f}" for name, value in scores["baselines"].items())
    return [
        *lines,
        f"Ended after {run.stop_reason or 'the last epoch'}; kept epoch {run.best_epoch}",
        f"On the test part: {metrics}",
        f"macro_f1 of the baselines: {baselines}",
        *([_describe_refit(model, prepared)] if model.evaluated else []),
    ]


def _describe_refit(model: TrainedDamageModel, prepared: PreparedRecordings) -> str:
    what = "rule" if model.evaluation.rule is not None else f"network for {model.run.best_epoch} epochs"
    return (
        f"Fitted the {what} again to all {len(prepared.whole.entries)} recordings for serving; the scores above are "
        "those of the fit that held the test part out"
    )


def _count_weights(model: TrainedDamageModel) -> int:
    return sum(weight.numel() for weight in model.network.parameters())
