"""The family through the contract: what is learnt, judged, saved and answered."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from errors import InvalidContent, NotEnoughData, NotFound, TrainingCancelled
from prediction.contract import Champion, no_progress
from prediction.damage.evaluation.metrics import evaluate_probabilities, fit_temperature, softmax
from prediction.damage.model.augmentation import Augmentation
from prediction.damage.model.ensemble import fit_blend_weights
from prediction.damage.model.fitting import (
    build_network,
    compute_logits,
    refit_damage_model,
    train_damage_model,
)
from prediction.damage.networks import NETWORKS
from prediction.neural.callbacks import NeuralHyperparameters
from prediction.neural.training import TrainingExamples, fit
from tests.prediction.damage.conftest import KINDS, RATE, archive, recording


@pytest.mark.parametrize("model_type", sorted(NETWORKS))
def test_every_network_learns_saves_and_answers_as_it_learnt(plant, model_type):
    model, prepared = plant.train(model_type=model_type, epochs=3, blocks=1, augment=False, overlap=0.5)
    predictor = plant.load(plant.save(model, prepared))
    plant.check_parity(predictor, model, prepared)
    losses = [entry["train_loss"] for entry in model.run.history]
    assert losses[-1] < losses[0]
    assert model.run.history[0].keys() >= {"train_accuracy", "val_accuracy", "val_loss"}


@pytest.mark.parametrize("model_type", sorted(NETWORKS))
def test_weights_move_and_one_batch_is_learnt_by_heart(plant, model_type):
    prepared = plant.prepare()
    options = plant.options(model_type=model_type, dropout=0.0, blocks=1)
    network, _ = build_network(prepared, options)
    before = {name: value.clone() for name, value in network.named_parameters()}
    chosen = np.linspace(0, len(prepared.train) - 1, 16).astype(int)
    images, targets = prepared.train.images[chosen], prepared.train.targets[chosen]
    batch = TrainingExamples(torch.from_numpy(images), torch.from_numpy(targets))
    run = fit(network, batch, None, NeuralHyperparameters(epochs=40, batch_size=16, learning_rate=0.01),
              loss=nn.functional.cross_entropy)  # fmt: skip
    assert run.history[-1]["train_loss"] < 0.05
    assert all(not torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_knocking_is_told_from_healthy_with_calibrated_chances(trained):
    plant, model, prepared, _ = trained
    scores = plant.family.evaluate(model, prepared)
    assert scores.metrics["recording_accuracy"] == 1
    assert scores.headline > 0.8
    assert scores.baselines.keys() == {"majority", "band_energies"}
    assert scores.headline > scores.baselines["majority"]
    assert len(scores.losses) == len(prepared.test.entries)
    assert prepared.certificate.violations() == []


def test_a_new_recording_is_told_with_a_timeline(trained):
    plant, _, _, folder = trained
    predictor = plant.load(folder)
    one = {"samples": recording("knocking", seed=77)[:, None], "sampling_rate_hz": RATE}
    (answer,) = predictor.predict([one], {})
    assert (answer["class"], answer["known"]) == ("knocking", True)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    timeline = answer["timeline"]
    assert (timeline[0]["from_seconds"], timeline[-1]["to_seconds"]) == (0, 2)
    assert len(timeline) == answer["windows"] > 8


def test_what_is_unlike_the_training_data_is_none_of_the_classes(trained):
    plant, _, _, folder = trained
    predictor = plant.load(folder)
    times = np.arange(2000) / RATE
    strange = {
        "whistle": 5 * np.sin(2 * np.pi * 430 * times),
        "silence": np.full(2000, 3.0),
        "clicks": (np.arange(2000) % 500 == 0) * 50.0,
    }
    for name, wave in strange.items():
        one = {"samples": wave[:, None], "sampling_rate_hz": RATE}
        (answer,) = predictor.predict([one], {})
        assert (answer["class"], answer["known"]) == ("none of the known classes", False), name
    kinds = ("healthy", "knocking")
    told = [
        predictor.predict([{"samples": recording(kind, seed=s)[:, None], "sampling_rate_hz": RATE}], {})[0]
        for kind in kinds
        for s in range(50, 60)
    ]
    assert sum(answer["known"] for answer in told) >= 19


def test_a_recording_at_another_rate_is_resampled(trained):
    plant, _, _, folder = trained
    predictor = plant.load(folder)
    wave = recording("knocking", seed=78)
    (told,) = predictor.predict([{"samples": wave[:, None], "sampling_rate_hz": RATE}], {})
    twice = np.repeat(wave, 2)[:, None]
    (answer,) = predictor.predict([{"samples": twice}], {"sampling_rate_hz": 2 * RATE})
    assert answer["windows"] == len(told["timeline"])
    assert answer["nearest_class"] == "knocking"


def test_recordings_that_do_not_fit_are_refused(trained):
    plant, _, _, folder = trained
    predictor = plant.load(folder)
    with pytest.raises(InvalidContent, match="1 channels"):
        predictor.predict([{"samples": np.zeros((500, 2))}], {})
    with pytest.raises(NotEnoughData, match=r"0\.256 s"):
        predictor.predict([{"samples": np.zeros((100, 1))}], {})


def test_equal_data_options_and_seed_make_equal_weights(plant):
    one, _ = plant.train(epochs=1)
    two, _ = plant.train(epochs=1)
    other, _ = plant.train(epochs=1, seed=7)
    same = [torch.equal(v, two.network.state_dict()[n]) for n, v in one.network.state_dict().items()]
    assert all(same)
    assert not torch.equal(
        one.network.state_dict()["head.2.weight"], other.network.state_dict()["head.2.weight"]
    )


class Cut(Exception):
    pass


def test_a_training_cut_off_goes_on_to_the_same_weights(plant):
    def cutting(stage, **facts):
        if stage == "epoch" and facts["epoch"] == 2:
            raise Cut

    with pytest.raises(Cut):
        plant.train(cutting, epochs=4, refit=False)
    assert len(list((plant.folder / "cache" / "checkpoints").iterdir())) == 1
    told = []
    resumed, _ = plant.train(lambda stage, **facts: told.append(facts["epoch"]), epochs=4, refit=False)
    whole, _ = plant.train(epochs=4, refit=False)
    assert told[0] > 1
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert list((plant.folder / "cache" / "checkpoints").iterdir()) == []


def test_class_weights_count_rare_classes_as_much(plant):
    prepared = plant.prepare()
    with_weights = train_damage_model(prepared, plant.options(epochs=1, class_weights=True))
    without = train_damage_model(prepared, plant.options(epochs=1, class_weights=False))
    assert with_weights.run.history[0]["train_loss"] == pytest.approx(
        without.run.history[0]["train_loss"], abs=0.2
    )


def test_augmentation_changes_pixels_and_keeps_shape():
    torch.manual_seed(0)
    images = torch.randn(4, 2, 16, 29)
    for name, value in (("time_shift", 0.5), ("noise", 1.0), ("masks", 0.5), ("gain", 1.0), ("tilt", 1.0),
                        ("stretch", 2), ("hide", 0.5)):  # fmt: skip
        nothing: dict[str, Any] = dict.fromkeys(
            ("time_shift", "noise", "masks", "gain", "tilt", "stretch"), 0
        )
        assert torch.equal(Augmentation(**nothing)(images), images)
        changed = Augmentation(**{**nothing, name: value})(images)
        assert changed.shape == images.shape
        assert not torch.equal(changed, images), name
        assert torch.isfinite(changed).all()


def test_only_levels_change_their_level():
    torch.manual_seed(0)
    images = torch.randn(4, 6, 16, 29)
    changed = Augmentation(0.0, noise=1.0, masks=0.0, gain=1.0, tilt=1.0, hide=0.5, levels=2)(images)
    assert torch.equal(changed[:, 2:], images[:, 2:]) and not torch.equal(changed[:, :2], images[:, :2])


def test_everything_promised_is_in_the_version(trained):
    plant, model, prepared, folder = trained
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "model.pth", "model.safetensors", "model_info.json", "training_history.json",
        "novelty.npz", "training.log",
    }  # fmt: skip
    info = json.loads((folder / "model_info.json").read_text())
    assert NETWORKS[info["architecture"]].__name__ == info["class"].partition(":")[2]
    opened: dict = {}
    with contextlib.chdir(folder):
        exec("\n".join(info["pytorch"]["load"]), opened)
    network = opened["network"]
    images = prepared.test.images[:5]
    np.testing.assert_array_equal(compute_logits(network, images), compute_logits(model.network, images))
    tensors = load_file(folder / "model.safetensors")
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), tensors[name])
    assert np.sum(info["evaluation"]["confusion"]) == len(prepared.test)
    assert info["evaluation"]["per_class"].keys() == {"healthy", "knocking"}
    assert info["data"]["class_balance"] == {"healthy": 8, "knocking": 8}
    assert str(plant.folder) not in (folder / "model_info.json").read_text()
    history = json.loads((folder / "training_history.json").read_text())
    assert [entry["epoch"] for entry in history["epochs"]] == list(range(1, len(history["epochs"]) + 1))


def champion_of(folder) -> Champion:
    return Champion(1, folder, {})


@pytest.mark.parametrize("seconds", [(0.2,), (2.0, 0.2)])
def test_a_champion_with_longer_windows_is_not_compared_on_some_recordings_only(trained, seconds):
    plant, _, _, folder = trained
    other = plant.prepare(dataset=plant.upload(archive(10, first=100, seconds=seconds)), window_size=128)
    assert any(entry.samples < 256 for entry in other.test.entries)
    assert plant.family.evaluate_champion(champion_of(folder), other, {}) is None


def test_a_champion_is_compared_on_recordings_that_it_does_not_know(trained):
    plant, model, prepared, folder = trained
    candidate = plant.family.evaluate(model, prepared)
    champion = plant.family.evaluate_champion(champion_of(folder), prepared, {})
    assert champion.headline == pytest.approx(candidate.headline, abs=1e-6)
    smaller = plant.prepare(window_size=128)
    other = plant.family.evaluate_champion(champion_of(folder), smaller, {})
    assert len(other.losses) == len(candidate.losses)
    assert plant.family.evaluate_champion(champion_of(folder), plant.prepare(seed=9), {}) is None
    three = plant.upload(archive(5, kinds=("healthy", "knocking", "loose")))
    assert plant.family.evaluate_champion(champion_of(folder), plant.prepare(dataset=three), {}) is None


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"dataset": "ds-000000000000"}, NotFound, "no dataset"),
        ({"window_size": 4096}, NotEnoughData, "one window"),
        ({"split_by": "specimen"}, NotEnoughData, "name no specimen"),
    ],
)
def test_what_cannot_be_trained_is_said(plant, asked, error, said):
    with pytest.raises(error, match=said):
        plant.prepare(**asked)


def test_specimens_are_kept_apart(plant):
    prepared = plant.prepare(dataset=plant.upload(archive(8, specimens=True)))
    assert prepared.facts["split_by"] == "specimen"
    assert prepared.certificate.unit == "specimen"


def test_metrics_are_those_of_the_books():
    targets = np.array([0, 0, 0, 1, 1, 2])
    chances = np.eye(3)[[0, 0, 1, 1, 1, 0]] * 0.7 + 0.1
    measured = evaluate_probabilities(chances, targets, np.array([0, 0, 0, 1, 1, 2]))
    assert measured.accuracy == pytest.approx(4 / 6)
    assert measured.confusion.tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert measured.macro_f1 == pytest.approx((4 / 6 + 4 / 5 + 0) / 3)
    assert measured.recording_accuracy == pytest.approx(2 / 3)
    assert measured.calibration_error == pytest.approx(0.8 - 4 / 6)


def test_perfect_validation_makes_no_certainties():
    targets = np.arange(300) % 3
    sure = 50.0 * np.eye(3)[targets]
    chances = softmax(sure, fit_temperature(sure, targets)).max(axis=1)
    np.testing.assert_allclose(chances, 301 / 303, atol=1e-3)
    weights = fit_blend_weights([sure, sure], targets)
    assert softmax(np.tensordot(weights, np.stack([sure, sure]), 1)).max() < 0.9999


def test_the_temperature_undoes_overconfidence():
    chance = np.random.default_rng(0)
    honest = chance.normal(size=(4000, 3)) * 1.5
    targets = np.array([chance.choice(3, p=p) for p in softmax(honest)])
    assert fit_temperature(3 * honest, targets) == pytest.approx(3, rel=0.1)


def test_a_network_that_errs_more_than_a_simple_rule_does_not_answer(plant):
    asked = {"epochs": 1, "learning_rate": 1e-7, "linear_blend": False, "augment": False}
    model, prepared = plant.train(dataset=plant.upload(archive(8)), **asked)
    scores = plant.family.evaluate(model, prepared)
    assert scores.headline == scores.baselines["band_energies"] > scores.metrics["network.macro_f1"]
    assert not scores.beats_baselines and scores.held_out == len(prepared.test.entries)
    folder = plant.save(model, prepared)
    predictor = plant.load(folder)
    plant.check_parity(predictor, model, prepared)
    one = {"samples": recording("knocking", seed=77)[:, None], "sampling_rate_hz": RATE}
    (answer,) = predictor.predict([one], {})
    assert (answer["model_used"], answer["nearest_class"]) == ("band_energies", "knocking")
    champion = plant.family.evaluate_champion(champion_of(folder), prepared, {})
    assert champion.headline == pytest.approx(scores.headline, abs=1e-6)


def archive_with_gaps(count: int, gaps: set[str]) -> bytes:
    """Return a zip of CSV recordings; those with gaps have no whole window of 256 samples."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as target:
        for kind in KINDS:
            for number in range(count):
                name = f"{kind}/r{number}"
                values = [f"{value:.5f}" for value in recording(kind, seed=number + 1000 * len(kind))]
                if name in gaps:
                    values[::100] = ["nan"] * len(values[::100])
                rows = [f"{index / RATE},{value}" for index, value in enumerate(values)]
                target.writestr(f"{name}.csv", "\n".join(["time,x", *rows]) + "\n")
    return content.getvalue()


