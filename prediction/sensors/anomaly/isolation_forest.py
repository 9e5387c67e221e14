"""An isolation forest as plain arrays: all trees grow together, level by level, without pickles.

References
----------
Liu, Ting, Zhou, "Isolation Forest", ICDM 2008: random split of a random feature, path length, c(n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Array = NDArray[Any]

LEAF = -1
MAX_SAMPLES = 256
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Forest:
    """Trees in one table of nodes; the children of an inner node stand side by side.

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
        limit = np.where(self.feature == LEAF, np.inf, self.value).astype(self.value.dtype)
        object.__setattr__(self, "_threshold", limit)

    def score(self, rows: Floats) -> NDArray[np.float64]:
        """Anomaly scores in (0, 1): near 1 is easy to isolate, 0.5 and less is ordinary.

        Parameters
        ----------
        rows : float, shape (n, features)

        Returns
        -------
        float64, shape (n,)
        """
        blocks = range(0, len(rows), _ROWS_AT_ONCE)
        paths = [self._path(rows[start : start + _ROWS_AT_ONCE]) for start in blocks]
        scale = self.trees * float(average_path(np.array([self.samples]))[0])
        total = np.concatenate([*paths, np.empty(0)])
        scores: NDArray[np.float64] = 2.0 ** (-(total / scale if scale else np.ones_like(total)))
        return scores

    def _path(self, rows: Floats) -> NDArray[np.float64]:
        """Path length summed over the trees; a leaf looks at any value and sends every row back to itself.

        The sum is taken tree by tree, as scikit-learn takes it: not one bit differs.
        """
        values = np.ascontiguousarray(rows).ravel()
        following, column = self.left, self.feature
        if len(rows) > 1:  # indices of the machine's own size are quicker to follow, once they are made
            following, column = following.astype(np.intp), column.astype(np.intp)
        node = np.tile(np.arange(self.trees), len(rows))
        row = np.repeat(np.arange(len(rows)) * rows.shape[1], self.trees)
        for _ in range(max_depth(self.samples)):
            right = values.take(row + column.take(node)) > self._threshold.take(node)
            node = following.take(node) + right
        lengths = self.value.take(node).astype(np.float64, copy=False).reshape(len(rows), self.trees)
        summed: NDArray[np.float64] = np.cumsum(lengths, axis=1)[:, -1]
        return summed


def average_path(sizes: Array) -> NDArray[np.float64]:
    """c(n): mean path length of an unsuccessful search in a binary tree of ``n`` rows, shape as ``sizes``."""
    size = np.asarray(sizes, dtype=np.float64)
    safe = np.maximum(size, 3.0)
    long = 2.0 * (np.log(safe - 1.0) + np.euler_gamma) - 2.0 * (safe - 1.0) / safe
    return np.where(size > 2, long, np.where(size == 2, 1.0, 0.0))


def max_depth(samples: int) -> int:
    """The depth at which growing stops: the mean depth of a balanced tree."""
    return math.ceil(math.log2(max(samples, 2)))


def grow(rows: Floats, trees: int = 100, seed: int = 42, samples: int = MAX_SAMPLES) -> Forest:
    """Grow a forest on ``rows``.

    Parameters
    ----------
    rows : float, shape (n, features), n at least 1
    trees : int
    seed : int
        Equal rows and seed give equal arrays on every machine.
    samples : int
        Rows a tree sees, drawn without replacement; all of them where there are fewer.

    Returns
    -------
    Forest
        With thresholds in the dtype of ``rows``.
    """
    random = np.random.default_rng(seed)
    size = min(samples, len(rows))
    drawn = [random.choice(len(rows), size, replace=False, shuffle=False) for _ in range(trees)]
    nodes = _Nodes(np.concatenate(drawn), np.full(trees, size))
    columns = np.ascontiguousarray(rows.T)
    levels: list[_Level] = []
    first = 0
    for depth in range(max_depth(size) + 1):
        split = _drawn_split(columns, nodes, random, last=depth == max_depth(size))
        levels.append(_level(nodes, split, depth, first))
        first += len(nodes.sizes)
        if not split.inner.any():
            break
        nodes = _children(columns, nodes, split)
    return _joined(levels, trees, size)


