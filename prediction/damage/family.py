"""The damage family: networks on spectrograms of recordings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from prediction.contract import (
    JSON,
    Metric,
    Options,
    Progress,
    Resources,
    Scores,
    TrainingSource,
    artefact_errors,
)
from prediction.damage.data import preparation
from prediction.damage.data.preparation import SHA256_LENGTH, PreparedRecordings, compute_images
from prediction.damage.evaluation.baseline import evaluate_rule, fit_rules
from prediction.damage.evaluation.figures import draw_test_figures
from prediction.damage.evaluation.metrics import ClassificationMetrics, evaluate_probabilities
from prediction.damage.model.fitting import (
    TrainedDamageModel,
    compute_logits,
    refit_damage_model,
    train_damage_model,
)
from prediction.damage.model.rules import MAJORITY
from prediction.damage.requests import KERAS_FILES
from prediction.damage.serving import downloads, keras_files
from prediction.damage.serving.predictor import DamagePredictor
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.neural.checkpoint import Checkpoint
from prediction.neural.family import PROBE_SIZE, NeuralFamily, ProbeInputs, load_predictor

_PROBE_WINDOWS = 3
# Probes begin at different samples of their recordings; a prime, so that few begin alike.
_PROBE_STRIDE = 977
_PROBE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class LearntRecordings:
    """Recordings, by the begin of their sha256, and specimens that a model has learnt from."""

    recordings: frozenset[str]
    specimens: frozenset[str]

    @classmethod
    def from_dict(cls, known: JSON) -> LearntRecordings:
        """Return what `describe_known` wrote."""
        return cls(frozenset(known["known"]), frozenset(known["known_specimens"]))

    def includes_test(self, prepared: PreparedRecordings) -> bool:
        """Tell whether a recording of the test part, or a specimen where these are split, is among them."""
        by_specimen = prepared.facts["split_by"] == "specimen"
        return any(
            entry.sha256[:SHA256_LENGTH] in self.recordings
            or (by_specimen and entry.specimen in self.specimens)
            for entry in prepared.test.entries
        )


@dataclass(frozen=True)
class DamageInfo:
    """What a version's ``model_info.json`` says about its comparison with later ones.

    Parameters
    ----------
    evaluated, refit : LearntRecordings
        What it had learnt when it was evaluated and, where it was fitted to all recordings afterwards, what it
        knows now.
    """

    transform: InputTransform
    classes: tuple[str, ...]
    evaluated: LearntRecordings
    refit: LearntRecordings | None


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

    def fit(self, prepared: PreparedRecordings, options: Options, progress: Progress) -> TrainedDamageModel:
        """Train a network; where a refit follows, the checkpoint stays until its end.

        A training that is cut off in the refit then does not begin at the first epoch of the evaluated fit.
        """
        if not options["refit"]:
            return super().fit(prepared, options, progress)
        checkpoint = Checkpoint.for_training(prepared.checkpoints, [prepared.fingerprint, options])
        return self.train(prepared, options, progress, checkpoint)

    def refit(
        self,
        model: TrainedDamageModel,
        prepared: PreparedRecordings,
        options: Options,
        progress: Progress,
    ) -> TrainedDamageModel:
        """Fit what serves to all recordings, unless the options say no."""
        if not options["refit"]:
            return model
        identity = [prepared.fingerprint, options]
        with Checkpoint.temporary_for(prepared.checkpoints, identity) as checkpoint:
            return refit_damage_model(model, prepared, progress, checkpoint and checkpoint.for_member(1))

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
            LearntRecordings.from_dict(info["data"]),
            # Version 0.1 always served the fit that was evaluated.
            LearntRecordings.from_dict(info["refit"]) if info.get("refit") else None,
        )

    def is_comparable(self, info: DamageInfo, prepared: PreparedRecordings) -> bool:
        """Require the same classes and channels, and a test part that the evaluated champion has not learnt."""
        return (
            type(info.transform.spectrograms) is type(prepared.transform.spectrograms)
            and info.classes == prepared.classes
            and len(info.transform.channels) == len(prepared.transform.channels)
            and not info.evaluated.includes_test(prepared)
        )

    def score_champion(self, folder: Path, prepared: PreparedRecordings) -> Scores | None:
        predictor, test = load_predictor(DamagePredictor, folder), prepared.test
        info = self.read_info(folder)
        if info.refit and info.refit.includes_test(prepared):
            # What answers has learnt the test part; its predecessor, which was evaluated, has not.
            with artefact_errors(f"Version {folder.name}"):
                predictor.network = downloads.load_evaluated(folder, predictor.postprocessor.model_used)
        transform = predictor.postprocessor.transform
        # A champion with other windows gets the same recordings cut into its own.
        if transform != prepared.transform:
            max_windows = max(1, len(test) // max(1, len(test.entries)))
            test = compute_images(prepared.recordings, test.entries, transform, prepared.classes, max_windows)
            if len(np.unique(test.owners)) < len(test.entries):  # a recording is shorter than a window of the champion
                return None
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

    def probe_inputs(self, prepared: PreparedRecordings) -> ProbeInputs:
        return ProbeInputs([_cut_probe(prepared, number) for number in range(PROBE_SIZE)], _PROBE_TOLERANCE)

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