def test_recordings_without_a_whole_window_leave_every_class_in_every_part(plant):
    whole = plant.prepare(dataset=plant.upload(archive_with_gaps(6, set())))
    names = {
        entry.recording.removesuffix(".csv")
        for part in (whole.validation, whole.test)
        for entry in part.entries
        if entry.label == "knocking"
    }
    prepared = plant.prepare(dataset=plant.upload(archive_with_gaps(6, names)))
    for part in (prepared.train, prepared.validation, prepared.test):
        assert set(part.targets) == {0, 1}
    assert prepared.facts["left_out"] == len(names)
    assert prepared.warnings == []


def test_a_class_without_a_whole_window_is_named(plant):
    gaps = {f"healthy/r{number}" for number in range(6)}
    content = io.BytesIO(archive_with_gaps(6, gaps))
    with zipfile.ZipFile(content, "a") as target:
        for number in range(6):
            wave = recording("knocking", seed=500 + number)
            target.writestr(f"loose/r{number}.csv", "time,x\n" + "".join(
                f"{index / RATE},{value:.5f}\n" for index, value in enumerate(wave)))  # fmt: skip
    prepared = plant.prepare(dataset=plant.upload(content.getvalue()))
    assert prepared.classes == ("knocking", "loose")
    assert prepared.warnings == [
        "The model does not know the class healthy: none of its 6 recordings has 0.256 s, one window, without "
        "missing samples."
    ]


