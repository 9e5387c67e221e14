"""A stretch of equal scores is told from chance, from calm and from a new habit."""

from __future__ import annotations

import numpy as np
import pytest

from prediction.scoring.data.default_scores import find_default_scores


def varied(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 6, (count, 3)).astype(np.float32)


def test_varied_scores_are_never_by_rote() -> None:
    assert not find_default_scores(varied(2_000)).any()


def test_a_stretch_of_equal_scores_is() -> None:
    scores = varied(1_000)
    scores[500:600] = (3, 1, 3)
    found = np.flatnonzero(find_default_scores(scores))
    assert 505 <= found[0] <= 515
    assert found[-1] in range(597, 625)
    assert len(found) >= 85


def test_interruptions_do_not_hide_it_and_are_kept() -> None:
    scores = varied(1_000)
    scores[500:600] = (3, 1, 3)
    scores[500:600:10] = (2, 2, 2)
    found = find_default_scores(scores)
    assert found[520:600].sum() >= 70
    assert not found[500:600:10].any()


def test_what_is_usual_is_not_by_rote() -> None:
    random = np.random.default_rng(1)
    scores = np.where(random.random((2_000, 1)) < 0.5, np.float32(1), varied(2_000))
    assert find_default_scores(scores).mean() < 0.01


def test_a_habit_that_lasts_is_learnt_from() -> None:
    scores = np.concatenate([varied(200), np.full((2_000, 3), 2, np.float32)])
    found = find_default_scores(scores)
    assert found[250]
    assert not found[-100:].any()


@pytest.mark.parametrize("row", [150, 510, 560])
def test_only_the_past_decides(row: int) -> None:
    scores = varied(700)
    scores[500:600] = (3, 1, 3)
    changed = scores.copy()
    changed[row + 1 :] = 5
    np.testing.assert_array_equal(
        find_default_scores(scores)[: row + 1], find_default_scores(changed)[: row + 1]
    )


def test_few_or_missing_scores() -> None:
    assert not find_default_scores(np.full((50, 3), 3, np.float32)).any()
    assert not find_default_scores(np.zeros((0, 3), np.float32)).any()
    scores = varied(300)
    scores[::7, 1] = np.nan
    assert not find_default_scores(scores).any()
