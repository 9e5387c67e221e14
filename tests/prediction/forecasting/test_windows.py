"""Windows are views, the last one is there, and no raw row is on two sides of a split."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import NotEnoughData
from prediction.forecasting.data.windows import (
    build_certificate,
    covered_intervals,
    create_direct_sequences,
    find_usable_starts,
    hold_out,
    split_in_time,
)
from prediction.splits import to_intervals


def series(rows: int, columns: int = 3) -> np.ndarray:
    return np.arange(rows * columns, dtype=np.float64).reshape(rows, columns)


@pytest.mark.parametrize("targets", [[0], [2], [0, 2], [2, 0], [0, 1, 2]])
def test_every_pair_is_the_window_and_the_future_behind_it(targets):
    data = series(12)
    histories, futures = create_direct_sequences(data, targets, 4, 3)
    assert histories.shape == (6, 4, 3)
    assert futures.shape == (6, 3 * len(targets))
    for i in range(6):
        np.testing.assert_array_equal(histories[i], data[i : i + 4])
        np.testing.assert_array_equal(futures[i], data[i + 4 : i + 7, targets].reshape(-1))


def test_the_last_window_is_included():
    data = series(12)
    histories, futures = create_direct_sequences(data, [1], 4, 3)
    assert histories[-1, -1, 0] == data[8, 0]
    assert futures[-1, -1] == data[-1, 1]


def test_windows_share_the_memory_of_the_data():
    data = series(12)
    for targets in ([1], [0, 1, 2]):
        histories, futures = create_direct_sequences(data, targets, 4, 3)
        assert np.shares_memory(histories, data)
        assert np.shares_memory(futures, data)
    _, futures = create_direct_sequences(data, [0, 2], 4, 3)
    assert futures.base is not None


def test_too_few_rows_name_the_minimum():
    with pytest.raises(NotEnoughData, match="at least 7 rows, there are 6"):
        create_direct_sequences(series(6), [0], 4, 3)
    assert len(create_direct_sequences(series(7), [0], 4, 3)[0]) == 1


@given(st.integers(20, 400), st.integers(2, 6), st.integers(1, 6), st.sets(st.integers(0, 399), max_size=5))
def test_no_row_is_forecast_in_two_parts_and_none_is_learnt_that_is_evaluated(rows, window, steps, faulty):
    usable = ~np.isin(np.arange(rows), list(faulty))
    starts = find_usable_starts(usable, np.ones(rows, dtype=bool), window + steps)
    try:
        parts = split_in_time(starts, rows, window, steps)
    except NotEnoughData:
        return
    assert build_certificate(parts, window, steps).violations() == []
    learnt = {row for start in parts[0] for row in range(start, start + window + steps)}
    validated, tested = (
        {row for start in part for row in range(start + window, start + window + steps)} for part in parts[1:]
    )
    assert max(learnt) < min(validated) <= max(validated) < min(tested)


def test_the_test_part_forecasts_the_last_tenth_and_may_look_back():
    starts = np.arange(1000 - 20 + 1)
    _, _, test = split_in_time(starts, 1000, 15, 5)
    assert (test[0] + 15, test[-1] + 19) == (900, 999)


def test_a_short_series_is_judged_on_two_horizons_at_most_on_a_fifth():
    assert hold_out(300, 24) == (204, 252)
    assert hold_out(100, 12) == (64, 80)
    assert hold_out(60, 24) == (12, 36)


@pytest.mark.parametrize(("window", "steps"), [(50, 2), (4, 3), (96, 24)])
def test_too_few_rows_to_split_name_as_many_as_suffice(window, steps):
    def split(rows):
        starts = np.arange(max(0, rows - window - steps + 1))
        return split_in_time(starts, rows, window, steps)

    with pytest.raises(NotEnoughData) as refused:
        split(window + steps)
    needed = int(re.search(r"so (\d+) rows", str(refused.value)).group(1))
    assert all(map(len, split(needed)))
    with pytest.raises(NotEnoughData, match=f"so {needed} rows.*there are {needed - 1} rows"):
        split(needed - 1)


def test_a_leaking_split_is_told():
    parts = (np.arange(0, 60), np.arange(40, 80), np.arange(90, 100))
    assert build_certificate(parts, 6, 4).violations() != []


@given(st.sets(st.integers(0, 80), min_size=1, max_size=30), st.integers(1, 9))
def test_touched_rows_are_the_rows_under_the_windows(starts, span):
    rows = {row for start in starts for row in range(start, start + span)}
    assert covered_intervals(np.array(sorted(starts)), span) == to_intervals(rows)


def test_windows_over_a_missing_value_or_a_jump_are_left_out():
    usable, follows = np.ones(20, dtype=bool), np.ones(20, dtype=bool)
    usable[5] = False
    follows[[0, 12]] = False
    starts = find_usable_starts(usable, follows, 4)
    assert list(starts) == [0, 1, 6, 7, 8, 12, 13, 14, 15, 16]