@dataclass(frozen=True)
class _Nodes:
    """The nodes of one depth: ``points`` are their rows' numbers, node by node, ``sizes`` of them in each."""

    points: Array
    sizes: Array


@dataclass(frozen=True)
class _Split:
    """What was drawn for each node; a node that is not ``inner`` is a leaf."""

    column: Array
    threshold: Array
    inner: Array


@dataclass(frozen=True)
class _Level:
    feature: Array
    value: Array
    left: Array


def _drawn_split(columns: Array, nodes: _Nodes, random: np.random.Generator, last: bool) -> _Split:
    """A random column that is not constant in the node, and a random threshold within it."""
    count = len(nodes.sizes)
    lots = random.random((count, len(columns)))
    share = random.random(count).astype(columns.dtype)
    low, high = np.zeros(count, columns.dtype), np.zeros(count, columns.dtype)
    column = np.zeros(count, dtype=np.intp)
    open_ = np.flatnonzero(nodes.sizes > 1) if not last else np.empty(0, dtype=np.intp)
    points, sizes = _of(nodes, open_)
    for _ in range(len(columns)):
        if not len(open_):
            break
        column[open_] = lots[open_].argmax(axis=1)
        lots[open_, column[open_]] = -1.0
        values = _values(columns, column[open_], points, sizes)
        starts = np.cumsum(sizes) - sizes
        low[open_], high[open_] = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
        constant = low[open_] >= high[open_]
        points, sizes = points[np.repeat(constant, sizes)], sizes[constant]
        open_ = open_[constant]
    threshold = low + share * (high - low)
    return _Split(column, np.where(threshold >= high, low, threshold), low < high)


def _of(nodes: _Nodes, chosen: Array) -> tuple[Array, Array]:
    """Points and sizes of some of the nodes."""
    wanted = np.zeros(len(nodes.sizes), dtype=bool)
    wanted[chosen] = True
    return nodes.points[np.repeat(wanted, nodes.sizes)], nodes.sizes[chosen]


def _values(columns: Array, column: Array, points: Array, sizes: Array) -> Array:
    """What the points of each node have in that node's column."""
    return columns.ravel().take(np.repeat(column * columns.shape[1], sizes) + points)


def _level(nodes: _Nodes, split: _Split, depth: int, first: int) -> _Level:
    """The nodes of one depth as rows of the table; their children follow them all, in pairs."""
    count = len(nodes.sizes)
    path = (depth + average_path(nodes.sizes)).astype(split.threshold.dtype)
    left = np.arange(first, first + count, dtype=np.int32)
    left[split.inner] = first + count + 2 * np.arange(split.inner.sum(), dtype=np.int32)
    return _Level(
        np.where(split.inner, split.column, LEAF).astype(np.int8),
        np.where(split.inner, split.threshold, path),
        left,
    )


def _children(columns: Array, nodes: _Nodes, split: _Split) -> _Nodes:
    """Send the rows of every inner node to its two children, keeping each child's rows side by side."""
    inner = np.flatnonzero(split.inner)
    points, sizes = _of(nodes, inner)
    values = _values(columns, split.column[inner], points, sizes)
    right = values > np.repeat(split.threshold[inner], sizes)
    starts = np.cumsum(sizes) - sizes
    rights = np.add.reduceat(right, starts, dtype=np.int64)
    before: Array = np.cumsum(right) - right
    rank: Array = before - np.repeat(before[starts], sizes)
    at = np.arange(len(points))
    target = np.where(right, np.repeat(starts + sizes - rights, sizes) + rank, at - rank)
    moved = np.empty_like(points)
    moved[target] = points
    return _Nodes(moved, np.stack([sizes - rights, rights], axis=1).ravel())


def _joined(levels: list[_Level], trees: int, samples: int) -> Forest:
    return Forest(
        np.concatenate([level.feature for level in levels]),
        np.concatenate([level.value for level in levels]),
        np.concatenate([level.left for level in levels]),
        trees,
        samples,
    )
