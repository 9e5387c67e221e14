"""The five kinds of anomaly, each from readings a technician would call so."""

import numpy as np
import pytest

from prediction.sensors.anomaly.anomaly_types import TYPES, classify, rate_severity

ORDINARY = 50 + np.array([0.1, -0.3, 0.2, 0.4, -0.2, 0.0, 0.3, -0.1, -0.4, 0.2, 0.1])


def kind_after(recent, value):
    return classify(value, expected=50.0, spread=0.3, step=0.3, recent=np.asarray(recent, float))


@pytest.mark.parametrize(
    ("recent", "value", "expected"),
    [
        (ORDINARY, 58.0, "Spike"),
        ([], 58.0, "Spike"),
        (ORDINARY, 0.0, "Dropout"),
        ([51.2] * 11, 51.2, "Dropout"),
        (50 + 0.4 * np.arange(11), 54.4, "Drift"),
        (50 + 3 * np.array([1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1]), 47.0, "Noise"),
        (np.concatenate([ORDINARY[:5], ORDINARY[5:] + 3]), 53.1, "Calibration Error"),
    ],
)
def test_kind(recent, value, expected):
    assert kind_after(recent, value) == expected
    assert expected in TYPES


def test_a_sensor_that_lives_around_zero_does_not_drop_out_at_zero():
    assert classify(0.0, expected=0.2, spread=0.3, step=0.3, recent=ORDINARY - 50) == "Spike"


@pytest.mark.parametrize(
    ("deviation", "beyond", "expected"),
    [
        (2, False, "Low"),
        (-5, False, "Medium"),
        (7, False, "High"),
        (-12, False, "Critical"),
        (1, True, "High"),
    ],
)
def test_severity_grows_with_the_deviation_and_is_high_beyond_the_range(deviation, beyond, expected):
    assert rate_severity(deviation, beyond) == expected
