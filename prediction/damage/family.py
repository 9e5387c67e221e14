"""The damage family: networks on spectrograms of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from prediction.contract import JSON, Metric, Options, Progress, Resources, Scores, TrainingSource
from prediction.damage.data import preparation
from prediction.damage.data.preparation import PreparedRecordings, compute_images
from prediction.damage.evaluation.baseline import evaluate_rule, fit_rules
from prediction.damage.evaluation.figures import draw_test_figures
from prediction.damage.evaluation.metrics import ClassificationMetrics, evaluate_probabilities
from prediction.damage.model.fitting import TrainedDamageModel, compute_logits, train_damage_model
from prediction.damage.model.rules import MAJORITY
from prediction.damage.requests import KERAS_FILES
from prediction.damage.serving import downloads, keras_files
from prediction.damage.serving.predictor import DamagePredictor
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.family import PROBE_SIZE, NeuralFamily, load_predictor

_PROBE_WINDOWS = 3
# Probes begin at different samples of their recordings; a prime, so that few begin alike.
_PROBE_STRIDE = 977
_PROBE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class DamageInfo:
    """What a version's ``model_info.json`` says about its comparison with later ones.

    Parameters
    ----------
    recordings, specimens : frozenset of str
        Those that it has learnt from; of recordings the begin of their sha256.
    """

    transform: InputTransform
    classes: tuple[str, ...]
    recordings: frozenset[str]
    specimens: frozenset[str]


class DamageFamily(NeuralFamily[PreparedRecordings, TrainedDamageModel, DamageInfo]):
    """Trains and compares classifiers of recordings."""

    name: ClassVar[str] = "damage"
    headline: ClassVar[Metric] = Metric("macro_f1", higher_is_better=True)
    chance_baselines: ClassVar[tuple[str, ...]] = (MAJORITY,)

    def prepare(self, source: TrainingSource, options: Options, resources: Resources) -> PreparedRecordings:
        return preparation.prepare(source, options, resources.cache_dir / "checkpoints")

    def train(
        self,
        prepared: PreparedRecordings,
        options: Options,
        progress: Progress,
        checkpoint: Checkpoint | None,
    ) -> TrainedDamageModel:
        return train_damage_model(prepared, options, progress, checkpoint)

    def evaluate(self, model: TrainedDamageModel, prepared: PreparedRecordings) -> Scores:
        evaluation = model.evaluation
        scores = _score(evaluation.served, evaluation.baselines)
        return replace(
            scores,
            # What answers is judged; where that is a rule, the network's own score stands beside it.
            metrics={
                **scores.metrics,
                "network.macro_f1": evaluation.network_macro_f1,
                "validation.macro_f1": evaluation.validation_macro_f1,
            },
            figures=list(draw_test_figures(evaluation.served, prepared.classes)),
        )

    def parse_info(self, info: JSON) -> DamageInfo:
        return DamageInfo(
            InputTransform.from_dict(info["sound"]),
            tuple(info["classes"]),
            frozenset(info["data"]["known"]),
            frozenset(info["data"]["known_specimens"]),
        )

    def is_comparable(self, info: DamageInfo, prepared: PreparedRecordings) -> bool:
        """Require the same classes and channels, and a test without the champion's recordings or specimens."""
        if (
            type(info.transform.spectrograms) is not type(prepared.transform.spectrograms)
            or info.classes != prepared.classes
            or len(info.transform.channels) != len(prepared.transform.channels)
        ):
            return False
        by_specimen = prepared.facts["split_by"] == "specimen"
        return not any(
            entry.sha256[:16] in info.recordings or (by_specimen and entry.specimen in info.specimens)
            for entry in prepared.test.entries
        )

    def score_champion(self, folder: Path, prepared: PreparedRecordings) -> Scores:
        predictor, test = load_predictor(DamagePredictor, folder), prepared.test
        transform = predictor.postprocessor.transform
        # A champion with other windows gets the same recordings cut into its own.
        if transform != prepared.transform:
            max_windows = max(1, len(test) // max(1, len(test.entries)))
            test = compute_images(prepared.recordings, test.entries, transform, prepared.classes, max_windows)
        probabilities = predictor.postprocessor.to_probabilities(predictor.network(test.images))
        measured = evaluate_probabilities(probabilities, test.targets, test.owners)
        rules = fit_rules(prepared.train, len(prepared.classes), prepared.transform.levels)
        return _score(measured, {name: evaluate_rule(rule, prepared.test) for name, rule in rules.items()})

    def save(self, model: TrainedDamageModel, prepared: PreparedRecordings, folder: Path) -> None:
        downloads.write_files(model, prepared, self.evaluate(model, prepared).to_dict(), folder)

    def create_predictor(self, model: TrainedDamageModel, prepared: PreparedRecordings) -> DamagePredictor:
        if model.evaluation.rule is not None:
            return DamagePredictor(model.postprocessor, model.evaluation.rule)
        return DamagePredictor(model.postprocessor, lambda images: compute_logits(model.network, images))

    def probe_inputs(self, prepared: PreparedRecordings) -> Sequence[object]:
        return [_cut_probe(prepared, number) for number in range(PROBE_SIZE)]

    def probe_tolerance(self, prepared: PreparedRecordings) -> float:
        return _PROBE_TOLERANCE

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        if file_name not in KERAS_FILES:
            return False
        keras_files.write_keras_file(folder, target)
        return True


def _score(measured: ClassificationMetrics, baselines: dict[str, ClassificationMetrics]) -> Scores:
    metrics = measured.metrics()
    metrics |= {f"{name}.accuracy": naive.accuracy for name, naive in baselines.items()}
    metrics |= {f"{name}.recording_accuracy": naive.recording_accuracy for name, naive in baselines.items()}
    return Scores(
        headline=measured.macro_f1,
        metrics=metrics,
        baselines={name: naive.macro_f1 for name, naive in baselines.items()},
        # Windows of one recording are alike, so recordings are counted.
        held_out=len(measured.losses),
        beats_baselines=all(measured.macro_f1 > naive.macro_f1 for naive in baselines.values()),
        losses=measured.losses,
    )


def _cut_probe(prepared: PreparedRecordings, number: int) -> dict[str, object]:
    """Return a few windows of one test recording, as a client would send them."""
    transform, entries = prepared.transform, prepared.test.entries
    entry = entries[number % len(entries)]
    samples = prepared.recordings.samples(entry)
    rate = entry.sampling_rate_hz or transform.sampling_rate_hz
    length = transform.spectrograms.window_size + (_PROBE_WINDOWS - 1) * transform.hop
    length = min(len(samples), int(np.ceil(length * rate / transform.sampling_rate_hz)) + 1)
    first = (number * _PROBE_STRIDE) % (len(samples) - length + 1)
    # Probes are sent as JSON, which has no NaN.
    excerpt = np.nan_to_num(samples[first : first + length])
    return {"samples": excerpt.tolist(), "sampling_rate_hz": entry.sampling_rate_hz}
