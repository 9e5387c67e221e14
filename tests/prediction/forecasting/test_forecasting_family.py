"""The family through the contract: what is learnt, judged, saved and answered."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from errors import InvalidContent, LeakySplit, NotEnoughData, NotFound
from prediction.contract import Champion, no_progress
from prediction.forecasting.data.preparation import default_window
from prediction.forecasting.data.seasonality import find_season_length
from prediction.forecasting.data.windows import build_certificate
from prediction.forecasting.model import search
from prediction.forecasting.model.fitting import ArchitectureTrial
from prediction.forecasting.model.rolling import build_folds
from prediction.forecasting.model.search import (
    CANDIDATES,
    JUDGED_AT_ORIGINS,
    compare_architectures,
    measure_at_origins,
    select_best,
)
from prediction.forecasting.networks import ARCHITECTURES
from prediction.forecasting.options import NETWORKS
from tests.prediction.forecasting.conftest import Plant, hourly_csv
from training.execution.run_task import refuse_leaks


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_learns_saves_and_answers_as_it_learnt(plant, architecture):
    asked = {"architecture": architecture, "target_columns": ["load", "oil"], "dropout": 0.0}
    model, prepared = plant.train(**asked)
    folder = plant.save(model, prepared)
    predictor = plant.load(folder)
    plant.check_parity(predictor, model, prepared)
    losses = [entry["train_loss"] for entry in model.run.history]
    assert losses[-1] < losses[0]


def test_a_forecast_of_a_clear_rhythm_beats_the_naive_ones(plant):
    model, prepared = plant.train(
        architecture="NLinear", dataset=plant.upload(hourly_csv(1500, noise=1.0)), window_size=72, epochs=15
    )
    scores = plant.family.evaluate(model, prepared)
    assert scores.baselines.keys() == {"last_value", "seasonal_naive"}
    assert scores.beats_baselines
    assert scores.headline < scores.baselines["last_value"] / 4
    assert abs(scores.metrics["coverage_0.9"] - 0.9) < 0.08
    assert scores.metrics["oil.mae_units"] == pytest.approx(
        scores.metrics["oil.mae"] * prepared.test.series.scaler.scale[1]
    )


def test_the_scaler_knows_the_training_rows_only(plant):
    prepared = plant.prepare()
    last = prepared.certificate.train[-1][1]
    table = plant.store.get(plant.dataset).table()
    np.testing.assert_allclose(prepared.train.series.scaler.mean, table.values[: last + 1].mean(axis=0))
    np.testing.assert_allclose(prepared.train.series.scaler.scale, table.values[: last + 1].std(axis=0))


def test_the_parts_share_one_series_and_no_row(plant):
    prepared = plant.prepare()
    assert prepared.train.series is prepared.test.series
    assert prepared.certificate.violations() == []
    histories, futures = prepared.train.series.sequences()
    assert np.shares_memory(histories, prepared.train.series.z)
    assert futures.base is not None


def test_a_leaking_split_is_refused(plant):
    prepared = plant.prepare()
    series, shifted = prepared.test.series, prepared.test.starts - 5
    parts = (prepared.train.starts, prepared.validation.starts, shifted)
    leaking = dataclasses.replace(prepared, certificate=build_certificate(parts, series.window, series.steps))
    with pytest.raises(LeakySplit, match="is in both"):
        refuse_leaks(leaking)


def test_equal_data_options_and_seed_make_equal_weights(plant):
    one, _ = plant.train(architecture="BiGRU", epochs=1)
    two, _ = plant.train(architecture="BiGRU", epochs=1)
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, two.network.state_dict()[name]), name


def test_one_preparation_serves_several_trainings(plant):
    prepared = plant.prepare()
    one, two = (plant.family.fit(prepared, plant.options(), lambda stage, **facts: None) for _ in range(2))
    assert torch.equal(one.network.state_dict()["linear.weight"], two.network.state_dict()["linear.weight"])
    assert str(plant.folder) not in json.dumps(dict(prepared.facts))


def test_a_table_without_times_is_trained_and_answered_in_steps(plant):
    bare = "\n".join(line.partition(",")[2] for line in hourly_csv().splitlines()) + "\n"
    model, prepared = plant.train(dataset=plant.upload(bare))
    predictor = plant.load(plant.save(model, prepared))
    rows = [{"load": 40, "oil": 60}] * 24
    (answer,) = predictor.predict([{"rows": rows}], {})
    assert answer["timestamps"] is None
    assert len(answer["targets"]["oil"]["values"]) == 6
    assert plant.family.evaluate_champion(champion_of(plant.folder / "v0001"), prepared, {}) is not None


class Cut(Exception):
    pass


def test_a_training_cut_off_goes_on_to_the_same_weights(plant):
    def cutting(stage, **facts):
        if stage == "epoch" and facts["epoch"] == 2:
            raise Cut

    asked = {"architecture": "Conv1D-LSTM", "epochs": 4}
    with pytest.raises(Cut):
        plant.train(cutting, **asked)
    kept = list((plant.folder / "cache" / "checkpoints").iterdir())
    told = []
    resumed, _ = plant.train(lambda stage, **facts: told.append(facts["epoch"]), **asked)
    whole, _ = plant.train(**asked)
    assert len(kept) == 1
    assert told[0] > 1
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    assert list((plant.folder / "cache" / "checkpoints").iterdir()) == []


def test_auto_compares_and_takes_the_best(plant, monkeypatch):
    # The clock stands still: on a slow machine the budget would end before every architecture has been tried.
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: 0.0))
    told = []
    model, _ = plant.train(
        lambda stage, **facts: told.append((stage, facts.get("architecture"))),
        architecture="auto", time_budget_seconds=4.0, epochs=3,
    )  # fmt: skip
    best = min(model.trials, key=lambda trial: trial["val_mse"])
    assert model.architecture == best["architecture"]
    assert [name for stage, name in told if stage == "choice"] == [
        trial["architecture"] for trial in model.trials
    ]


def test_compare_trains_all_architectures_and_keeps_the_best(plant, monkeypatch):
    asked = {"dataset": plant.upload(hourly_csv(300)), "window_size": 24, "epochs": 1}
    shares, stages = [], set()
    measured: Counter[str] = Counter()

    def progress(stage: str, **facts) -> None:
        stages.add(stage)
        shares.append(facts["done"] / facts["of"])

    def measure(architecture: str, *arguments):
        measured[architecture] += 1
        return measure_at_origins(architecture, *arguments)

    monkeypatch.setattr(search, "measure_at_origins", measure)
    model, prepared = plant.train(progress, architecture="compare", **asked)
    assert stages == {"epoch", "origin", "choice"}
    assert shares == sorted(shares) and shares[-1] == 1
    assert measured == dict.fromkeys(NETWORKS, 1), "an architecture was measured twice"
    assert {trial["judged_on"] for trial in model.trials} == {"rolling_origins"}
    assert [trial["architecture"] for trial in model.trials] == list(NETWORKS)
    best = min(model.trials, key=lambda trial: trial["val_mse"])
    assert model.architecture == best["architecture"]
    # Neither weights nor epochs are chosen on the windows that choose the architecture.
    folds = build_folds(prepared.development)
    for trial in model.trials:
        if trial["architecture"] in {"RidgeLinear", "BiGRU"}:
            unseen = measure_at_origins(trial["architecture"], folds, plant.options(**asked))
            assert trial["val_mse"] == pytest.approx(unseen.mse)
    scores = plant.family.evaluate(model, prepared)
    assert best["test_mse"] == scores.metrics["network.mse"]
    (figure,) = (one for one in scores.figures if one["title"] == "Architectures compared")
    assert figure["labels"] == list(NETWORKS) and len(figure["series"]) == 2
    assert plant.options(architecture="compare", hidden_size=8)["architecture"] == "compare"


def test_auto_keeps_its_time_budget_also_within_an_epoch(plant, monkeypatch):
    """By a clock that moves a tenth of a second each time somebody looks: once a batch, at the least."""
    clock = itertools.count(step=0.1)
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    prepared = plant.prepare()
    tried = compare_architectures(
        prepared.train, plant.options(architecture="auto", time_budget_seconds=9.0, epochs=500)
    )
    assert next(clock) < 10.0
    measured = {trial["architecture"] for trial in tried if trial["val_mse"] is not None}
    assert measured == {"Smoothing", "RidgeLinear"}, "an epoch went on after its share"


def test_auto_cuts_a_long_solution_short(plant, monkeypatch):
    """By a clock that moves a second each time: a share is over before the sums of all columns are made."""
    clock = itertools.count(step=1.0)
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    prepared = plant.prepare(target_columns=["load", "oil"])
    options = plant.options(architecture="auto", target_columns=["load", "oil"], time_budget_seconds=20.0)
    solved = compare_architectures(prepared.train, options)[1]
    assert (solved["architecture"], solved["val_mse"]) == ("RidgeLinear", None)
    assert next(clock) < 40.0


def test_auto_without_time_takes_the_quickest(plant):
    prepared = plant.prepare()
    assert (
        compare_architectures(
            prepared.train, {**plant.options(architecture="auto"), "time_budget_seconds": 0.0}
        )
        == []
    )
    unfinished = ArchitectureTrial(
        architecture="BiGRU", val_mse=None, judged_on=JUDGED_AT_ORIGINS, seconds=0.0
    )
    assert select_best([]) == select_best([unfinished]) == CANDIDATES[0]


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"dataset": "ds-000000000000"}, NotFound, "no dataset"),
        ({"target_columns": ["pressure"]}, InvalidContent, "'pressure'; there are: load, oil"),
        ({"window_size": 800}, NotEnoughData, "Windows of 806 rows"),
    ],
)
def test_what_cannot_be_trained_is_said(plant, asked, error, said):
    with pytest.raises(error, match=said):
        plant.prepare(**asked)


def test_rows_out_of_order_are_refused_with_the_fix_that_helps(plant):
    lines = "time,oil\n2024-01-02,1\n2024-01-01,2\n"
    with pytest.raises(InvalidContent, match="sort_by_time"):
        plant.prepare(dataset=plant.upload(lines))


@pytest.mark.parametrize("row", [100, 880], ids=["training", "test"])
@pytest.mark.parametrize("cell", ["1e300", "-1e160", "1e40", "-3e21"])
def test_cells_too_extreme_to_compute_with_are_named(plant, row, cell):
    lines = hourly_csv().splitlines()
    time, load, _ = lines[row].split(",")
    lines[row] = f"{time},{load},{cell}"
    dataset = plant.upload("\n".join(lines))
    with pytest.raises(InvalidContent, match=rf"too extreme to compute with: 'oil' in row {row} \("):
        plant.prepare(dataset=dataset)


def test_a_column_of_huge_numbers_is_no_fault(plant):
    lines = [line if n == 0 else f"{line}e22" for n, line in enumerate(hourly_csv().splitlines())]
    assert np.isfinite(plant.prepare(dataset=plant.upload("\n".join(lines))).train.series.z).all()


def test_windows_over_missing_cells_are_left_out(plant):
    lines = hourly_csv().splitlines()
    lines[301] = lines[301].rsplit(",", 1)[0] + ","
    prepared = plant.prepare(dataset=plant.upload("\n".join(lines) + "\n"))
    touched = {row for first, last in prepared.certificate.train for row in range(first, last + 1)}
    assert 300 not in touched and 299 in touched and 301 in touched


def test_an_empty_column_that_leaves_no_window_is_named(plant):
    lines = [f"{line}," for line in hourly_csv().splitlines()]
    lines[0] += "spare"
    with pytest.raises(NotEnoughData, match=r"most are in: 'spare' [\d,]+\. Ask for the fix interpolate"):
        plant.prepare(dataset=plant.upload("\n".join(lines)), architecture="BiGRU")
    # This architecture looks at its target alone.
    prepared = plant.prepare(dataset=plant.upload("\n".join(lines)), architecture="NLinear")
    assert len(prepared.train) and np.isfinite(prepared.train.series.scaler.mean).all()


def test_how_times_are_written_is_remembered(plant):
    lines = hourly_csv(rows=400).splitlines()
    for n, line in enumerate(lines[1:]):
        lines[n + 1] = f"01/{n // 24 + 1:02d}/2024 {n % 24:02d}:00,{line.split(',', 1)[1]}"
    dataset = plant.upload("\n".join(lines))
    assert plant.prepare(dataset=dataset).train.series.time_format == "%m/%d/%Y %H:%M"


def test_seasons_are_found_in_calendar_and_in_data():
    rows = np.arange(2000)
    rhythm = np.sin(2 * np.pi * rows / 24)
    assert find_season_length(rhythm, (24, 168)) == 24
    assert find_season_length(np.sin(2 * np.pi * rows / 37)) == 37
    assert find_season_length(np.random.default_rng(0).normal(size=2000)) == 0


def champion_of(folder) -> Champion:
    return Champion(1, folder, {})


def test_a_champion_of_the_same_split_is_compared_on_the_same_windows(trained):
    plant, model, prepared, folder = trained
    candidate = plant.family.evaluate(model, prepared)
    champion = plant.family.evaluate_champion(champion_of(folder), prepared, {})
    assert champion.headline == pytest.approx(candidate.headline, rel=1e-3)
    assert len(champion.losses) == len(candidate.losses)


def test_a_champion_that_knows_the_test_rows_is_not_compared(trained):
    plant, _, prepared, folder = trained
    info = json.loads((folder / "model_info.json").read_text())
    first = prepared.test.starts[0] + prepared.test.series.window
    assert info["data"]["known_until"] < prepared.test.series.times[first]
    older = plant.prepare(dataset=plant.upload(hourly_csv(700)), target_columns=["oil", "load"])
    assert plant.family.evaluate_champion(champion_of(folder), older, {}) is None
    other = plant.prepare(target_columns=["oil"])
    assert plant.family.evaluate_champion(champion_of(folder), other, {}) is None


@pytest.mark.parametrize(
    ("architecture", "window"),
    [("auto", 192), ("BiGRU", 50)],
    ids=["auto looks at the data", "others do not"],
)
def test_a_window_that_nobody_named(plant, architecture, window):
    prepared = plant.prepare(architecture=architecture, window_size=None)
    assert prepared.train.series.window == window


def test_the_longest_window_leaves_each_part_one():
    assert default_window(17_420, 14_000, 96, 24) == 720
    assert default_window(400, 320, 24, 7) == 56
    assert default_window(120, 72, 24, 7) == 36
    assert default_window(60, 12, 24, 0) == 50  # too few rows for any: the refusal names the usual one


def weekly_csv(rows: int = 160) -> str:
    """Return a short daily series with a week, a slow trend and noise."""
    days, chance = np.arange(rows), np.random.default_rng(5)
    values = 50 + 0.05 * days + 8 * np.isin(days % 7, (5, 6)) + 2 * chance.normal(size=rows)
    stamps = np.datetime64("2024-01-01") + days
    return "time,oil\n" + "".join(f"{t},{v:.3f}\n" for t, v in zip(stamps, values, strict=True))


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Return a plant, a model that ``auto`` chose for a short series, the same fitted to all rows, and its data."""
    plant = Plant(tmp_path_factory.mktemp("short"))
    asked = {
        "dataset": plant.upload(weekly_csv()),
        "architecture": "auto",
        "window_size": None,
        "future_steps": 14,
    }
    model, prepared = plant.train(**asked)
    return plant, model, plant.family.refit(model, prepared, plant.options(**asked), no_progress), prepared


