"""Bridges to scikit-learn: its isolation forest as arrays, and arrays as its isolation forest."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.anomaly.isolation_forest import LEAF, Forest, average_path, max_depth

Array = NDArray[Any]


def fit(features: Array, trees: int, seed: int, contamination: float) -> tuple[Forest, float]:
    """scikit-learn's own forest, its nodes copied out: score by score the same answers.

    Parameters
    ----------
    features : float32, shape (n, 3)

    Returns
    -------
    (Forest, threshold)
        A score above the threshold is what ``predict`` calls -1.
    """
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(n_estimators=trees, contamination=contamination, random_state=seed).fit(features)
    parts = [_arrays(estimator.tree_) for estimator in model.estimators_]
    return _interleaved(parts, int(model.max_samples_)), -float(model.offset_)


def _arrays(tree: Any) -> tuple[Array, Array, Array, Array]:
    """(feature, value, left, right) of one tree; a leaf's value is its path length as counted there."""
    leaf = tree.children_left == -1
    path = _depths(tree) + average_path(tree.n_node_samples) - 1.0
    value = np.where(leaf, path, tree.threshold)
    return np.where(leaf, LEAF, tree.feature), value, tree.children_left, tree.children_right


def _depths(tree: Any) -> Array:
    """Nodes on the way to each node, itself included; children always come after their parent."""
    depth = np.ones(tree.node_count)
    for node in np.flatnonzero(tree.children_left != -1):
        depth[tree.children_left[node]] = depth[tree.children_right[node]] = depth[node] + 1
    return depth


def _interleaved(parts: list[tuple[Array, Array, Array, Array]], samples: int) -> Forest:
    """One table: the roots first, then every pair of children side by side."""
    feature: list[int] = []
    value: list[float] = []
    left: list[int] = []
    front = [(part, 0) for part in parts]
    free = len(front)
    while front:
        coming: list[tuple[Any, int]] = []
        for part, node in front:
            own = len(feature)
            inner = part[2][node] != -1
            feature.append(part[0][node])
            value.append(part[1][node])
            left.append(free + len(coming) if inner else own)
            if inner:
                coming += [(part, part[2][node]), (part, part[3][node])]
        front, free = coming, free + len(coming)
    return Forest(
        np.array(feature, dtype=np.int8),
        np.array(value, dtype=np.float64),
        np.array(left, dtype=np.int32),
        len(parts),
        samples,
    )


def as_scikit_learn(forest: Forest, threshold: float, columns: int) -> Any:
    """An ``IsolationForest`` with these very trees, for people who work with scikit-learn.

    ``predict`` says -1 exactly where the score is above the threshold.
    """
    from sklearn.ensemble import IsolationForest
    from sklearn.tree import ExtraTreeRegressor

    model = IsolationForest(n_estimators=forest.trees, random_state=42)
    frame = np.zeros((2, columns), dtype=np.float32)
    frame[1] = 1.0
    model.fit(frame)
    trees = [_tree(forest, root, columns) for root in range(forest.trees)]
    model.estimators_ = [_estimator(ExtraTreeRegressor, tree, columns) for tree in trees]
    model.estimators_features_ = [np.arange(columns)] * forest.trees
    model.max_samples_ = model._max_samples = forest.samples
    model._average_path_length_per_tree = [average_path(tree.n_node_samples) for tree in trees]
    model._decision_path_lengths = [_depths(tree) for tree in trees]
    model.offset_ = -threshold
    return model


def _estimator(kind: Any, tree: Any, columns: int) -> Any:
    made = kind(max_features=1, splitter="random", random_state=42)
    made.tree_, made.n_features_in_, made.n_outputs_ = tree, columns, 1
    return made


def _tree(forest: Forest, root: int, columns: int) -> Any:
    """One of our trees as scikit-learn's ``Tree``."""
    from sklearn.tree._tree import NODE_DTYPE, Tree

    order, left, right, depth = _walk(forest, root)
    leaf = forest.feature[order] == LEAF
    nodes = np.zeros(len(order), dtype=NODE_DTYPE)
    nodes["left_child"], nodes["right_child"] = left, right
    nodes["feature"] = np.where(leaf, -2, forest.feature[order])
    nodes["threshold"] = np.where(leaf, -2.0, forest.value[order])
    leaf_rows = _leaf_rows(forest, order, depth)
    nodes["n_node_samples"] = _summed(leaf_rows, left, right)
    nodes["weighted_n_node_samples"] = nodes["n_node_samples"]
    tree = Tree(columns, np.array([1], dtype=np.intp), 1)
    state = {
        "max_depth": max_depth(forest.samples),
        "node_count": len(order),
        "nodes": nodes,
        "values": np.zeros((len(order), 1, 1)),
    }
    tree.__setstate__(state)
    return tree


def _walk(forest: Forest, root: int) -> tuple[Array, Array, Array, Array]:
    """The nodes of one tree, parents first, with the positions of their children and their depth."""
    order, depth, left = [root], [0], []
    for node in order:
        inner = forest.feature[node] != LEAF
        left.append(len(order) if inner else -1)
        if inner:
            order += [int(forest.left[node]), int(forest.left[node]) + 1]
            depth += [depth[len(left) - 1] + 1] * 2
    first = np.array(left)
    return np.array(order), first, np.where(first == -1, -1, first + 1), np.array(depth)


def _leaf_rows(forest: Forest, order: Array, depth: Array) -> Array:
    """Training rows in each leaf, read off its path length; meaningless for inner nodes."""
    known = average_path(np.arange(forest.samples + 1))
    known[0] = -1.0
    return np.searchsorted(known, forest.value[order] - depth - 1e-3).clip(1, forest.samples)


def _summed(rows: Array, left: Array, right: Array) -> Array:
    """Training rows in every node: those of its children, summed from the bottom up."""
    total = rows.copy()
    for node in np.flatnonzero(left != -1)[::-1]:
        total[node] = total[left[node]] + total[right[node]]
    return total
