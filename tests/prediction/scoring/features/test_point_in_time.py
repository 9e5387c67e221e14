"""Sums over the past are what counting by hand gives."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prediction.scoring.features.point_in_time import GroupedCumSums

KEYS = st.lists(st.integers(0, 4), min_size=0, max_size=30)


@given(KEYS, st.integers(0, 5), st.integers(0, 30), st.integers(0, 12))
def test_sums_count_and_last_row_of_a_key_before_a_moment(
    keys: list[int], queried: int, moment: int, reach: int
) -> None:
    values = np.arange(2 * len(keys), dtype=np.float32).reshape(-1, 2)
    index = GroupedCumSums(np.array(keys, np.uint64), np.arange(len(keys)), values)
    ranges = index.ranges_before(np.array([queried], np.uint64), np.array([min(moment, len(keys))]), reach)
    oldest = max(min(moment, len(keys)) - reach, 0) if reach else 0
    rows = [row for row, key in enumerate(keys) if key == queried != 0 and oldest <= row < moment]
    assert ranges.counts.tolist() == [len(rows)]
    np.testing.assert_array_equal(index.sums(ranges)[0], values[rows].sum(axis=0) if rows else [0, 0])
    np.testing.assert_array_equal(
        index.sums(ranges, newest=2)[0], values[rows[-2:]].sum(axis=0) if rows else 0
    )
    assert index.last_rows(ranges).tolist() == [rows[-1] if rows else -1]


def test_a_key_may_stand_in_many_rows() -> None:
    values = np.array([[1.0], [2.0], [4.0]], np.float32)
    index = GroupedCumSums(np.array([7, 8, 7, 7], np.uint32), np.array([0, 0, 1, 2]), values)
    ranges = index.ranges_before(np.array([7, 8, 9], np.uint32), np.array([2, 3, 3]))
    assert index.sums(ranges)[:, 0].tolist() == [3.0, 1.0, 0.0]