def refit(plant, progress=no_progress, **asked):
    """Return the evaluated model, the one that serves, and what was prepared."""
    model, prepared = plant.train(**asked)
    return model, plant.family.refit(model, prepared, plant.options(**asked), progress), prepared


def test_what_serves_knows_all_recordings_and_the_scores_are_those_before(plant):
    judged, served, prepared = refit(plant, epochs=4, learning_rate=0.01)
    assert plant.family.evaluate(served, prepared).metrics == plant.family.evaluate(judged, prepared).metrics
    assert served.postprocessor.temperature == judged.postprocessor.temperature
    images = prepared.test.images
    assert not np.allclose(compute_logits(served.network, images), compute_logits(judged.network, images))
    folder = plant.save(served, prepared)
    plant.check_parity(plant.load(folder), served, prepared)
    info = json.loads((folder / "model_info.json").read_text())
    everything = {entry.sha256[:16] for entry in prepared.recordings.entries}
    tested = {entry.sha256[:16] for entry in prepared.test.entries}
    assert set(info["refit"]["known"]) == everything
    assert set(info["data"]["known"]) == everything - tested
    assert info["data"]["refit"] is True
    assert "again to all 10 recordings for serving" in (folder / "training.log").read_text()


def test_a_refitted_champion_is_compared_by_what_was_evaluated_of_it(plant):
    judged, served, prepared = refit(plant, epochs=4, learning_rate=0.01)
    folder = plant.save(served, prepared)
    before = plant.family.evaluate(judged, prepared)
    champion = plant.family.evaluate_champion(champion_of(folder), prepared, {})
    np.testing.assert_allclose(champion.losses, before.losses, atol=1e-5)
    # Of recordings that neither fit knows, what serves is compared.
    other = plant.prepare(dataset=plant.upload(archive(6, first=20)))
    champion = plant.family.evaluate_champion(champion_of(folder), other, {})
    chances = served.postprocessor.to_probabilities(compute_logits(served.network, other.test.images))
    measured = evaluate_probabilities(chances, other.test.targets, other.test.owners)
    np.testing.assert_allclose(champion.losses, measured.losses, atol=1e-5)
    assert plant.family.evaluate_champion(champion_of(folder), plant.prepare(seed=9), {}) is None


