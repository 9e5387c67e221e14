"""Metrics with known answers, intervals that keep their promise, alarms that cost least, splits that stay."""

from __future__ import annotations

import json

import numpy as np
import pytest

from errors import NotEnoughData
from prediction.rul.data.label import DataLabeler
from prediction.rul.data.splits import certify, certify_folds, leave_one_out, split_by_device
from prediction.rul.data.windows import DeviceRun, WindowedRuns, make_split, smooth, warm_up_rows
from prediction.rul.evaluation import metrics
from prediction.rul.evaluation.intervals import Residuals, cross_interval
from prediction.telemetry.conditions import OperatingConditions

LABELER = DataLabeler()
FLIGHTS = np.array(
    [(0, 0, 100), (10, 0.25, 100), (20, 0.7, 100), (25, 0.62, 60), (35, 0.84, 100), (42, 0.84, 100)]
)
"""Altitude, Mach number and throttle, as in public turbofan data."""


def test_early_is_below_the_truth_and_late_above():
    told = metrics.regression_metrics(np.array([50.0, 50.0, 50.0, 20.0]), np.array([40.0, 60.0, 70.0, 20.0]))
    assert (told["early_prediction_rate"], told["late_prediction_rate"]) == (0.25, 0.5)
    assert told["mae"] == 10.0
    assert told["rmse"] == pytest.approx(np.sqrt(150))


def test_the_nasa_score_punishes_late_more():
    truth = np.array([50.0])
    assert metrics.nasa_score(truth, np.array([63.0])) == pytest.approx(np.expm1(1.3))
    assert metrics.nasa_score(truth, np.array([37.0])) == pytest.approx(np.expm1(1.0))
    assert metrics.nasa_score(truth, truth) == 0
    assert np.isfinite(metrics.nasa_score(truth, np.array([1e9])))


def test_critical_accuracy_is_none_where_nothing_is_critical():
    assert metrics.critical_accuracy(np.array([20.0, 30.0]), np.array([20.0, 30.0]), LABELER) is None
    assert metrics.critical_accuracy(np.array([4.0, 8.0, 30.0]), np.array([9.0, 14.0, 0.0]), LABELER) == 0.5


def test_the_last_hours_are_measured_by_themselves():
    truth, predictions = np.array([4.0, 8.0, 9.0, 30.0]), np.array([2.0, 14.0, 9.5, 90.0])
    told = metrics.end_of_life_metrics(truth, predictions, LABELER)
    assert dict(told) == {
        "critical_missed_rate": pytest.approx(1 / 3),
        "critical_lateness": pytest.approx((6 + 0.5) / 3 / 10),
    }
    assert set(metrics.end_of_life_metrics(truth[3:], predictions[3:], LABELER).values()) == {None}


def test_a_status_that_is_never_told_has_no_recall():
    report = metrics.classification_report(np.array([5.0, 30.0, 90.0]), np.array([60.0, 30.0, 90.0]), LABELER)
    assert report["critical"] == {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 1.0}
    assert report["warning"] == {"precision": 1.0, "recall": 1.0, "f1-score": 1.0, "support": 1.0}
    assert report["normal"] == {
        "precision": 0.5,
        "recall": 1.0,
        "f1-score": pytest.approx(2 / 3),
        "support": 1.0,
    }
    assert report["accuracy"] == pytest.approx(2 / 3)


def test_alpha_lambda_and_the_prognostic_horizon():
    truth = np.array([40.0, 30.0, 20.0, 10.0])
    answers = np.array([60.0, 33.0, 21.0, 10.0])
    assert metrics.alpha_lambda(truth, answers, 100) == 0.75
    device = np.zeros(4, dtype=np.int64)
    assert metrics.prognostic_horizon(truth, answers, device, 5.0) == 30.0
    assert metrics.prognostic_horizon(truth, answers + 50, device, 5.0) == 0.0


def test_intervals_cover_new_devices_as_promised():
    chance = np.random.default_rng(0)
    truth = chance.uniform(0, 100, 20_000)
    answers = np.clip(truth + chance.normal(0, 2 + truth / 10), 0, 100)
    devices = np.arange(20_000) // 200
    residuals = Residuals.fit(answers[:10_000], truth[:10_000], devices[:10_000])
    low, high = residuals.interval(answers[10_000:], 0.9, 100.0)
    covered = (truth[10_000:] >= low) & (truth[10_000:] <= high)
    assert 0.88 <= covered.mean() <= 0.95
    near, far = answers[10_000:] < 20, answers[10_000:] > 80
    assert (high - low)[near].mean() < (high - low)[far].mean()
    again = Residuals.from_dict(residuals.to_dict())
    np.testing.assert_array_equal(again.table, residuals.table)


