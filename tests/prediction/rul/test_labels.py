"""Labels: remaining life falls by elapsed time, is never negative, and jumps at failures only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prediction.rul.data.label import MICROSECONDS_PER_HOUR as HOUR
from prediction.rul.data.label import STATUSES, DataLabeler

TIMES = st.lists(st.integers(0, 500), min_size=1, max_size=60, unique=True).map(sorted)
ENDS = st.dictionaries(st.integers(0, 600), st.booleans(), max_size=6).map(lambda ends: sorted(ends.items()))


def labelled(hours, ends, **asked):
    times = np.array(hours, dtype=np.int64) * HOUR
    return DataLabeler(horizon_hours=100, **asked).label(times, [(at * HOUR, failed) for at, failed in ends])


@given(TIMES, ENDS)
def test_life_falls_by_elapsed_time_within_a_run_and_jumps_between_runs_only(hours, ends):
    labels = labelled(hours, ends)
    steps, same = np.diff(hours), np.diff(labels.run) == 0
    np.testing.assert_allclose(-np.diff(labels.hours_left)[same], steps[same])
    for place in np.flatnonzero(~same):
        assert any(hours[place] <= at < hours[place + 1] for at, _ in ends)


@given(TIMES, ENDS)
def test_life_is_never_negative_nor_above_the_horizon(hours, ends):
    labels = labelled(hours, ends)
    assert (labels.hours_left >= 0).all()
    known = labels.rul_hours[np.isfinite(labels.rul_hours)]
    assert ((known >= 0) & (known <= 100)).all()


@given(TIMES, ENDS)
def test_the_target_is_the_time_to_the_next_failure_that_no_planned_end_comes_before(hours, ends):
    labels = labelled(hours, ends)
    for place, hour in enumerate(hours):
        following = [(at, failed) for at, failed in ends if at >= hour]
        if following and following[0][1]:
            assert labels.rul_hours[place] == min(following[0][0] - hour, 100)
            assert not labels.censored[place]
        else:
            assert np.isnan(labels.rul_hours[place])
            assert labels.censored[place]


@given(TIMES, ENDS)
def test_lower_bounds_give_a_target_only_where_they_reach_the_horizon(hours, ends):
    out, bound = labelled(hours, ends), labelled(hours, ends, censored="lower_bound")
    added = np.isfinite(bound.rul_hours) & ~np.isfinite(out.rul_hours)
    assert (bound.hours_left[added] >= 100).all() and (bound.rul_hours[added] == 100).all()
    assert added.sum() == (out.censored & (out.hours_left >= 100)).sum()


def test_several_failures_of_a_device():
    labels = labelled([0, 1, 2, 3, 4, 5], [(2, True), (4, True)])
    np.testing.assert_array_equal(labels.rul_hours, [2, 1, 0, 1, 0, np.nan])
    np.testing.assert_array_equal(labels.run, [0, 0, 0, 1, 1, 2])


def test_a_device_without_rows_or_failures():
    assert len(labelled([], [(3, True)]).rul_hours) == 0
    assert np.isnan(labelled([1, 2], []).rul_hours).all()


@pytest.mark.parametrize(
    ("hours", "status"),
    [(0, "critical"), (9.99, "critical"), (10, "warning"), (49.9, "warning"), (50, "normal")],
)
def test_health_by_hours_left(hours, status):
    assert DataLabeler().status(np.array([hours, 80.0])).tolist() == [status, "normal"]
    assert status in STATUSES
