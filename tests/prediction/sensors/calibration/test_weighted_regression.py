"""Old calibrations count less where a sensor changes, and only there."""

import math

import numpy as np
import pytest

from prediction.sensors.calibration import weighted_regression


def history(n=40, slide=0.0, seed=0, noise=1.0):
    """Return a sensor whose offset slides by ``slide`` a calibration."""
    random = np.random.default_rng(seed)
    raw = random.uniform(10, 90, n)
    return raw, 1.1 * raw - 2 + slide * np.arange(n) + random.normal(0, noise, n)


def test_a_line_without_fading_is_least_squares():
    raw, corrected = history()
    line = weighted_regression.fit(raw, corrected)
    assert (line.slope, line.intercept) == pytest.approx(tuple(np.polyfit(raw, corrected, 1)))
    rest = corrected - np.polyval(np.polyfit(raw, corrected, 1), raw)
    assert line.deviation == pytest.approx(math.sqrt(float(rest @ rest) / (len(raw) - 2)))
    assert line.count == pytest.approx(len(raw))


def test_a_sensor_that_slides_forgets_and_predicts_better():
    raw, corrected = history(slide=1.0)
    faded = weighted_regression.select_half_life(raw[:-1], corrected[:-1])
    assert faded.half_life <= 8
    plain = weighted_regression.fit(raw[:-1], corrected[:-1])
    last = (float(raw[-1]), float(corrected[-1]))
    assert faded.line.residual(*last) < plain.residual(*last)


def test_a_steady_sensor_mostly_keeps_everything():
    kept = [
        math.isinf(weighted_regression.select_half_life(*history(seed=seed)).half_life) for seed in range(40)
    ]
    assert np.mean(kept) > 0.6


def test_past_errors_bound_the_next_one_as_often_as_promised():
    inside = []
    for seed in range(300):
        raw, corrected = history(31, slide=0.3, seed=seed)
        faded = weighted_regression.select_half_life(raw[:-1], corrected[:-1])
        room = faded.bound_errors() * faded.line.prediction_scale(float(raw[-1]))
        inside.append(faded.line.residual(float(raw[-1]), float(corrected[-1])) <= room)
    assert np.mean(inside) >= 0.90


def test_few_calibrations_tell_no_bound_and_do_not_fade():
    faded = weighted_regression.select_half_life(*history(7, slide=5.0))
    assert math.isinf(faded.half_life)
    assert faded.bound_errors() is None


def test_equal_raw_values_give_the_mean():
    line = weighted_regression.fit(np.full(5, 3.0), np.arange(5.0))
    assert (line.slope, line.intercept) == (0.0, 2.0)
