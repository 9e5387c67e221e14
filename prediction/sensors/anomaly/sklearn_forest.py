"""Convert between scikit-learn's isolation forest and the arrays that serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from prediction.sensors.anomaly.isolation_forest import LEAF, Forest, average_path, max_depth
from prediction.sensors.readings.series import Array

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest
    from sklearn.tree._tree import Tree


def fit(features: Array, trees: int, seed: int, contamination: float) -> tuple[Forest, float]:
    """Fit scikit-learn's forest and copy its nodes: both give the same scores, bit by bit.

    Parameters
    ----------
    features : float32, shape (n, 3)

    Returns
    -------
    (Forest, threshold)
        scikit-learn's ``predict`` returns -1 where the score is above the threshold.
    """
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(n_estimators=trees, contamination=contamination, random_state=seed).fit(features)
    parts = []
    for estimator in model.estimators_:
        tree = estimator.tree_
        # A leaf stores its path length as scikit-learn counts it.
        path = _count_depths(tree) + average_path(tree.n_node_samples) - 1.0
        is_leaf = tree.children_left == -1
        value = np.where(is_leaf, path, tree.threshold)
        feature = np.where(is_leaf, LEAF, tree.feature)
        parts.append((feature, value, tree.children_left, tree.children_right))
    return _interleave(parts, int(model.max_samples_)), -float(model.offset_)


def _count_depths(tree: Tree) -> Array:
    """Return the nodes on the way to each node, itself included; children always come after their parent."""
    depth = np.ones(tree.node_count)
    for node in np.flatnonzero(tree.children_left != -1):
        depth[tree.children_left[node]] = depth[tree.children_right[node]] = depth[node] + 1
    return depth


def _interleave(parts: list[tuple[Array, Array, Array, Array]], samples: int) -> Forest:
    """Return all trees as one table: the roots first, then every pair of children next to each other."""
    feature: list[int] = []
    value: list[float] = []
    left: list[int] = []
    front = [(part, 0) for part in parts]
    free = len(front)
    while front:
        children: list[tuple[tuple[Array, Array, Array, Array], int]] = []
        for part, node in front:
            is_inner = part[2][node] != -1
            left.append(free + len(children) if is_inner else len(feature))
            feature.append(part[0][node])
            value.append(part[1][node])
            if is_inner:
                children += [(part, part[2][node]), (part, part[3][node])]
        front, free = children, free + len(children)
    return Forest(
        np.array(feature, dtype=np.int8),
        np.array(value, dtype=np.float64),
        np.array(left, dtype=np.int32),
        len(parts),
        samples,
    )


def as_scikit_learn(forest: Forest, threshold: float, columns: int) -> IsolationForest:
    """Return an ``IsolationForest`` with these trees, for people who work with scikit-learn.

    Its ``predict`` returns -1 exactly where the score is above the threshold.
    """
    from sklearn.ensemble import IsolationForest
    from sklearn.tree import ExtraTreeRegressor

    model = IsolationForest(n_estimators=forest.trees, random_state=42)
    # Fitting two rows sets all private attributes; those of the trees are replaced below.
    model.fit(np.stack([np.zeros(columns), np.ones(columns)]).astype(np.float32))
    trees = [_build_tree(forest, root, columns) for root in range(forest.trees)]
    model.estimators_ = []
    for tree in trees:
        estimator = ExtraTreeRegressor(max_features=1, splitter="random", random_state=42)
        estimator.tree_, estimator.n_features_in_, estimator.n_outputs_ = tree, columns, 1
        model.estimators_.append(estimator)
    model.estimators_features_ = [np.arange(columns)] * forest.trees
    model.max_samples_ = model._max_samples = forest.samples
    model._average_path_length_per_tree = [average_path(tree.n_node_samples) for tree in trees]
    model._decision_path_lengths = [_count_depths(tree) for tree in trees]
    model.offset_ = -threshold
    return model


def _build_tree(forest: Forest, root: int, columns: int) -> Tree:
    """Return one tree of the forest as scikit-learn's ``Tree``."""
    from sklearn.tree._tree import NODE_DTYPE, Tree

    order, left, right, depth = _order_nodes(forest, root)
    is_leaf = forest.feature[order] == LEAF
    # The path length of a leaf tells how many training rows it holds, since c(n) grows with n. The margin
    # covers the rounding to float32.
    path_by_rows = average_path(np.arange(forest.samples + 1))
    path_by_rows[0] = -1.0
    rows = np.searchsorted(path_by_rows, forest.value[order] - depth - 1e-3).clip(1, forest.samples)
    for node in np.flatnonzero(left != -1)[::-1]:
        rows[node] = rows[left[node]] + rows[right[node]]
    nodes = np.zeros(len(order), dtype=NODE_DTYPE)
    nodes["left_child"], nodes["right_child"] = left, right
    # scikit-learn marks leaves with -2.
    nodes["feature"] = np.where(is_leaf, -2, forest.feature[order])
    nodes["threshold"] = np.where(is_leaf, -2.0, forest.value[order])
    nodes["n_node_samples"] = nodes["weighted_n_node_samples"] = rows
    tree = Tree(columns, np.array([1], dtype=np.intp), 1)
    state = {
        "max_depth": max_depth(forest.samples),
        "node_count": len(order),
        "nodes": nodes,
        "values": np.zeros((len(order), 1, 1)),
    }
    tree.__setstate__(state)
    return tree


def _order_nodes(forest: Forest, root: int) -> tuple[Array, Array, Array, Array]:
    """Return the nodes of one tree, parents first, with the positions of their children and their depth."""
    order, depth, left = [root], [0], []
    for node in order:  # grows while it is read
        is_inner = forest.feature[node] != LEAF
        left.append(len(order) if is_inner else -1)
        if is_inner:
            order += [int(forest.left[node]), int(forest.left[node]) + 1]
            depth += [depth[len(left) - 1] + 1] * 2
    first = np.array(left)
    return np.array(order), first, np.where(first == -1, -1, first + 1), np.array(depth)
