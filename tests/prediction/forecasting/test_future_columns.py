"""Columns known in advance: learnt where they help, asked for in requests, and never a look at the target's future."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch

from errors import InvalidContent, InvalidRecords
from prediction.forecasting.model.effects import choose_effects, estimate_effects
from prediction.forecasting.model.fitting import forecast_function
from tests.prediction.forecasting.conftest import Plant, hourly_csv

STEPS, WINDOW, EFFECT = 6, 24, -8.0
NETWORKS = ["RidgeLinear", "Smoothing", "Combination", "NLinear", "PatchTransformer", "BiGRU"]


def planned_csv(rows: int = 500, *, effect: float = EFFECT, seed: int = 0) -> str:
    """Power with a daily rhythm that a planned stop, of five hours now and then, lowers; and a column of noise."""
    chance = np.random.default_rng(seed)
    hours = np.arange(rows)
    stop = np.zeros(rows)
    for first in chance.integers(0, rows, rows // 30):
        stop[first : first + 5] = 1
    power = 40 + 5 * np.sin(2 * np.pi * hours / 24) + effect * stop + 0.5 * chance.normal(size=rows)
    stamps = np.datetime64("2024-01-01T00:00:00") + hours * np.timedelta64(1, "h")
    noise = chance.normal(size=rows)
    lines = [f"{t},{s:.0f},{n:.4f},{p:.4f}" for t, s, n, p in zip(stamps, stop, noise, power, strict=True)]
    return "\n".join(["time,stop,noise,power", *lines]) + "\n"


def read_rows(text: str) -> list[dict[str, str]]:
    header, *lines = text.splitlines()
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


def options(plant, **asked):
    return {
        "dataset": plant.upload(planned_csv()),
        "target_columns": ["power"],
        "window_size": WINDOW,
        "future_steps": STEPS,
        **asked,
    }


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Return a plant, the predictor of a model with planned stops, and its folder."""
    plant = Plant(tmp_path_factory.mktemp("planned"))
    asked = options(plant, architecture="RidgeLinear", future_columns=["stop"])
    model, prepared = plant.train(**asked)
    served = plant.family.refit(model, prepared, plant.options(**asked), lambda *_, **__: None)
    folder = plant.save(served, prepared)
    plant.check_parity(plant.load(folder), served, prepared)
    return plant, plant.load(folder), folder


def ask(predictor, rows, future=None, **query):
    return predictor.predict([{"rows": rows, "future": future, **query}], {})[0]


@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_planned_stop_is_forecast(plant, architecture):
    asked = options(plant, architecture=architecture, epochs=8)
    without, _ = plant.train(**asked)
    model, prepared = plant.train(**asked, future_columns=["stop"])
    assert model.evaluation.network_mse < 0.6 * without.evaluation.network_mse
    folder = plant.save(model, prepared)
    info = json.loads((folder / "model_info.json").read_text())
    assert info["future_columns"] == ["stop"] and info["future_rows"] == STEPS
    assert info["future_effects"]["power"]["stop"] == pytest.approx(EFFECT, abs=0.5)
    plant.check_parity(plant.load(folder), model, prepared)


def test_auto_takes_them_into_account(plant):
    asked = options(plant, architecture="auto", time_budget_seconds=5)
    model, _ = plant.train(**asked, future_columns=["stop"])
    without, _ = plant.train(**asked)
    assert model.trials[0]["val_mse"] < without.trials[0]["val_mse"]
    assert model.evaluation.network_mse < 0.5 * without.evaluation.network_mse


def test_a_column_that_explains_nothing_is_not_asked_for(plant):
    asked = options(plant, architecture="RidgeLinear", future_columns=["noise"])
    prepared = plant.prepare(**asked)
    # What chance makes of it, no validation confirms; where it does, the effect is nearly nothing.
    effects = choose_effects(prepared.train, prepared.validation, plant.options(**asked))
    assert effects is None or float(effects.abs().max()) < 0.05


def test_the_future_of_the_target_is_never_seen(plant):
    asked = options(plant, architecture="RidgeLinear", future_columns=["stop"])
    model, prepared = plant.train(**asked)
    spans = prepared.test.spans(prepared.test.starts[:5])
    forecast = forecast_function(model.network)(prepared.test, prepared.test.starts[:5])
    spans[:, WINDOW:, prepared.test.series.columns.index("power")] += 100
    changed = model.network(torch.from_numpy(spans)).detach().numpy().reshape(forecast.shape)
    np.testing.assert_array_equal(changed, forecast)


