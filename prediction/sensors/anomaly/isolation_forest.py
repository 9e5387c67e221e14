"""An isolation forest as plain arrays, scored with NumPy: it loads without pickles and without scikit-learn.

coniferest grows the trees in a training. A web worker only scores, so it does not import coniferest.

References
----------
Liu, Ting, Zhou, "Isolation Forest", ICDM 2008: random split of a random feature, path length, c(n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prediction.sensors.readings.series import Array

LEAF = -1
# Rows per tree; the paper finds that more do not improve the scores.
MAX_SAMPLES = 256
# Rows that are scored together: 256 rows of 100 trees fit into the cache of a core.
_ROWS_PER_BLOCK = 256


@dataclass(frozen=True)
class Forest:
    """Trees in one table of nodes; the children of an inner node are next to each other.

    Parameters
    ----------
    feature : int8, shape (nodes,)
        Column an inner node splits on, ``LEAF`` for a leaf.
    value : float32 or float64, shape (nodes,)
        The threshold of an inner node (``x <= threshold`` goes left); the path length of a leaf.
    left : int32, shape (nodes,)
        Index of the left child, the right one follows it; a leaf's own index.
    trees : int
        Number of trees; tree ``t`` starts at node ``t``.
    samples : int
        Rows each tree was grown from.
    """

    feature: Array
    value: Array
    left: Array
    trees: int
    samples: int
    _threshold: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # An infinite threshold sends every row of a leaf back to the leaf, so all rows take the same steps.
        threshold = np.where(self.feature == LEAF, np.inf, self.value).astype(self.value.dtype)
        object.__setattr__(self, "_threshold", threshold)

    def score(self, rows: Array) -> NDArray[np.float64]:
        """Return anomaly scores in (0, 1): near 1 is easy to isolate, 0.5 and less is ordinary.

        Parameters
        ----------
        rows : float, shape (n, features)

        Returns
        -------
        float64, shape (n,)
        """
        blocks = [
            self._sum_paths(rows[start : start + _ROWS_PER_BLOCK])
            for start in range(0, len(rows), _ROWS_PER_BLOCK)
        ]
        total = np.concatenate([*blocks, np.empty(0)])
        scale = self.trees * float(average_path(np.array([self.samples]))[0])
        scores: NDArray[np.float64] = 2.0 ** (-(total / scale if scale else np.ones_like(total)))
        return scores

    def _sum_paths(self, rows: Array) -> NDArray[np.float64]:
        """Return the path length of each row, summed over the trees."""
        values = np.ascontiguousarray(rows).ravel()
        left, column = self.left, self.feature
        if len(rows) > 1:  # NumPy indexes faster with intp; for one row the conversion takes longer
            left, column = left.astype(np.intp), column.astype(np.intp)
        node = np.tile(np.arange(self.trees), len(rows))
        row_start = np.repeat(np.arange(len(rows)) * rows.shape[1], self.trees)
        for _ in range(max_depth(self.samples)):
            # A leaf's column is -1, which reads some value; its infinite threshold ignores it.
            goes_right = values.take(row_start + column.take(node)) > self._threshold.take(node)
            node = left.take(node) + goes_right
        lengths = self.value.take(node).astype(np.float64, copy=False).reshape(len(rows), self.trees)
        # Summed tree by tree as scikit-learn does, so that the classic mode agrees in every bit.
        sums: NDArray[np.float64] = np.cumsum(lengths, axis=1)[:, -1]
        return sums


def average_path(sizes: Array) -> NDArray[np.float64]:
    """Return c(n), the mean path length of an unsuccessful search in a binary tree of ``n`` rows."""
    size = np.asarray(sizes, dtype=np.float64)
    safe = np.maximum(size, 3.0)
    path = 2.0 * (np.log(safe - 1.0) + np.euler_gamma) - 2.0 * (safe - 1.0) / safe
    return np.where(size > 2, path, np.where(size == 2, 1.0, 0.0))


def max_depth(samples: int) -> int:
    """Return the depth at which growing stops: the mean depth of a balanced tree."""
    return math.ceil(math.log2(max(samples, 2)))


def grow(rows: Array, trees: int = 100, seed: int = 42, samples: int = MAX_SAMPLES) -> Forest:
    """Grow a forest.

    Parameters
    ----------
    rows : float32 or float64, shape (n, features), n at least 1
    trees : int
    seed : int
        Equal rows and seed give equal arrays on every machine.
    samples : int
        Rows a tree is grown from, drawn without replacement; all of them where there are fewer.

    Returns
    -------
    Forest
        With thresholds in the dtype of ``rows``.
    """
    from coniferest.isoforest import IsolationForest
    from coniferest.utils import average_path_length

    size = min(samples, len(rows))
    model = IsolationForest(
        n_trees=trees, n_subsamples=size, max_depth=max_depth(size), n_jobs=1, random_seed=seed
    )
    grown = list(model.build_forest(rows, trees))
    node_counts = np.array([tree.n_nodes for tree in grown])
    left = np.concatenate([tree.left for tree in grown])
    value = np.concatenate([tree.value for tree in grown])
    path_below = np.concatenate([tree.node_average_path_length for tree in grown])
    is_leaf = left == 0
    # A leaf's value is its depth plus c(rows) by coniferest's formula, and c grows with the number of rows. The
    # forest takes c by the formula of the paper, as scikit-learn does. The margin covers the rounding to float32.
    leaf_rows = np.searchsorted(average_path_length(np.arange(size + 1)), path_below[is_leaf] - 1e-4)
    value[is_leaf] = np.round(value[is_leaf] - path_below[is_leaf]) + average_path(leaf_rows)
    # Roots come first, then the other nodes of each tree; children stay next to each other.
    tree_of_node = np.repeat(np.arange(trees), node_counts)
    offset = trees - 1 + np.cumsum(node_counts - 1) - (node_counts - 1)
    node = np.arange(len(left)) - (np.cumsum(node_counts) - node_counts)[tree_of_node]
    target = np.where(node == 0, tree_of_node, offset[tree_of_node] + node)
    order = np.argsort(target)
    feature = np.concatenate([tree.feature for tree in grown])
    return Forest(
        np.where(is_leaf, LEAF, feature)[order].astype(np.int8),
        value[order].astype(rows.dtype, copy=False),
        np.where(is_leaf, target, offset[tree_of_node] + left)[order].astype(np.int32),
        trees,
        size,
    )