@pytest.mark.parametrize("bias", [-30.0, 30.0])
def test_an_interval_holds_its_own_prediction(bias):
    predictions = np.linspace(0, 100, 500)
    residuals = Residuals.fit(predictions, predictions + bias, np.arange(500) // 10)
    low, high = residuals.interval(predictions, 0.9, 100.0)
    assert (low <= predictions).all() and (predictions <= high).all()


@pytest.mark.parametrize(("late", "early"), [(10.0, 1.0), (1.0, 1.0), (1.0, 10.0)])
def test_no_other_alarm_time_costs_less(late, early):
    chance = np.random.default_rng(1)
    truth = 50 + chance.normal(0, 10, 5_000)
    residuals = Residuals.fit(np.full(5_000, 50.0), truth, np.arange(5_000))
    chosen = residuals.alarm_hours(50.0, late, early)

    def cost(moment: float) -> float:
        return float(np.where(moment > truth, late * (moment - truth), early * (truth - moment)).mean())

    assert cost(chosen) <= min(cost(chosen + shift) for shift in (-5, -2, 2, 5)) + 1e-9


def test_conditions_are_found_where_there_are_some_and_not_in_noise():
    chance = np.random.default_rng(2)
    place = chance.integers(0, 6, 3_000)
    centres = np.array([[0, 0], [10, 0.25], [20, 0.7], [25, 0.62], [35, 0.84], [42, 0.84]])
    settings = centres[place] + chance.normal(0, [0.01, 0.0005], (3_000, 2))
    settings = np.hstack([settings, chance.normal(0, 0.002, (3_000, 1)), np.full((3_000, 1), 100.0)])
    values = place[:, None] * 100.0 + chance.normal(0, 1, (3_000, 1))
    found = OperatingConditions.fit(values, settings)
    assert len(found.centres) == 6
    z = found.normalise(values, settings)
    assert abs(z.mean()) < 0.01 and z.std() == pytest.approx(1, abs=0.01)
    odd = settings.copy()
    odd[::600, 0] += [8.0, 90.0, -60.0, 3.0, 45.0]
    assert len(OperatingConditions.fit(values, odd).centres) == 6
    rounded = np.hstack([chance.integers(-5, 6, (3_000, 1)) / 10_000, chance.normal(0, 1, (3_000, 1))])
    still = np.hstack([values, np.full((3_000, 1), 0.1)])
    assert len(OperatingConditions.fit(still, rounded).centres) == 1
    noise = chance.normal(0, 1, (3_000, 2))
    assert len(OperatingConditions.fit(values, noise).centres) == 1
    again = OperatingConditions.from_dict(found.to_dict())
    np.testing.assert_array_equal(again.normalise(values, settings), z)


def test_missing_values_are_average_ones():
    values = np.array([[1.0], [2.0], [3.0], [np.nan]])
    known = OperatingConditions.fit(values[:3], np.zeros((3, 0)))
    assert known.normalise(values, np.zeros((4, 0)))[3, 0] == 0


def test_values_too_extreme_for_a_network_are_as_far_as_others():
    known = OperatingConditions.fit(np.array([[1.0], [2.0], [3.0]]), np.zeros((3, 0)))
    z = known.normalise(np.array([[1e100], [-1e60], [1e8]]), np.zeros((3, 0)))
    assert np.isfinite(z * z).all() and z[0, 0] == -z[1, 0] > z[2, 0]


def test_a_growing_fleet_keeps_its_held_out_devices():
    names = [f"device-{number}" for number in range(200)]
    train, validation, test = split_by_device(names, 42)
    assert len(test) == pytest.approx(40, abs=16) and len(validation) == pytest.approx(32, abs=16)
    assert certify((train, validation, test)).violations() == []
    more = split_by_device([*names, *(f"new-{number}" for number in range(100))], 42)
    assert {place for place in more[2] if place < 200} == set(test)
    for count in range(3, 30):
        assert all(split_by_device(names[:count], 42))
    with pytest.raises(NotEnoughData):
        split_by_device(names[:2], 42)


@pytest.mark.parametrize("count", range(3, 10))
def test_each_device_of_a_small_fleet_is_held_out_once(count):
    folds = leave_one_out(count)
    assert [held_out for _, _, (held_out,) in folds] == list(range(count))
    assert all(sorted(train + validation + test) == list(range(count)) for train, validation, test in folds)
    certificate = certify_folds(folds)
    assert certificate.violations() == []
    assert (certificate.method, list(certificate.train)) == ("leave_one_out", [(0, count - 1)])
    assert [fold["test"] for fold in certificate.to_dict()["folds"]] == [[[n, n]] for n in range(count)]
    assert "folds" not in certify(folds[0]).to_dict()


def test_intervals_of_a_held_out_device_rest_on_the_others():
    devices = np.repeat([0, 1, 2], 50)
    predictions, truth = np.full(150, 50.0), np.where(devices == 2, 80.0, 50.0)
    low, high = cross_interval(predictions, truth, devices, 0.9, 100.0)
    assert high[devices == 2].max() == 50 and high[devices == 0].min() == 80 and (low == 50).all()


def test_every_row_ends_a_window_and_the_last_is_there():
    runs = [
        DeviceRun(0, np.arange(5, dtype=np.float32)[:, None], np.arange(5.0)[::-1]),
        DeviceRun(1, np.arange(10, 17, dtype=np.float32)[:, None], np.full(7, np.nan)),
        DeviceRun(2, np.arange(20, 29, dtype=np.float32)[:, None], np.arange(9.0)[::-1]),
    ]
    fleet = WindowedRuns.from_runs(runs, 4)
    part = make_split(fleet, [0, 1, 2], stride=2, min_cycles=4)
    assert part.targets.tolist() == [0, 4, 2, 0]
    assert part.windows()[:, :, 0].tolist() == [
        [1, 2, 3, 4],
        [21, 22, 23, 24],
        [23, 24, 25, 26],
        [25, 26, 27, 28],
    ]
    young = make_split(fleet, [0], stride=1, min_cycles=1)
    assert young.windows()[0, :, 0].tolist() == [0, 0, 0, 0]
    targets = fleet.targets_of_windows()
    np.testing.assert_array_equal(targets[fleet.starts(part.rows)], part.targets)


def test_averages_forget_what_was_before_the_warm_up():
    chance = np.random.default_rng(3)
    values = chance.normal(size=(200, 2)).astype(np.float32)
    rows = 50 + warm_up_rows(10)
    np.testing.assert_allclose(smooth(values, 10)[-50:], smooth(values[-rows:], 10)[-50:], atol=0.03)
    np.testing.assert_allclose(smooth(values, 10)[0], values[0])
    assert smooth(values, 0) is values


def test_what_settings_without_steps_explain_is_taken_out_and_nothing_else():
    chance = np.random.default_rng(0)
    load = chance.uniform(20, 80, (3_000, 2))
    wear = np.linspace(0, 1, 3_000)
    follows = 0.5 * load[:, 0] + 0.01 * load[:, 1] ** 2 + wear + chance.normal(0, 0.1, 3_000)
    by_itself = wear + chance.normal(0, 0.1, 3_000)
    values = np.column_stack([follows, by_itself])
    conditions = OperatingConditions.fit(values, load)
    assert len(conditions.centres) == 1
    shown = conditions.normalise(values, load)
    assert np.corrcoef(shown[:, 0], wear)[0, 1] > 0.9
    assert shown[:, 1] == pytest.approx((by_itself - by_itself.mean()) / by_itself.std(), abs=1e-4)
    again = OperatingConditions.from_dict(json.loads(json.dumps(conditions.to_dict())))
    assert (again.normalise(values, load) == shown).all()
    far = conditions.normalise(values[:1], np.array([[1e9, 50.0]]))
    assert np.isfinite(far).all() and abs(far[0, 0]) < 200


def test_conditions_are_found_through_noise_on_their_settings():
    chance = np.random.default_rng(1)
    place = chance.integers(0, len(FLIGHTS), 6_000)
    settings = FLIGHTS[place] + chance.normal(0, 0.03, (6_000, 3)) * np.ptp(FLIGHTS, axis=0)
    sensor = 10.0 * place[:, None] + chance.normal(0, 1, (6_000, 1))
    conditions = OperatingConditions.fit(sensor, settings)
    assert len(conditions.centres) == len(FLIGHTS)
    assert np.abs(conditions.normalise(sensor, settings)).mean() == pytest.approx(0.8, abs=0.1)