def test_effects_are_found_within_a_season_and_a_random_walk(plant):
    chance = np.random.default_rng(3)
    walk = np.cumsum(chance.normal(size=500))
    lines = planned_csv(effect=0.0).splitlines()
    names = lines[0].split(",")
    rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
    text = "\n".join(
        ["time,stop,power"]
        + [
            f"{r['time']},{r['stop']},{float(r['power']) + w - 4 * float(r['stop']):.4f}"
            for r, w in zip(rows, walk, strict=True)
        ]
    )
    asked = {**options(plant), "dataset": plant.upload(text + "\n"), "future_columns": ["stop"]}
    train = plant.prepare(**asked).train
    scale = train.series.scaler.scale
    stop, power = (train.series.columns.index(name) for name in ("stop", "power"))
    assert estimate_effects(train)[stop, 0] * scale[power] / scale[stop] == pytest.approx(-4, abs=0.6)


def test_a_request_brings_the_horizon_and_the_forecast_follows_it(planned):
    _, predictor, _ = planned
    rows = read_rows(planned_csv())[-40:]
    calm = ask(predictor, rows, [{"stop": 0}] * STEPS)
    stopped = ask(predictor, rows, [{"stop": 0}] * 2 + [{"stop": 1}] * (STEPS - 2))
    change = np.subtract(stopped["targets"]["power"]["values"], calm["targets"]["power"]["values"])
    np.testing.assert_allclose(change, [0, 0, *[EFFECT] * (STEPS - 2)], atol=0.5)
    assert calm["timestamps"] == stopped["timestamps"] and len(calm["timestamps"]) == STEPS


def test_the_horizon_may_be_the_last_rows_of_a_table(planned):
    _, predictor, _ = planned
    rows = read_rows(planned_csv())[-40:]
    moments = np.datetime64(rows[-1]["time"]) + np.arange(1, STEPS + 1) * np.timedelta64(1, "h")
    future = [{"time": str(moment), "stop": "1"} for moment in moments]
    named = ask(predictor, rows, future)
    table = [*rows, *({**row, "noise": "", "power": ""} for row in future)]
    assert ask(predictor, table) == named == ask(predictor, rows, [{"stop": 1}] * STEPS)


def test_times_of_the_horizon_must_follow(planned):
    _, predictor, _ = planned
    rows = read_rows(planned_csv())[-40:]
    future = [{"time": rows[-1]["time"], "stop": 0}] * STEPS
    with pytest.raises(InvalidContent, match="record 41 is 0 s after the one before"):
        ask(predictor, rows, future)


def test_missing_or_wrong_values_of_the_horizon_are_one_clear_error(planned):
    _, predictor, _ = planned
    rows = read_rows(planned_csv())[-40:]
    for future in (None, [], [{"stop": 0}] * (STEPS - 1), [{"stop": 0}] * (STEPS + 1)):
        with pytest.raises(
            InvalidContent, match=rf"needs 'stop' in the {STEPS} rows to forecast, \d were sent"
        ):
            ask(predictor, rows, future)
    with pytest.raises(InvalidRecords) as refused:
        ask(predictor, rows, [{"stop": 0}] * (STEPS - 2) + [{"stop": "soon"}, {}])
    assert [(fault["record"], fault["field"], fault["code"]) for fault in refused.value.facts["errors"]] == [
        (STEPS - 1, "future.stop", "type"), (STEPS, "future.stop", "missing"),
    ]  # fmt: skip


def test_a_model_without_such_columns_says_that_it_ignores_them(trained):
    plant, _, _, folder = trained
    predictor = plant.load(folder)
    rows = read_rows(hourly_csv())[:60]
    answer = ask(predictor, rows, [{"stop": 0}])
    assert answer["warnings"] == ["future was not used: this model needs no values of the rows to forecast"]


def test_the_exported_network_takes_window_and_horizon(planned):
    _, _, folder = planned
    info = json.loads((folder / "model_info.json").read_text())
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    assert session.get_inputs()[0].shape[1:] == [WINDOW + info["future_rows"], len(info["columns"])]
    opened: dict = {}
    code = "\n".join(info["pytorch"]["load"])
    code = code.replace("'model_info.json'", repr(str(folder / "model_info.json")))
    exec(code.replace("'model.pth'", repr(str(folder / "model.pth"))), opened)
    rows = torch.randn(3, WINDOW + STEPS, len(info["columns"]))
    with torch.no_grad():
        expected = opened["network"](rows).numpy()
    np.testing.assert_allclose(session.run(None, {"input": rows.numpy()})[0], expected, atol=1e-4)


def test_a_champion_with_such_columns_is_compared_on_the_same_windows(planned):
    plant, _, folder = planned
    asked = options(plant, architecture="NLinear", epochs=1)
    prepared = plant.prepare(**asked)
    info = plant.family.read_info(folder)
    scores = plant.family.score_champion(folder, prepared)
    assert np.isfinite(scores.headline) and info.steps == STEPS


def test_a_target_is_not_known_in_advance(plant):
    with pytest.raises(InvalidContent, match="future_columns: name no target, power"):
        plant.options(**options(plant, future_columns=["power"]))
    with pytest.raises(InvalidContent, match="no numeric column 'plan'"):
        plant.prepare(**options(plant, future_columns=["plan"]))
