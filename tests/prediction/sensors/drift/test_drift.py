"""Drift forecasts: the regression is the promised one, its interval covers, its confidence is measured."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from prediction.sensors import drift
from prediction.sensors.drift import DriftModel
from prediction.sensors.readings.series import SensorSeries
from storage.sensors.baseline import Baseline


def drifting(n=1_000, slope=0.01, seed=0, noise=0.5):
    random = np.random.default_rng(seed)
    values = 50 + np.arange(n) * slope + random.normal(0, noise, n)
    return SensorSeries(np.arange(n), 1.7e9 + np.arange(n) * 300.0, values)


FIFTY = Baseline(50.0, 50.0)


def test_the_weights_are_those_of_scikit_learn():
    series = drifting()
    model = drift.train(series, FIFTY)
    rows, targets = drift.build_features(drift.compute_drift(FIFTY, series.values), np.arange(1_000) / 12, 5)
    theirs = LinearRegression().fit(rows, targets)
    assert np.allclose(model.weights, theirs.coef_, atol=1e-9)
    assert model.intercept == pytest.approx(theirs.intercept_, abs=1e-9)


@pytest.mark.parametrize(("readings", "window"), [(16, 4), (20, 5), (1_000, 5)])
def test_the_window_is_five_readings_or_a_quarter_of_them(readings, window):
    assert drift.train(drifting(readings), FIFTY).window == window


def test_the_interval_covers_what_comes():
    inside = []
    for seed in range(20):
        series = drifting(600, seed=seed)
        model = drift.train(series.select(slice(0, 576)), FIFTY)
        points = model.forecast(series.values[571:576], series.times[575], 24)
        truth = drift.compute_drift(FIFTY, series.values[576:])
        inside += [point["low"] <= true <= point["high"] for point, true in zip(points, truth, strict=True)]
        assert abs(model.facts["measured_coverage"] - 0.9) < 0.15
    assert 0.8 < np.mean(inside) < 0.99


def test_confidence_is_measured_step_by_step_and_unknown_beyond_the_backtest():
    model = drift.train(drifting(), FIFTY)
    points = model.forecast(drifting().values[-5:], 1.7e9 + 999 * 300.0, 30)
    assert len({point["confidence"] for point in points[:24]}) > 1
    assert all(point["confidence"] is None for point in points[24:])
    assert points[29]["high"] - points[29]["low"] > points[23]["high"] - points[23]["low"]


def test_a_saved_model_forecasts_the_same(tmp_path):
    model = drift.train(drifting(), FIFTY)
    model.save(tmp_path)
    recent = drifting().values[-5:]
    assert DriftModel.load(tmp_path).forecast(recent, 1.8e9, 5) == model.forecast(recent, 1.8e9, 5)


def test_a_constant_sensor_stays_where_it_is():
    series = drifting(100, slope=0.0, noise=0.0)
    points = drift.train(series, FIFTY).forecast(series.values[-5:], series.times[-1], 3)
    assert [point["drift"] for point in points] == [0.0, 0.0, 0.0]


def test_later_readings_judge_the_error_at_the_horizon_beside_simple_rules():
    series = drifting()
    scores = drift.evaluate(drift.train(series.select(slice(0, 800)), FIFTY), series, 800)
    assert scores.held_out == 200 - 24 + 1
    assert scores.beats_baselines
    assert scores.headline == pytest.approx(np.mean(scores.losses))
    assert set(scores.baselines) == {"last_value", "same_hour_yesterday", "no_drift"}


def ask(model, series, steps=24):
    question = {
        "value": float(series.values[-1]),
        "time": float(series.times[-1]),
        "recent": series.values[-1_000:-1].tolist(),
        "future_points": steps,
    }
    return model.predict([question])[0]


def test_a_forecast_that_loses_to_the_last_value_hands_over_to_it():
    walk = 50 + np.cumsum(np.random.default_rng(6).normal(0, 0.3, 1_000))
    series = SensorSeries(np.arange(1_000), 1.7e9 + np.arange(1_000) * 300.0, walk)
    answer = ask(drift.train(series, FIFTY), series)
    assert answer["model_used"] == "last_value"
    assert {point["drift"] for point in answer["predictions"]} == {answer["current_drift"]}
    assert "the last value was closer 24 steps ahead" in answer["fallback_reason"]
    assert answer["predictions"][0]["low"] < answer["current_drift"] < answer["predictions"][0]["high"]


def test_a_daily_rhythm_is_forecast_by_the_same_hour_of_yesterday():
    random, times = np.random.default_rng(5), 1.7e9 + np.arange(1_200) * 3_600.0
    shape = random.normal(0, 3, 24)
    values = 50 + shape[(times / 3_600).astype(int) % 24] + random.normal(0, 0.1, 1_200)
    series = SensorSeries(np.arange(1_200), times, values)
    model = drift.train(series.select(slice(0, 1_176)), FIFTY)
    answer = ask(model, series.select(slice(0, 1_176)))
    assert answer["model_used"] == "same_hour_of_three_days"
    truth = drift.compute_drift(FIFTY, values[1_176:])
    assert np.allclose([point["drift"] for point in answer["predictions"]], truth, atol=2)
    few = ask(model, series.select(slice(1_170, 1_176)))
    assert few["model_used"] not in {"same_hour_yesterday", "same_hour_of_three_days"}


def test_a_fast_sensor_reads_no_days_for_a_forecast():
    """Three days of a reading every five seconds are 51,840 values, and those of 400 origins 170 MB."""
    times = 1.7e9 + np.arange(100_000) * 5.0
    values = 50 + np.sin(times / 86_400 * 2 * np.pi)
    model = drift.train(SensorSeries(np.arange(100_000), times, values), FIFTY)
    assert model.context_length <= 10_000
    assert not {rule["method"] for rule in model.rules} & {"same_hour_yesterday", "same_hour_of_three_days"}


def test_each_step_has_the_method_that_was_closest_there():
    """A slow walk round a daily rhythm: the last value is close for a step, the hour of the day later."""
    random, times = np.random.default_rng(5), 1.7e9 + np.arange(2_000) * 3_600.0
    walk = np.cumsum(random.normal(0, 0.1, 2_000))
    values = 50 + 5 * np.sin(times / 86_400 * 2 * np.pi) + walk
    model = drift.train(SensorSeries(np.arange(2_000), times, values), FIFTY)
    methods, _ = model.choose_methods(24, 1_000)
    assert len({method["method"] for method in methods}) > 1
    for step, method in enumerate(methods):
        assert method["worst_ratio"][step] <= 1.0 or method["method"] == "last_value"


def test_versions_with_one_method_for_all_steps_answer_as_before(tmp_path):
    series = drifting()
    model = drift.train(series, FIFTY)
    model.save(tmp_path)
    document = json.loads((tmp_path / "drift.json").read_text())
    del document["by_step"], document["worst_ratio"]
    (tmp_path / "drift.json").write_text(json.dumps(document))
    earlier, _ = DriftModel.load(tmp_path).choose_methods(24, 800)
    assert len({method["method"] for method in earlier}) == 1


def test_the_manifest_and_the_answer_measure_the_same_forecast():
    walk = 50 + np.cumsum(np.random.default_rng(6).normal(0, 0.3, 1_000))
    series = SensorSeries(np.arange(1_000), 1.7e9 + np.arange(1_000) * 300.0, walk)
    scores = drift.evaluate(drift.train(series.select(slice(0, 800)), FIFTY), series, 800)
    assert scores.headline == scores.baselines["last_value"]
    assert not scores.beats_baselines
    assert scores.metrics["horizon"] == 24


def test_models_of_earlier_versions_answer_by_their_regression(tmp_path):
    series = drifting()
    drift.train(series, FIFTY).save(tmp_path)
    document = json.loads((tmp_path / "drift.json").read_text())
    del document["mean_error"], document["rules"]
    (tmp_path / "drift.json").write_text(json.dumps(document))
    assert ask(DriftModel.load(tmp_path), series)["model_used"] == "linear_regression"
