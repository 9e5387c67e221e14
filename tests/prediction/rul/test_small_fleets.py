"""Fleets of a few failed devices: each is judged by networks that have not seen it, all teach what serves."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from prediction.contract import Champion, no_progress
from prediction.rul.data.collect import DataCollector, DeviceHistory
from prediction.rul.prepare import prepare_devices
from tests.prediction.rul.conftest import Plant, fill_fleet
from training.gate import PromotionRules, decide_promotion

# A few epochs more than for twenty devices: an epoch has fewer windows.
SLOW = {"epochs": 30, "early_stopping_patience": 0}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Plant:
    """Return a plant with four devices."""
    plant = Plant(tmp_path_factory.mktemp("small"))
    fill_fleet(plant.database, devices=4)
    return plant


@pytest.fixture(scope="module")
def trained(small):
    """Return the plant, its model, what was prepared, and the version's folder."""
    model, prepared = small.train(**SLOW)
    return small, model, prepared, small.save(model, prepared)


def decide(plant, model, prepared):
    scores = plant.family.evaluate(model, prepared)
    rules = PromotionRules.for_training(plant.family, plant.options())
    return decide_promotion(scores, None, rules, is_first=True)


def test_four_devices_are_judged_one_by_one_and_all_teach_what_serves(trained):
    plant, model, prepared, folder = trained
    assert prepared.certificate.violations() == [] and len(prepared.certificate.folds) == 4
    scores = plant.family.evaluate(model, prepared)
    assert scores.held_out == len(scores.losses) == 4
    assert all(len(losses) == 4 for losses in scores.guardrail_losses.values())
    assert decide(plant, model, prepared).promoted
    assert prepared.facts["split_note"].startswith("Only 4 devices have failed")
    assert scores.headline < 0.7 * min(scores.baselines.values())
    assert set(prepared.train.devices) == {0, 1, 2, 3} and len(prepared.validation) == 0
    metadata = json.loads((folder / "model_metadata.json").read_text())
    assert metadata["residuals"]["devices"] == len(metadata["held_out"]) == 4
    assert metadata["performance_metrics"]["rmse"] == pytest.approx(scores.headline)
    plant.check_parity(plant.load(folder), model, prepared)


def test_networks_that_judge_a_device_know_nothing_of_it(small):
    options = small.options()
    histories = list(DataCollector(small.database, "default").collect())

    def fold_without_the_last(scale: float):
        telemetry = histories[3].telemetry
        last = dataclasses.replace(telemetry, values=telemetry.values * scale)
        prepared = prepare_devices([*histories[:3], DeviceHistory(last, histories[3].ends)], options)
        return prepared.build_fold(prepared.folds[3], options)

    plain, scaled = fold_without_the_last(1.0), fold_without_the_last(1.2)
    assert set(plain.test.devices) == {3} and not {3} & {*plain.train.devices, *plain.validation.devices}
    np.testing.assert_array_equal(plain.train.windows(), scaled.train.windows())
    assert not np.array_equal(plain.test.windows(), scaled.test.windows())


def test_what_serves_learns_as_long_as_the_median_fold(small):
    options = small.options(epochs=6, members=2)
    seen: list[dict] = []
    prepared = small.prepare(epochs=6, members=2)
    model = small.family.fit(prepared, options, lambda stage, **facts: seen.append(facts))
    assert [facts["done"] for facts in seen] == sorted({facts["done"] for facts in seen})
    assert {facts["of"] for facts in seen} == {5 * 2 * 6}
    assert all(run.epoch <= 6 and run.history[-1]["val_loss"] is None for run in model.runs)


def test_few_devices_of_pure_noise_are_refused(empty):
    fill_fleet(empty.database, devices=5, wear=0.0)
    model, prepared = empty.train(**SLOW)
    assert not decide(empty, model, prepared).promoted


@pytest.mark.parametrize(("devices", "folds"), [(3, 3), (9, 9), (10, 0)])
def test_fleets_below_ten_devices_are_small(empty, devices, folds):
    fill_fleet(empty.database, devices=devices)
    prepared = empty.prepare()
    assert len(prepared.folds) == len(prepared.certificate.folds) == folds
    assert prepared.certificate.violations() == []


def test_a_champion_is_compared_by_what_it_predicted_for_devices_that_it_had_not_seen(trained, empty):
    plant, model, prepared, folder = trained
    champion, own = Champion(1, folder, {}), plant.family.evaluate(model, prepared)
    same = plant.family.evaluate_champion(champion, prepared, {})
    assert same.losses == pytest.approx(own.losses, abs=1e-2)
    fewer_rows = plant.prepare(min_history=20)
    assert plant.family.evaluate_champion(champion, fewer_rows, {}).held_out == 4
    # It made no prediction for the first rows: only a network that has seen the devices could.
    assert plant.family.evaluate_champion(champion, plant.prepare(min_history=5), {}) is None
    # Two devices are new to it: there it predicts as it serves.
    fill_fleet(empty.database, devices=6)
    grown = plant.family.evaluate_champion(champion, empty.prepare(), {})
    assert grown.held_out == 6 and grown.losses[:4] == pytest.approx(own.losses, abs=1e-2)


def test_a_training_that_was_cut_off_goes_on_in_its_fold(small, tmp_path):
    def train(report=no_progress):
        prepared = dataclasses.replace(small.prepare(epochs=4), checkpoints=tmp_path)
        return small.family.fit(prepared, small.options(epochs=4), report)

    done: list[int] = []

    def cut(stage: str, **facts: int) -> None:
        if facts["done"] == 6:
            raise KeyboardInterrupt
        done.append(facts["done"])

    with pytest.raises(KeyboardInterrupt):
        train(cut)
    assert len(list(tmp_path.iterdir())) == 2
    resumed = train(lambda stage, **facts: done.append(facts["done"]))
    assert list(tmp_path.iterdir()) == []
    whole = train()
    np.testing.assert_array_equal(resumed.held_out, whole.held_out)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