def test_a_rule_that_answers_is_fitted_to_all_recordings_too(plant):
    asked = {"epochs": 1, "learning_rate": 1e-7, "linear_blend": False, "augment": False}
    asked["dataset"] = plant.upload(archive(8))
    judged, served, prepared = refit(plant, **asked)
    assert served.network is judged.network
    assert not np.allclose(served.evaluation.rule.weights, judged.evaluation.rule.weights)
    folder = plant.save(served, prepared)
    plant.check_parity(plant.load(folder), served, prepared)
    champion = plant.family.evaluate_champion(champion_of(folder), prepared, {})
    np.testing.assert_allclose(champion.losses, plant.family.evaluate(judged, prepared).losses, atol=1e-6)


def test_a_refit_cut_off_goes_on_to_the_same_weights(plant):
    asked = {"epochs": 6, "early_stopping_patience": 0, "learning_rate": 0.01}
    _, whole, _ = refit(plant, **asked)
    checkpoints = plant.folder / "cache" / "checkpoints"
    assert list(checkpoints.iterdir()) == []
    assert whole.run.best_epoch > 2, "nothing to cut off"

    def cutting(stage, **facts):
        if stage == "refit_epoch" and facts["epoch"] == 2:
            raise Cut

    with pytest.raises(Cut):
        refit(plant, cutting, **asked)
    assert len(list(checkpoints.iterdir())) == 2
    epochs = []
    _, resumed, _ = refit(plant, lambda stage, **facts: epochs.append((stage, facts["epoch"])), **asked)
    assert epochs[0][0] == "refit_epoch" and epochs[0][1] > 1
    assert epochs[-1] == ("refit_epoch", whole.run.best_epoch)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert list(checkpoints.iterdir()) == []


def test_a_refit_is_cancelled_between_batches(plant):
    model, prepared = plant.train()
    with pytest.raises(TrainingCancelled):
        refit_damage_model(model, prepared, cancelled=lambda: True)


def test_without_a_refit_the_evaluated_fit_serves(plant):
    judged, served, prepared = refit(plant, refit=False)
    assert served is judged
    folder = plant.save(served, prepared)
    assert not list(folder.glob("evaluated*"))
    info = json.loads((folder / "model_info.json").read_text())
    assert (info["refit"], info["data"]["refit"]) == (None, False)
