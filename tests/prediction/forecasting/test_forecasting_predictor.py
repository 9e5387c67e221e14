"""Answers: timestamps, every target, intervals that widen with coverage, crossings; helpful refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from errors import InvalidContent, InvalidRecords, NotEnoughData
from prediction.forecasting.serving.predictor import ForecastingPredictor
from tests.prediction.forecasting.conftest import hourly_csv


@pytest.fixture(scope="module")
def predictor(trained):
    plant, _, _, folder = trained
    return plant.load(folder)


@pytest.fixture
def rows():
    header, *lines = hourly_csv().splitlines()[:101]
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


def ask(predictor, rows, options=None, **asked):
    return predictor.predict([{"rows": rows, **asked}], options or {})[0]


def test_every_target_has_values_and_an_interval_at_each_step(predictor, rows):
    answer = ask(predictor, rows)
    assert answer["targets"].keys() == {"oil", "load"}
    assert answer["timestamps"][0] == "2024-01-05T04:00:00Z"
    assert len(answer["timestamps"]) == answer["steps"] == 6
    for target in answer["targets"].values():
        assert all(
            low < value < high
            for low, value, high in zip(*(target[k] for k in ("lower", "values", "upper")), strict=True)
        )


def test_times_may_be_seconds_since_1970(predictor, rows):
    def seconds(row):
        return int(np.datetime64(row["time"], "s").astype(int))

    as_numbers = [{**row, "time": seconds(row)} for row in rows]
    as_texts = [{**row, "time": str(seconds(row))} for row in rows]
    assert ask(predictor, as_numbers) == ask(predictor, as_texts) == ask(predictor, rows)


def test_times_that_cannot_be_read_are_refused(predictor, rows):
    with pytest.raises(InvalidContent, match="cannot be read"):
        ask(predictor, [{**row, "time": "noon"} for row in rows])
    with pytest.raises(InvalidContent, match="cannot be read"):
        ask(predictor, [{**row, "time": 1} for row in rows])


@pytest.mark.parametrize(
    ("told", "first"), [("%m/%d/%Y %H:%M", "2024-03-05T00"), ("%d/%m/%Y %H:%M", "2024-04-04T00")]
)
def test_days_and_months_are_read_as_in_training(predictor, rows, told, first):
    known = ForecastingPredictor(replace(predictor.postprocessor, time_format=told), predictor.network)
    american = [{**row, "time": f"03/04/2024 {n:02d}:00"} for n, row in enumerate(rows[-24:])]
    assert ask(known, american)["timestamps"][0].startswith(first)


def test_a_higher_coverage_is_a_wider_interval(predictor, rows):
    def width(coverage):
        target = ask(predictor, rows, {"coverage": coverage}, coverage=0.5)["targets"]["oil"]
        return np.subtract(target["upper"], target["lower"])

    assert (width(0.95) > width(0.6)).all()


def test_only_the_last_window_counts(predictor, rows):
    spoiled = [{**row, "oil": "unknown"} for row in rows[:-24]] + rows[-24:]
    assert ask(predictor, spoiled) == ask(predictor, rows)


def test_fewer_rows_than_a_window_are_refused(predictor, rows):
    with pytest.raises(NotEnoughData, match="last 24 rows; 23 were sent"):
        ask(predictor, rows[:23])


def test_every_fault_in_the_window_is_named(predictor, rows):
    rows[-1] = {**rows[-1], "oil": "hot"}
    rows[-2] = {name: value for name, value in rows[-2].items() if name != "load"}
    rows[-3] = {**rows[-3], "load": float("inf")}
    rows[-4] = {**rows[-4], "oil": [60]}
    with pytest.raises(InvalidRecords) as refused:
        ask(predictor, rows, {"missing_cells": "refuse"})
    assert [(fault["record"], fault["field"], fault["code"]) for fault in refused.value.facts["errors"]] == [
        (97, "oil", "type"), (98, "load", "type"), (99, "load", "missing"), (100, "oil", "type"),
    ]  # fmt: skip
    assert refused.value.facts["validation_errors"][3] == "Record 100: oil must be a finite number, got 'hot'"


def test_missing_cells_are_filled_with_a_warning(predictor, rows):
    whole = ask(predictor, rows)
    middle = (float(rows[-4]["oil"]) + float(rows[-2]["oil"])) / 2
    gap = [*rows[:-3], {**rows[-3], "oil": ""}, *rows[-2:]]
    line = [*rows[:-3], {**rows[-3], "oil": middle}, *rows[-2:]]
    answer = ask(predictor, gap)
    assert answer.pop("warnings") == ["oil is missing in record 98: filled from the values before and after"]
    assert answer == ask(predictor, line) and "warnings" not in whole
    last = [*rows[:-1], {**rows[-1], "oil": None}]
    crossing = ask(predictor, last, degradation_threshold={"oil": 1e6})["crossings"]["oil"]
    assert crossing["direction"] == "rises"


def test_a_column_that_is_mostly_missing_is_refused(predictor, rows):
    empty = [*rows[:-24], *({**row, "load": None} for row in rows[-24:-10]), *rows[-10:]]
    with pytest.raises(InvalidRecords) as refused:
        ask(predictor, empty)
    (message,) = refused.value.facts["validation_errors"]
    assert message == "Record 77: load is missing in 14 of the last 24 rows, too many to fill"


def test_a_decimal_comma_is_understood_as_in_an_upload(predictor, rows):
    comma = [{name: cell.replace(".", ",") for name, cell in row.items()} for row in rows]
    asked = {"degradation_threshold": {"oil": 70}}
    assert ask(predictor, comma, **asked) == ask(predictor, rows, **asked)


def test_rows_out_of_rhythm_are_refused(predictor, rows):
    del rows[-5]
    with pytest.raises(InvalidContent, match="record 96 is 7200 s after"):
        ask(predictor, rows)


def test_without_times_there_are_steps_only(predictor, rows):
    bare = [{name: value for name, value in row.items() if name != "time"} for row in rows]
    assert ask(predictor, bare)["timestamps"] is None


def test_a_threshold_tells_when_it_is_crossed(predictor, rows):
    oil = ask(predictor, rows)["targets"]["oil"]
    now, limit = float(rows[-1]["oil"]), oil["values"][3]
    crossing = ask(predictor, rows, degradation_threshold={"oil": limit})["crossings"]["oil"]
    assert crossing["direction"] == ("rises" if now < limit else "falls")
    assert crossing["step"] <= 4
    assert crossing["earliest_step"] <= crossing["step"]
    assert crossing["timestamp"] == ask(predictor, rows)["timestamps"][crossing["step"] - 1]


def test_a_threshold_far_away_is_not_crossed(predictor, rows):
    crossings = ask(predictor, rows, degradation_threshold=1e6)["crossings"]
    assert crossings.keys() == {"oil", "load"}
    assert crossings["oil"]["step"] is None and crossings["oil"]["timestamp"] is None


def test_a_threshold_of_an_unknown_target_is_refused(predictor, rows):
    with pytest.raises(InvalidContent, match="pressure"):
        ask(predictor, rows, degradation_threshold={"pressure": 1})


def test_a_batch_answers_like_its_single_series(predictor, rows):
    series = [{"rows": rows[: 40 + n]} for n in range(7)]
    together = predictor.predict(series, {})
    for one, answer in zip(series, together, strict=True):
        alone = predictor.predict([one], {})[0]
        np.testing.assert_allclose(
            answer["targets"]["oil"]["values"], alone["targets"]["oil"]["values"], atol=1e-4
        )
    assert predictor.predict([], {}) == []


@pytest.mark.parametrize("value", [1e300, -1e40])
def test_rows_too_far_from_everything_known_are_refused(predictor, rows, value):
    rows[-3] = {**rows[-3], "load": value}
    with pytest.raises(InvalidRecords) as refused:
        ask(predictor, rows)
    (fault,) = refused.value.facts["errors"]
    assert (fault["record"], fault["field"], fault["code"]) == (98, "load", "range")


def test_a_missing_column_is_named_once_and_capitals_do_not_matter(predictor, rows):
    with pytest.raises(InvalidContent, match="No row has 'oil'; this model needs load, oil"):
        ask(predictor, [{"time": row["time"], "load": row["load"]} for row in rows])
    loud = [{name.upper(): cell for name, cell in row.items()} for row in rows]
    assert ask(predictor, loud)["targets"] == ask(predictor, rows)["targets"]


def test_a_column_that_the_model_never_uses_may_be_left_out(predictor, rows):
    known = ForecastingPredictor(
        replace(predictor.postprocessor, targets=(1,), is_channel_network=True),
        lambda z: z[:, -1:, 1].repeat(6, 1),
    )
    full, bare = ask(known, rows), ask(known, [{"oil": row["oil"], "time": row["time"]} for row in rows])
    assert full == bare


def test_a_number_that_stands_for_a_missing_value_is_refused(predictor, rows):
    rows[-3] = {**rows[-3], "load": -9999}
    with pytest.raises(InvalidRecords) as refused:
        ask(predictor, rows)
    (fault,) = refused.value.facts["errors"]
    assert (fault["record"], fault["field"], fault["code"]) == (98, "load", "placeholder")


def test_forecasts_of_working_days_skip_the_weekend(plant):
    days = np.busday_offset(np.datetime64("2024-01-01"), np.arange(160))
    values = 20 + np.arange(160) % 5 + np.random.default_rng(0).normal(size=160)
    text = "time,oil\n" + "".join(f"{day},{value:.2f}\n" for day, value in zip(days, values, strict=True))
    asked = {"architecture": "Smoothing", "window_size": 20, "time_zone": "UTC"}
    model, prepared = plant.train(dataset=plant.upload(text), **asked)
    assert (prepared.test.series.season, len(prepared.whole)) == (5, 160 - 26 + 1)
    rows = [{"time": str(day), "oil": value} for day, value in zip(days[:30], values[:30], strict=True)]
    answer = ask(plant.load(plant.save(model, prepared)), rows)
    expected = np.busday_offset(days[29], np.arange(1, 7))
    assert answer["timestamps"] == [f"{day}T00:00:00Z" for day in expected]
    holiday = [*rows[:-5], *rows[-4:]]
    assert ask(plant.load(plant.folder / "v0001"), holiday)["timestamps"] == answer["timestamps"]
    with pytest.raises(InvalidContent, match="must be a working day apart"):
        ask(plant.load(plant.folder / "v0001"), [*rows[:-10], *rows[-4:]])
