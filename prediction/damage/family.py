"""Damage detection, tied to the contract."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from prediction.contract import (
    JSON,
    Champion,
    Metric,
    ModelFamily,
    ParityProbe,
    Progress,
    Resources,
    Scores,
)
from prediction.damage.data import preparation
from prediction.damage.data.preparation import ImageSplit, PreparedRecordings, compute_images
from prediction.damage.evaluation import figures
from prediction.damage.evaluation.baseline import baselines
from prediction.damage.evaluation.metrics import ClassificationMetrics, evaluate_probabilities
from prediction.damage.intake import KERAS_FILES
from prediction.damage.model.fitting import TrainedDamageModel, compute_logits, train_damage_model
from prediction.damage.serving import downloads, keras_files
from prediction.damage.serving.predictor import DamagePredictor
from prediction.damage.spectrograms.input_transform import InputTransform
from prediction.neural.checkpoint import Checkpoint

_PROBES = 64
_PROBE_WINDOWS = 3
_TOLERANCE = 1e-3


class DamageFamily(ModelFamily[PreparedRecordings, TrainedDamageModel]):
    """Networks on spectrograms of recordings; the judged weights serve."""

    name: ClassVar[str] = "damage"
    headline: ClassVar[Metric] = Metric("macro_f1", higher_is_better=True)

    def prepare(self, source: JSON, options: JSON, resources: Resources) -> PreparedRecordings:
        return preparation.prepare(source, options, resources.cache_dir / "checkpoints")

    def fit(self, prepared: PreparedRecordings, options: JSON, progress: Progress) -> TrainedDamageModel:
        told = [prepared.fingerprint, options]
        with Checkpoint.temporary_for(prepared.checkpoints, told) as checkpoint:
            return train_damage_model(prepared, options, progress, checkpoint)

    def evaluate(self, model: TrainedDamageModel, prepared: PreparedRecordings) -> Scores:
        measured = _measured(model, prepared.test)
        drawn = list(figures.of_test(measured, prepared.classes))
        return replace(_scores(measured, prepared), figures=drawn)

    def evaluate_champion(
        self, champion: Champion, prepared: PreparedRecordings, options: JSON
    ) -> Scores | None:
        info = json.loads((champion.folder / "model_info.json").read_text(encoding="utf-8"))
        if not _is_comparable(info, prepared):
            return None
        predictor = DamagePredictor.load(champion.folder, Resources(Path()))
        told, test = predictor.answering, prepared.test
        assert prepared.recordings is not None
        same = told.sound == prepared.sound
        most = max(1, len(test) // max(1, len(test.entries)))
        heard = (
            test
            if same
            else compute_images(prepared.recordings, test.entries, told.sound, prepared.classes, most)
        )
        chances = told.probabilities(predictor.network(heard.images))
        return _scores(evaluate_probabilities(chances, heard.targets, heard.owners), prepared)

    def save(self, model: TrainedDamageModel, prepared: PreparedRecordings, folder: Path) -> None:
        measured = _measured(model, prepared.test)
        downloads.write(model, prepared, _scores(measured, prepared).to_dict(), measured, folder)

    def build_probe(self, model: TrainedDamageModel, prepared: PreparedRecordings) -> ParityProbe:
        inputs = [_piece(prepared, number) for number in range(_PROBES)]
        predictor = DamagePredictor(model.answering, lambda images: compute_logits(model.network, images))
        expected = predictor.predict(inputs, {})
        return ParityProbe(inputs, expected, tolerance=_TOLERANCE)

    def download(self, folder: Path, file_name: str, target: Path) -> bool:
        if file_name not in KERAS_FILES:
            return False
        keras_files.write(folder, target)
        return True


def _measured(model: TrainedDamageModel, part: ImageSplit) -> ClassificationMetrics:
    chances = model.answering.probabilities(compute_logits(model.network, part.images))
    return evaluate_probabilities(chances, part.targets, part.owners)


def _scores(measured: ClassificationMetrics, prepared: PreparedRecordings) -> Scores:
    beside = baselines(prepared.train, prepared.test, len(prepared.classes), prepared.heard.levels)
    naive = {name: told.macro_f1 for name, told in beside.items()}
    metrics = measured.metrics()
    metrics |= {f"{name}.accuracy": told.accuracy for name, told in beside.items()}
    metrics |= {f"{name}.recording_accuracy": told.recording_accuracy for name, told in beside.items()}
    return Scores(
        headline=measured.macro_f1,
        metrics=metrics,
        baselines=naive,
        held_out=int(measured.confusion.sum()),
        beats_baselines=all(measured.macro_f1 > worse for worse in naive.values()),
        losses=measured.losses,
    )


def _is_comparable(info: JSON, prepared: PreparedRecordings) -> bool:
    """Same classes and channels, and no test recording or specimen that the champion has learnt from."""
    known, specimens = set(info["data"]["known"]), set(info["data"]["known_specimens"])
    sound = InputTransform.from_dict(info["sound"])
    same = (
        type(sound.spectrograms) is type(prepared.heard.spectrograms)
        and tuple(info["classes"]) == prepared.classes
        and len(sound.channels) == len(prepared.heard.channels)
    )
    by_specimen = prepared.facts["split_by"] == "specimen"
    entries = prepared.test.entries
    return same and not any(
        entry.sha256[:16] in known or (by_specimen and entry.specimen in specimens) for entry in entries
    )


def _piece(prepared: PreparedRecordings, number: int) -> JSON:
    """A few windows of one test recording, as a client would send them."""
    sound, entries = prepared.sound, prepared.test.entries
    assert sound is not None and prepared.recordings is not None
    entry = entries[number % len(entries)]
    samples = prepared.recordings.samples(entry)
    rate = entry.sampling_rate_hz or sound.sampling_rate_hz
    wanted = sound.spectrograms.window_size + (_PROBE_WINDOWS - 1) * sound.hop
    length = min(len(samples), int(np.ceil(wanted * rate / sound.sampling_rate_hz)) + 1)
    first = (number * 977) % (len(samples) - length + 1)
    piece = np.nan_to_num(samples[first : first + length])
    return {"samples": piece.tolist(), "sampling_rate_hz": entry.sampling_rate_hz}
