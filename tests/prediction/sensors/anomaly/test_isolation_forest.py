"""Our isolation forest is scikit-learn's in all but the seed, and its classic mode in every bit."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from prediction.sensors.anomaly import sklearn_forest
from prediction.sensors.anomaly.isolation_forest import LEAF, average_path, grow
from prediction.sensors.readings.series import build_classic_features, build_cyclic_features


def daily_sensor(n=800, seed=0):
    random = np.random.default_rng(seed)
    times = 1.7e9 + np.arange(n) * 900.0
    return 50 + 5 * np.sin(times / 86_400 * 2 * np.pi) + random.normal(0, 0.5, n), times


def distance(one, other):
    return float(np.sqrt(np.mean((one - other) ** 2)))


def test_scores_differ_from_scikit_learn_no_more_than_its_seeds_differ_from_each_other():
    values, times = daily_sensor()
    rows = build_cyclic_features(values, times, 50.0, 3.0)
    theirs = [-IsolationForest(random_state=seed).fit(rows).score_samples(rows) for seed in range(6)]
    ours = [grow(rows, seed=seed).score(rows) for seed in range(6)]
    among_theirs = [distance(theirs[i], theirs[j]) for i in range(6) for j in range(i)]
    between = [distance(mine, their) for mine in ours for their in theirs]
    assert np.mean(between) <= 1.1 * np.mean(among_theirs)
    assert abs(np.mean(ours) - np.mean(theirs)) < np.mean(among_theirs)


def test_the_classic_forest_is_scikit_learns_bit_by_bit():
    rows = build_classic_features(*daily_sensor())
    model = IsolationForest(n_estimators=100, contamination=0.1, random_state=42).fit(rows)
    forest, threshold = sklearn_forest.fit(rows, 100, 42, 0.1)
    assert np.array_equal(forest.score(rows), -model.score_samples(rows))
    assert np.array_equal(forest.score(rows) > threshold, model.predict(rows) == -1)


@pytest.mark.parametrize("n", [10, 37, 800])
def test_the_download_is_a_scikit_learn_model_that_answers_the_same(n):
    values, times = daily_sensor(n)
    rows = build_cyclic_features(values, times, 50.0, 3.0)
    forest = grow(rows)
    scores = forest.score(rows)
    threshold = float(np.quantile(scores, 0.95)) + 1e-6
    model = sklearn_forest.as_scikit_learn(forest, threshold, rows.shape[1])
    assert np.allclose(-model.score_samples(rows), scores, atol=1e-7)
    assert np.array_equal(model.predict(rows) == -1, scores > threshold)


def test_equal_rows_and_seed_give_equal_arrays():
    values, times = daily_sensor()
    rows = build_cyclic_features(values, times, 50.0, 3.0)
    one, two = grow(rows, seed=7), grow(rows, seed=7)
    assert np.array_equal(one.value, two.value)
    assert np.array_equal(one.left, two.left)
    assert not np.array_equal(one.value[:100], grow(rows, seed=8).value[:100])


def test_every_training_row_ends_in_a_leaf_that_counts_it():
    rows = np.random.default_rng(1).normal(size=(64, 2)).astype(np.float32)
    forest = grow(rows, trees=5)
    model = sklearn_forest.as_scikit_learn(forest, 0.6, 2)
    for estimator in model.estimators_:
        tree = estimator.tree_
        reached = np.bincount(tree.apply(rows), minlength=tree.node_count)
        leaf = tree.children_left == -1
        assert np.array_equal(reached[leaf], tree.n_node_samples[leaf])


def test_a_far_value_is_easy_to_isolate_and_equal_rows_are_not_split():
    rows = np.random.default_rng(1).normal(size=(300, 1)).astype(np.float32)
    forest = grow(rows)
    assert forest.score(np.array([[9.0]], np.float32))[0] > forest.score(rows).max() - 1e-12
    same = grow(np.ones((50, 3), np.float32))
    assert np.all(same.feature == LEAF)
    assert np.allclose(same.score(np.ones((2, 3), np.float32)), 0.5)


def test_average_path_is_the_published_one():
    assert average_path(np.array([0, 1, 2])).tolist() == [0.0, 0.0, 1.0]
    harmonic = np.log(255) + np.euler_gamma
    assert average_path(np.array([256]))[0] == pytest.approx(2 * harmonic - 2 * 255 / 256)


def test_the_clock_has_no_seam():
    late, early, noon = 1_704_063_600.0, 1_704_067_200.0, 1_704_110_400.0  # Sunday 23 h, Monday 0 h and 12 h
    rows = build_cyclic_features(np.zeros(3), np.array([late, early, noon]), 0.0, 1.0)
    assert np.linalg.norm(rows[0, 1:3] - rows[1, 1:3]) < np.linalg.norm(rows[1, 1:3] - rows[2, 1:3])
    assert np.linalg.norm(rows[0, 3:] - rows[1, 3:]) == pytest.approx(2 * np.sin(np.pi / 7), rel=1e-6)
