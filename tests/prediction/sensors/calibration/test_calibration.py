"""Corrections say how sure they are, and say so when nobody has calibrated there."""

import json

import numpy as np
import pytest

from errors import NotEnoughData
from prediction.sensors import calibration
from prediction.sensors.calibration import CalibrationModel, CalibrationPairs
from prediction.sensors.calibration.due_date import estimate_due_date
from prediction.sensors.readings.series import DAY


def history(n=8, noise=0.0, seed=0, days=30.0):
    random = np.random.default_rng(seed)
    raw = np.linspace(10, 90, n)
    corrected = 1.1 * raw - 2 + random.normal(0, noise, n)
    return CalibrationPairs(1.6e9 + np.arange(n) * days * DAY, raw, corrected, n)


def test_too_few_calibrations_name_the_minimum():
    with pytest.raises(NotEnoughData, match="4 calibrations, at least 5 needed"):
        calibration.check_enough_data(history(4))
    without_readings = CalibrationPairs(np.arange(2.0), np.arange(2.0), np.arange(2.0), 6)
    with pytest.raises(NotEnoughData, match="2 calibrations with 3 readings before them, at least 3 needed"):
        calibration.check_enough_data(without_readings)


def test_the_raw_value_is_the_mean_of_the_three_readings_before():
    times, values = np.arange(6.0), np.array([1.0, 2, 3, 4, 5, 1e9])
    found = calibration.build_pairs(np.array([1.0, 2.0, 4.5]), np.array([0.0, 7.0, 8.0]), times, values)
    assert found.raw.tolist() == [2.0, 4.0]
    assert found.corrected.tolist() == [7.0, 8.0]
    assert found.records == 3


def test_the_line_is_found_and_its_uncertainty_covers():
    assert calibration.train(history()).correct(50.0) == pytest.approx(53.0)
    random = np.random.default_rng(1)
    inside = []
    for seed in range(600):
        model = calibration.train(history(6, noise=1.0, seed=seed))
        raw = float(random.uniform(10, 90))
        truth = 1.1 * raw - 2 + random.normal()
        inside.append(abs(model.correct(raw) - truth) <= model.uncertainty(raw))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)


def test_extrapolation_is_said_and_far_extrapolation_refused():
    model = calibration.train(history(noise=0.5))
    inside, beyond, far = (model.answer(raw) for raw in (50.0, 100.0, 200.0))
    assert inside["extrapolated"] is False
    assert beyond["extrapolated"] is True
    assert beyond["uncertainty"] > inside["uncertainty"]
    assert far["model_used"] is None
    assert "far beyond the calibrated range 10 to 90" in far["fallback_reason"]


def test_a_raw_value_of_zero_has_no_factor():
    model = calibration.train(CalibrationPairs(np.arange(5.0), np.arange(-2.0, 3), np.arange(5.0), 5))
    assert model.answer(0.0)["correction_factor"] is None


def test_the_due_date_keeps_the_wanted_reliability():
    """Random walks of known growth: on the due date at most 5 % of them are out of tolerance."""
    random = np.random.default_rng(2)
    out = []
    for _ in range(400):
        walk = np.cumsum(random.normal(0, np.sqrt(30.0), 12))
        times = 1.6e9 + np.arange(12) * 30 * DAY
        due = estimate_due_date(CalibrationPairs(times, 500 + walk, np.full(12, 500.0), 12), 0.95, 20.0)
        out.append(abs(random.normal(0, np.sqrt(due["interval_days"]))) > 20.0)
    assert np.mean(out) <= 0.06


def test_a_tolerance_nobody_could_keep_is_answered_with_one_that_is_kept():
    """Asked again with what the usual interval keeps, the due date is that interval."""
    random = np.random.default_rng(7)
    times, truth = 1.6e9 + np.arange(15) * 7 * DAY, np.full(15, 500.0)
    found = CalibrationPairs(times, truth + np.cumsum(random.normal(0, 5, 15)), truth, 15)
    due = estimate_due_date(found, 0.95, 0.1)
    assert due["interval_days"] < 7
    assert f"keeps {due['kept_over_usual_interval']:.3g}" in due["note"]
    again = estimate_due_date(found, 0.95, due["kept_over_usual_interval"])
    assert again["interval_days"] == pytest.approx(due["usual_interval_days"])