def test_a_short_series_has_a_combination_that_beats_the_simple_rules(short):
    plant, model, _, prepared = short
    assert model.architecture == "Combination"
    assert [trial["architecture"] for trial in model.trials] == ["Combination", "Smoothing", "RidgeLinear"]
    assert plant.family.evaluate(model, prepared).beats_baselines
    # A single test window would decide nothing: two horizons are forecast from each of their rows.
    assert len(prepared.test) == 15
    assert len(model.calibration.windows) > 30


def test_histories_reach_over_a_cut_and_futures_do_not(short):
    _, _, _, prepared = short
    window, first = prepared.test.series.window, prepared.certificate.test[0][0]
    assert prepared.test.starts[0] < first == prepared.test.starts[0] + window
    assert prepared.certificate.violations() == []
    assert prepared.development.starts[-1] + prepared.test.series.span == first


def test_no_trial_is_judged_on_windows_that_chose_something(short):
    _, _, _, prepared = short
    folds = build_folds(prepared.development)
    assert len(folds) >= 3
    for fold in folds:
        series = fold.learn.series
        known = max(part.starts[-1] for part in (fold.learn, *fold.split_learn())) + series.span
        assert known <= fold.judged.starts[0] + series.window
    assert folds[-1].judged.starts[-1] + prepared.test.series.span <= prepared.certificate.test[0][0]


