"""Clusters of settings: k-means from far-apart seeds, accepted only where clusters are well separated.

scikit-learn's k-means keeps every cluster, however small. Here clusters that lose all of their points are
dropped while the centres move, and the acceptance rule compares distances along the lines between centres.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_CLUSTERS: Final = 12
# Rows must lie so much closer to their own centre than to others: 0.25 is any cut through even points.
_MAX_LOOSENESS: Final = 0.2
# A few points by themselves are outliers, not a condition.
_MIN_CLUSTER_SHARE: Final = 0.01
_MAX_OUTLIER_CLUSTERS: Final = 4
_MAX_ITERATIONS: Final = 20


def find_clusters(points: Floats) -> Floats:
    """Return the centres of well separated clusters; the mean of all points where there are none.

    Rows of one regime differ by noise only, so true conditions lie far apart in units of their own spread.
    """
    best: Floats = points.mean(axis=0, keepdims=True)
    max_count = min(MAX_CLUSTERS + _MAX_OUTLIER_CLUSTERS, len(np.unique(points, axis=0)))
    for count in range(2, max_count + 1):
        centres = _run_lloyd(points, _farthest_points(points, count))
        shares = np.bincount(assign_clusters(points, centres), minlength=len(centres)) / len(points)
        centres = centres[shares >= _MIN_CLUSTER_SHARE]
        if len(best) < len(centres) <= MAX_CLUSTERS and measure_looseness(points, centres) < _MAX_LOOSENESS:
            best = centres
    return best


def assign_clusters(points: Floats, centres: Floats) -> NDArray[np.int64]:
    """Return the number of the nearest centre of each point."""
    if len(centres) == 1:
        return np.zeros(len(points), dtype=np.int64)
    nearest: NDArray[np.int64] = ((points[:, None, :] - centres) ** 2).sum(axis=2).argmin(axis=1)
    return nearest


def measure_looseness(points: Floats, centres: Floats) -> float:
    """Return the largest mean distance of a cluster's points to its centre, relative to another centre.

    The distance is measured along the line to that centre, so that noise of other settings does not count.
    """
    if len(centres) == 1:
        return 0.0
    cluster = assign_clusters(points, centres)
    looseness = 0.0
    for number, centre in enumerate(centres):
        directions = np.delete(centres, number, axis=0) - centre
        along = np.abs((points[cluster == number] - centre) @ directions.T).mean(axis=0)
        looseness = max(looseness, float((along / (directions**2).sum(axis=1)).max()))
    return looseness


def _farthest_points(points: Floats, count: int) -> Floats:
    """Return seeds far apart: each next one is the farthest point from those before it."""
    seeds = [points[0]]
    distances = ((points - seeds[0]) ** 2).sum(axis=1)
    while len(seeds) < count:
        seeds.append(points[distances.argmax()])
        distances = np.minimum(distances, ((points - seeds[-1]) ** 2).sum(axis=1))
    return np.array(seeds)


def _run_lloyd(points: Floats, centres: Floats) -> Floats:
    for _ in range(_MAX_ITERATIONS):
        cluster = assign_clusters(points, centres)
        moved = np.array([points[cluster == number].mean(axis=0) for number in np.unique(cluster)])
        if moved.shape == centres.shape and np.allclose(moved, centres):
            break
        centres = moved
    return centres
