"""The family through the contract: what is learnt, judged, saved and answered."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from errors import ArtefactCorrupt, InvalidContent, NotEnoughData, NotFound
from prediction.contract import Champion, ModelKey, RecordBatch
from prediction.rul.data.splits import MIN_DEVICES
from prediction.rul.evaluation.evaluate import evaluate, to_scores
from prediction.rul.networks import MODELS
from prediction.rul.options import describe_rows
from prediction.rul.training import choose_augmentation, create_loss
from storage.devices.failures import FailureEvent, Failures
from storage.devices.tables import failure_events, sensor_data
from storage.devices.telemetry import Telemetry, TelemetryRows
from storage.sensors.readings import from_microseconds
from tests.prediction.rul.conftest import HOUR, START, fill_fleet
from training.gate import PromotionRules, decide_promotion


def verdict(plant, model, prepared, champion=None, **asked):
    scores = plant.family.evaluate(model, prepared)
    rules = PromotionRules.for_training(plant.family, plant.options(**asked))
    return decide_promotion(scores, champion, rules, is_first=champion is None)


def failure(device: str, time: int) -> FailureEvent:
    return {"device_id": device, "event_time": from_microseconds(time), "event_type": "failure"}


@pytest.mark.parametrize("model_type", sorted(MODELS))
@pytest.mark.parametrize("output", ["mean", "quantiles"])
def test_every_model_learns_saves_and_answers_as_it_learnt(plant, tmp_path, model_type, output):
    asked = {"model_type": model_type, "output": output, "epochs": 2, "hidden_size": 8, "stride": 5}
    model, prepared = plant.train(**asked)
    plant.family.save(model, prepared, tmp_path)
    predictor = plant.load(tmp_path)
    plant.check_parity(predictor, model, prepared)
    (history,) = json.loads((tmp_path / "training_history.json").read_text())["members"]
    assert history["epochs"][-1]["train_loss"] < history["epochs"][0]["train_loss"]


def test_a_model_of_wear_beats_the_mean_and_is_promoted(trained):
    plant, model, prepared, _ = trained
    scores = plant.family.evaluate(model, prepared)
    assert scores.headline < 0.6 * scores.baselines["mean_rul"]
    assert scores.beats_baselines
    assert verdict(plant, model, prepared).promoted
    assert len(scores.losses) == len(prepared.facts["devices"]["test"])


def test_a_model_of_pure_noise_is_refused(empty):
    fill_fleet(empty.database, wear=0.0)
    model, prepared = empty.train(epochs=30, early_stopping_patience=0)
    decided = verdict(empty, model, prepared)
    assert not decided.promoted
    assert any("does not beat the simple rules" in reason for reason in decided.reasons)


def test_a_model_that_misses_the_last_hours_does_not_replace_one_that_finds_them(trained):
    plant, model, prepared, folder = trained
    champion = plant.family.evaluate_champion(Champion(1, folder, {}), prepared, {})
    test, labeler = prepared.test, prepared.preprocessor.labeler
    truth = test.targets.astype(float)
    rules = PromotionRules.for_training(plant.family, plant.options())

    def decide(late: np.ndarray):
        """Return the failed checks of a model that calls these moments 2 h above critical, and is right else."""
        predictions = np.where(late & (truth < labeler.critical_hours), labeler.critical_hours + 2, truth)
        performance = evaluate(predictions, test, labeler)
        scores = to_scores(performance, predictions, test, prepared.baselines, labeler)
        assert scores.headline < champion.headline
        return {check.name for check in decide_promotion(scores, champion, rules).checks if not check.passed}

    assert decide(np.full(len(truth), True)) >= {"critical_missed_rate", "critical_lateness"}
    assert not decide(test.devices == test.devices[0])
    assert verdict(plant, model, prepared, max_critical_missed=1).promoted
    assert not verdict(plant, model, prepared, max_critical_missed=0).promoted


@pytest.mark.parametrize("output", ["mean", "quantiles"])
def test_an_end_weight_counts_errors_near_the_failure(plant, output):
    def loss(target: float, **asked) -> float:
        targets = torch.tensor([target, 60.0])
        outputs = targets[:, None].repeat(1, 3 if output == "quantiles" else 1)
        outputs[0] += 5.0
        return float(create_loss(plant.options(output=output, **asked))(outputs, targets))

    assert loss(0.0) == pytest.approx(loss(50.0)) == pytest.approx(loss(50.0, end_weight=9))
    assert loss(0.0, end_weight=9) == pytest.approx(1.8 * loss(0.0), rel=1e-4)
    assert loss(0.0, end_weight=9) > loss(25.0, end_weight=9) > loss(50.0, end_weight=9)


def test_a_threshold_and_promotion_by_hand_are_conditions_of_the_gate(trained):
    plant, model, prepared, _ = trained
    assert verdict(plant, model, prepared, deployment_threshold=1_000).promoted
    tight = verdict(plant, model, prepared, deployment_threshold=0.01)
    assert not tight.promoted and "above the 0.01" in " ".join(tight.reasons)
    by_hand = verdict(plant, model, prepared, promote="manual")
    assert not by_hand.promoted and "promote" in " ".join(by_hand.reasons)


def test_a_champion_is_compared_on_the_same_devices_through_its_own_window(trained):
    plant, model, prepared, folder = trained
    champion = Champion(1, folder, {})
    mine = plant.family.evaluate(model, prepared)
    again = plant.family.evaluate_champion(champion, prepared, {})
    assert again.headline == pytest.approx(mine.headline, rel=1e-4)
    assert len(again.losses) == len(mine.losses)
    longer = plant.prepare(sequence_length=20, smoothing=1)
    other = plant.family.evaluate_champion(champion, longer, {})
    assert other.held_out == len(longer.facts["devices"]["test"])
    assert other.headline == pytest.approx(mine.headline, rel=0.5)


def test_a_champion_that_knows_the_test_devices_is_not_compared(trained):
    plant, _, prepared, folder = trained
    known = prepared.facts["devices"]["train"]
    few = plant.prepare(device_ids=known)
    assert plant.family.evaluate_champion(Champion(1, folder, {}), few, {}) is None
    other = plant.prepare(prediction_horizon_hours=50)
    assert plant.family.evaluate_champion(Champion(1, folder, {}), other, {}) is None


def test_only_what_is_read_of_a_champion_can_be_damaged(trained, tmp_path, monkeypatch):
    plant, _, prepared, folder = trained
    damaged = shutil.copytree(folder, tmp_path / "1")
    info = json.loads((damaged / "model_metadata.json").read_text())
    (damaged / "model_metadata.json").write_text(json.dumps({**info, "data": {}}))
    with pytest.raises(ArtefactCorrupt, match="Version 1 cannot be read"):
        plant.family.evaluate_champion(Champion(1, damaged, {}), prepared, {})
    # A fault of the comparison says nothing about the files.
    monkeypatch.delitem(prepared.facts, "all_channels")
    with pytest.raises(KeyError, match="all_channels"):
        plant.family.evaluate_champion(Champion(1, folder, {}), prepared, {})


def test_metrics_have_their_names_and_their_right_sides(trained):
    _, _, _, folder = trained
    told = json.loads((folder / "model_metadata.json").read_text())
    assert told.keys() >= {"model_version", "model_type", "training_date", "performance_metrics"}
    metrics = told["performance_metrics"]
    wanted = {"mae", "rmse", "r2", "early_prediction_rate", "late_prediction_rate", "critical_accuracy"}
    assert metrics.keys() >= wanted | {"classification_report", "nasa_score", "alpha_lambda"}
    assert 0.5 < metrics["early_prediction_rate"] + metrics["late_prediction_rate"] <= 1
    assert set(metrics["classification_report"]) == {"critical", "warning", "normal", "accuracy"}
    assert 0.7 <= metrics["interval_coverage_90"] <= 1.0
    assert told["model_version"][8] == "_"


def test_model_info_says_how_the_weights_are_opened(plant, tmp_path, monkeypatch):
    model, prepared = plant.train(model_type="lstm", hidden_size=8, epochs=1, members=2)
    plant.family.save(model, prepared, tmp_path)
    monkeypatch.chdir(tmp_path)
    opened: dict = {}
    exec("\n".join(json.loads((tmp_path / "model_info.json").read_text())["pytorch"]["load"]), opened)
    windows = torch.from_numpy(prepared.test.windows(slice(0, 4)))
    with torch.no_grad():
        assert torch.equal(opened["network"](windows), model.network(windows))


def test_a_training_says_which_rows_of_a_window_are_used(plant):
    options = plant.options(sequence_length=50, smoothing=10)
    assert describe_rows(options) == (
        "Of the 50 rows of a window, the network looks at 5: rows 10, 20, 30, 40, 50, the last one being the newest "
        "(every is 10; 1 looks at all)"
    )
    assert describe_rows({**options, "every": 1}) == ""
    assert plant.prepare().facts["window_note"].startswith("Of the 12 rows of a window")


def test_equal_data_options_and_seed_make_equal_weights(plant):
    asked = {"model_type": "lstm", "hidden_size": 8, "epochs": 1, "members": 2}
    one, _ = plant.train(**asked)
    two, _ = plant.train(**asked)
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, two.network.state_dict()[name]), name


def test_training_windows_are_moved_as_a_whole_and_no_others(plant):
    kept = plant.prepare().train.runs.matrix.copy()
    moved = choose_augmentation(plant.options(model_type="lstm"))
    torch.manual_seed(0)
    windows = torch.zeros(4_000, 12, 3)
    assert moved is not None
    off = moved(windows)
    assert torch.equal(off, off[:, :1].expand_as(off)) and not windows.any()
    assert abs(float(off[:, 0].std()) - 0.3) < 0.02
    assert choose_augmentation(plant.options(model_type="mlp")) is None
    assert choose_augmentation(plant.options(model_type="lstm", jitter=0)) is None
    one, prepared = plant.train(model_type="lstm", hidden_size=4, epochs=1)
    two, _ = plant.train(model_type="lstm", hidden_size=4, epochs=1, jitter=0)
    assert not torch.equal(
        one.network.state_dict()["head.0.weight"], two.network.state_dict()["head.0.weight"]
    )
    np.testing.assert_array_equal(prepared.train.runs.matrix, kept)


class Cut(Exception):
    pass


def test_an_ensemble_cut_off_goes_on_to_the_same_weights(plant):
    def cutting(stage, **facts):
        if stage == "epoch" and facts["done"] == 14:
            raise Cut

    kept, told = plant.folder / "cache" / "checkpoints", []
    with pytest.raises(Cut):
        plant.train(cutting, members=2)
    assert len(list(kept.iterdir())) == 2
    resumed, _ = plant.train(lambda stage, **facts: told.append(facts["done"]), members=2)
    whole, _ = plant.train(members=2)
    assert 1 not in told and 13 not in told, "both networks go on"
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert [entry["val_loss"] for entry in whole.runs[1].history] == [
        entry["val_loss"] for entry in resumed.runs[1].history
    ]
    assert list(kept.iterdir()) == []


def test_operating_conditions_are_found_and_taken_out(empty):
    fill_fleet(empty.database, conditions=3)
    prepared = empty.prepare()
    assert prepared.facts["conditions"] == 3
    assert "housing" not in prepared.facts["channels"]
    assert prepared.facts["settings"] == ["setting_load"]
    fresh = prepared.train.windows()[prepared.train.targets >= 60]
    assert abs(fresh.mean()) < 1.5
    model = empty.family.fit(prepared, empty.options(), lambda stage, **facts: None)
    scores = empty.family.evaluate(model, prepared)
    assert scores.headline < 0.7 * scores.baselines["mean_rul"]


def test_conditions_that_nobody_named_are_suspected(empty):
    fill_fleet(empty.database, devices=8, conditions=3)
    (told,) = empty.prepare(setting_channels=[]).validation_report["fleet"]
    assert told["code"] == "conditions"
    assert told["message"].startswith("setting_load, ") and "3 separate levels" in told["message"]
    assert empty.prepare().validation_report["fleet"] == []


def test_wear_is_not_suspected_of_being_a_condition(plant):
    assert plant.prepare(setting_channels=[]).validation_report["fleet"] == []


def test_windows_are_views_and_no_device_is_in_two_parts(plant):
    prepared = plant.prepare()
    fleet = prepared.train.runs
    assert np.shares_memory(fleet.windows(), fleet.matrix)
    assert prepared.certificate.violations() == []
    parts = [set(prepared.facts["devices"][name]) for name in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 20
    np.testing.assert_array_equal(
        prepared.test.windows()[0][-1], fleet.matrix[fleet.last_rows[prepared.test.rows[0]]]
    )


def test_what_cannot_be_trained_is_said(empty):
    fill_fleet(empty.database, devices=2)
    with pytest.raises(NotEnoughData, match="failed: 2, at least 3"):
        empty.prepare()
    fill_fleet(empty.database, devices=8, seed=2, tenant="default")
    with pytest.raises(NotEnoughData, match="input_size is 99"):
        empty.prepare(input_size=99)
    with pytest.raises(NotEnoughData, match="sequence_length"):
        empty.prepare(sequence_length=900)


def test_a_request_with_too_few_failed_devices_is_refused(empty):
    fill_fleet(empty.database, devices=8)
    key, check = ModelKey("rul", "few"), empty.data_source.check_options
    check(key, empty.options())
    with pytest.raises(NotEnoughData, match=rf"failed: 1, at least {MIN_DEVICES} .*device_ids$"):
        check(key, empty.options(device_ids=["P-000"]))
    with pytest.raises(NotEnoughData, match="failed: 0, "):
        check(key, empty.options(start_date="2031-01-01T00:00:00Z"))
    Failures(empty.database).remove("default", [failure_events.c.device_id > "P-000"])
    with pytest.raises(NotEnoughData, match=r"failed: 1, .*POST /api/failure-events"):
        check(key, empty.options())
    check(key, empty.options(censored="lower_bound"))


def test_options_that_leave_no_time_are_refused(plant):
    with pytest.raises(InvalidContent, match="start_date: must not be after end_date"):
        plant.options(start_date="2026-02-01T00:00:00Z", end_date="2026-01-01")
    assert plant.options(start_date="2026-01-01", end_date="2026-01-01T00:00:00+00:00")


def test_too_few_failures_are_explained(empty):
    fill_fleet(empty.database, devices=6)
    with pytest.raises(NotEnoughData, match=r"telemetry of 0 devices .*start_date"):
        empty.prepare(start_date="2031-01-01T00:00:00Z")
    with pytest.raises(NotEnoughData, match=r"telemetry of 6 .*6 have no run of 900 rows .*min_history"):
        empty.prepare(sequence_length=900)
    Failures(empty.database).remove("default", [failure_events.c.device_id != "P-000"])
    Failures(empty.database).ingest("default", [failure(name, START + 90 * HOUR) for name in ("p1", "p2")])
    with pytest.raises(NotEnoughData, match=r"5 have no failure .* no telemetry of p1, p2$"):
        empty.prepare()


def test_one_odd_device_does_not_stop_the_others(empty):
    fill_fleet(empty.database, devices=8)
    whole = empty.prepare()
    Telemetry(empty.database).ingest("default", TelemetryRows(["ODD"], [START], [{"oil": 1.0}]))
    fans = TelemetryRows(
        ["FAN"] * 90, [START + HOUR * n for n in range(90)], [{"speed": float(n)} for n in range(90)]
    )
    Telemetry(empty.database).ingest("default", fans)
    ends = [("ODD", START), ("FAN", START + 90 * HOUR)]
    Failures(empty.database).ingest("default", [failure(name, end) for name, end in ends])
    prepared = empty.prepare()
    assert prepared.facts["channels"] == whole.facts["channels"]
    assert prepared.facts["devices"] == whole.facts["devices"]
    (warning,) = prepared.validation_report["devices"]["FAN"]["warnings"]
    assert warning["code"] == "channels" and "left out" in warning["message"]


def test_a_beginning_names_devices(plant):
    prepared = plant.prepare(device_ids=["P-00*", "P-011"])
    known = {name for names in prepared.facts["devices"].values() for name in names}
    assert known == {*(f"P-00{n}" for n in range(10)), "P-011"}
    plant.data_source.check_options(ModelKey("rul", "one"), plant.options(device_ids=["P-00*", "P-011"]))
    with pytest.raises(NotFound, match=r"no telemetry of P-9\*, X"):
        plant.data_source.check_options(
            ModelKey("rul", "one"), plant.options(device_ids=["P-00*", "P-9*", "X"])
        )


def test_devices_of_two_kinds_are_told_apart_by_name(empty):
    fill_fleet(empty.database, devices=8)
    for place in range(8):
        name = f"FAN-{place}"
        fans = TelemetryRows(
            [name] * 90, [START + HOUR * n for n in range(90)], [{"speed": float(n)} for n in range(90)]
        )
        Telemetry(empty.database).ingest("default", fans)
        end = from_microseconds(START + 90 * HOUR)
        Failures(empty.database).ingest(
            "default", [{"device_id": name, "event_time": end, "event_type": "failure"}]
        )
    with pytest.raises(NotEnoughData, match=r"no channel in common.*FAN-0 .*speed.*device_ids"):
        empty.prepare()
    with pytest.raises(NotEnoughData, match="share only setting channels"):
        empty.prepare(device_ids=[f"FAN-{n}" for n in range(8)], setting_channels=["speed"])


def test_events_that_teach_nothing_are_warned_of(empty):
    fill_fleet(empty.database, devices=6)
    events = [("P-001", START - HOUR), ("P-002", START + 5_000 * HOUR), ("GHOST", START)]
    Failures(empty.database).ingest("default", [failure(name, time) for name, time in events])
    devices = empty.prepare().validation_report["devices"]
    codes = {name: [told["code"] for told in report["warnings"]] for name, report in devices.items()}
    assert codes["P-001"] == ["failures_before"]
    assert codes["P-002"] == ["failures_long_after"]
    assert codes["GHOST"] == ["no_telemetry"]


def test_impossible_values_stop_a_training_with_the_device(empty):
    fill_fleet(empty.database, devices=6)
    with empty.database.write() as connection:
        one = sensor_data.update().where(sensor_data.c.id == 5).values(temperature_mean=-300.0)
        connection.execute(one)
    with pytest.raises(InvalidContent, match=r"P-000: temperature_mean has 1 values"):
        empty.prepare()


def test_an_overfit_batch_comes_near_zero_loss(plant):
    model, _ = plant.train(
        device_ids=None, model_type="lstm", hidden_size=32, dropout=0.0, jitter=0.0, epochs=40, stride=25
    )
    assert model.runs[0].history[-1]["train_loss"] < 0.1 * model.runs[0].history[0]["train_loss"]


def test_a_model_that_knows_the_age_asks_for_it(plant, tmp_path):
    model, prepared = plant.train(use_age=True, epochs=2)
    assert "operating_hours" in prepared.facts["channels"]
    assert "operating_hours" not in plant.prepare().facts["channels"]
    plant.family.save(model, prepared, tmp_path)
    predictor = plant.load(tmp_path)
    key = ModelKey("rul", "aged")
    named = RecordBatch(plant.parser.parse_inputs({"device_id": "AGED"}).records)
    telemetry = Telemetry(plant.database)
    (old,) = telemetry.stream("default", ["P-001"])
    rows = [dict(zip(old.channels, row, strict=True)) for row in old.values.tolist()]
    telemetry.ingest("default", TelemetryRows(["AGED"] * len(rows), old.times.tolist(), rows))
    try:
        (asked,) = plant.data_source.resolve_inputs(key, named, {}).records
        assert asked["rows"][-1]["operating_hours"] == len(rows) - 1
        assert predictor.predict([asked], {})[0]["rows_used"] == len(rows)
        (bare,) = plant.parser.parse_inputs({"rows": rows}).records
        with pytest.raises(InvalidContent, match="operating_hours"):
            predictor.predict([bare], {})
    finally:
        telemetry.remove("default", [sensor_data.c.device_id == "AGED"])


def test_a_model_that_knows_the_age_and_noise_is_refused(empty):
    fill_fleet(empty.database, wear=0.0)
    model, prepared = empty.train(epochs=30, use_age=True)
    scores = empty.family.evaluate(model, prepared)
    assert scores.headline < 0.95 * scores.baselines["mean_rul"]
    decided = verdict(empty, model, prepared)
    assert not decided.promoted and "age_only" in " ".join(decided.reasons)