def test_a_closed_form_serves_with_all_rows_and_keeps_the_scores_of_its_evaluation(short):
    plant, model, served, prepared = short
    assert not torch.equal(served.network.weight, model.network.weight)
    assert (
        plant.family.evaluate(served, prepared).to_dict() == plant.family.evaluate(model, prepared).to_dict()
    )
    folder = plant.save(served, prepared)
    plant.check_parity(plant.load(folder), served, prepared)
    info = json.loads((folder / "model_info.json").read_text())
    assert info["refit"]["known_until"] == prepared.test.series.times[-1]


def test_a_champion_that_knows_the_test_rows_is_compared_by_the_weights_that_were_evaluated(short):
    plant, model, served, prepared = short
    folder = plant.save(served, prepared, "v0002")
    champion = plant.family.evaluate_champion(champion_of(folder), prepared, {})
    assert champion.headline == pytest.approx(plant.family.evaluate(model, prepared).headline, rel=1e-3)


def test_a_champion_whose_rule_answers_is_compared_by_that_rule(short):
    plant, model, served, prepared = short
    evaluation = dataclasses.replace(model.evaluation, model_used="seasonal_naive")
    by_rule = dataclasses.replace(model, evaluation=evaluation)
    folder = plant.save(
        dataclasses.replace(served, evaluation=evaluation, evaluated=by_rule), prepared, "v0004"
    )
    champion = plant.family.evaluate_champion(champion_of(folder), prepared, {})
    assert champion.headline == pytest.approx(champion.baselines["seasonal_naive"], rel=1e-3)