def test_the_noise_of_single_calibrations_is_not_taken_for_drift():
    """A sensor that does not wander, found with noise: its due date is far, though every finding differs."""
    random = np.random.default_rng(5)
    times, truth, days = 1.6e9 + np.arange(20) * 30 * DAY, np.full(20, 500.0), []
    for _ in range(60):
        found = CalibrationPairs(times, truth + random.normal(0, 5, 20), truth, 20)
        days.append(estimate_due_date(found, 0.95, 10.0)["interval_days"])
    assert np.median(days) > 60
    wandering = CalibrationPairs(times, truth + np.cumsum(random.normal(0, 5, 20)), truth, 20)
    assert estimate_due_date(wandering, 0.95, 10.0)["interval_days"] < 45


def test_a_history_that_tells_nothing_gives_no_date():
    once = CalibrationPairs(np.full(5, 1.6e9), np.arange(5.0), np.arange(5.0), 5)
    assert estimate_due_date(once, 0.95, None)["date"] is None


def test_a_saved_model_corrects_the_same(tmp_path):
    model = calibration.train(history(noise=0.5))
    model.save(tmp_path)
    assert CalibrationModel.load(tmp_path) == model


def test_later_calibrations_judge_the_error_before_and_after():
    known = history(10, noise=0.1)
    scores = calibration.evaluate(calibration.train(known.select(slice(0, 7))), known.select(slice(7, None)))
    assert scores.metrics["error"] < scores.metrics["error_before"]
    assert scores.beats_baselines
    assert scores.held_out == 3


def test_a_correction_that_is_worse_than_the_raw_value_is_not_applied():
    """A good instrument keeps its raw values; one that is really off is corrected."""
    random = np.random.default_rng(11)
    raw_error, applied_error, names = [], [], set()
    for _ in range(200):
        truth = random.uniform(20, 80, 9)
        raw = truth + random.normal(0, 0.15, 9)
        model = calibration.train(CalibrationPairs(np.arange(8.0) * 30 * DAY, raw[:8], truth[:8], 8))
        answer = model.answer(float(raw[8]))
        names.add(answer["model_used"])
        if answer["model_used"] == "raw_value":
            assert answer["corrected_value"] == raw[8]
            assert "the raw value is used: on 8 past calibrations" in answer["fallback_reason"]
        raw_error.append(abs(raw[8] - truth[8]))
        applied_error.append(abs(answer["corrected_value"] - truth[8]))
    assert "raw_value" in names
    assert np.mean(applied_error) <= 1.1 * np.mean(raw_error)
    off = CalibrationPairs(np.arange(8.0) * 30 * DAY, raw[:8] * 1.2 - 3, truth[:8], 8)
    assert calibration.train(off).answer(50.0)["model_used"] == "linear_regression"


def test_an_offset_alone_is_corrected_by_an_offset():
    random = np.random.default_rng(12)
    truth = random.uniform(49, 51, 8)
    raw = truth + 4 + random.normal(0, 0.3, 8)
    model = calibration.train(CalibrationPairs(np.arange(8.0) * 30 * DAY, raw, truth, 8))
    answer = model.answer(54.0)
    assert answer["model_used"] in {"mean_offset", "linear_regression"}
    assert answer["corrected_value"] == pytest.approx(50, abs=0.5)
    assert answer["uncertainty"] < 2


def test_models_of_earlier_versions_correct_by_their_line(tmp_path):
    model = calibration.train(history(noise=0.5))
    model.save(tmp_path)
    document = json.loads((tmp_path / "calibration.json").read_text())
    del document["method"], document["reason"]
    (tmp_path / "calibration.json").write_text(json.dumps(document))
    assert CalibrationModel.load(tmp_path).answer(50.0)["model_used"] == "linear_regression"