def test_later_rows_judge_the_weights_that_serve(short):
    plant, _, served, prepared = short
    folder = plant.save(served, prepared, "v0003")
    window = prepared.test.series.window
    longer = plant.prepare(
        dataset=plant.upload(weekly_csv(240)), architecture="Smoothing", window_size=window, future_steps=14
    )
    assert longer.test.starts[0] + window >= 160
    champion = plant.family.evaluate_champion(champion_of(folder), longer, {})
    (folder / "evaluated.onnx").unlink()
    assert plant.family.evaluate_champion(champion_of(folder), longer, {}).headline == champion.headline


def walk_csv(rows: int = 900) -> str:
    values = np.random.default_rng(3).normal(size=rows).cumsum()
    stamps = np.datetime64("2024-01-01T00:00:00") + np.arange(rows) * np.timedelta64(1, "h")
    return "time,oil\n" + "".join(f"{t},{v:.4f}\n" for t, v in zip(stamps, values, strict=True))


def test_a_network_that_errs_more_than_a_simple_rule_does_not_answer(plant):
    asked = {"dataset": plant.upload(walk_csv()), "architecture": "BiLSTM", "residual_to_last": False}
    model, prepared = plant.train(**asked, epochs=1, learning_rate=1e-6)
    scores = plant.family.evaluate(model, prepared)
    assert scores.headline == scores.baselines["last_value"] < scores.metrics["network.mse"]
    assert not scores.beats_baselines
    folder = plant.save(model, prepared)
    predictor = plant.load(folder)
    plant.check_parity(predictor, model, prepared)
    probe = plant.family.build_probe(model, prepared)
    answer = probe.expected[0]
    last = probe.inputs[0]["rows"][-1]["oil"]
    assert answer["model_used"] == "last_value"
    np.testing.assert_allclose(answer["targets"]["oil"]["values"], last, atol=1e-4)
    champion = plant.family.evaluate_champion(champion_of(folder), prepared, {})
    assert champion.headline == pytest.approx(scores.headline, rel=1e-3)
