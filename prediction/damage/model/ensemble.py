"""A linear blend of network and logistic regressions, weighted by the validation windows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import nn

from prediction.damage.data.preparation import ImageSplit
from prediction.damage.evaluation.baseline import fit_logistic
from prediction.damage.evaluation.metrics import Numbers, smoothed_targets, softmax
from prediction.damage.networks import DamageNetwork
from prediction.neural.training import predict

# The network keeps some weight: a blend without it would answer for a network that was trained for
# nothing.
_MIN_NETWORK_WEIGHT, _MAX_WEIGHT = 0.05, 10.0
# Weights from which the search starts: of the network, and of each regression.
_START = (1.0, 0.1)


def add_linear_blend(
    network: DamageNetwork, train: ImageSplit, validation: ImageSplit, image_counts: Sequence[int]
) -> Numbers:
    """Add logistic regressions on the images' bands to the network's logits, as one more linear layer.

    A regression that sees the mean of each band over time is steadier than convolutions where there are few
    recordings. The network and a regression for each kind of image get the weights with the least log loss on
    validation windows (linear opinion pool of logits; the loss is convex in the weights), so the network ends
    no worse there than any of them. The weights are folded into the layers, so serving needs no further step.

    Parameters
    ----------
    image_counts : sequence of int
        How many images show levels, and how many of those that follow show modulations: each kind has a
        regression.

    Returns
    -------
    ndarray
        The weight of the network and of each regression.
    """
    columns = _split_bands(network, image_counts)
    regressions = _fit_regressions(network, train, columns)
    validation_bands = _band_means(network, validation, sum(image_counts))
    opinions = [
        validation_bands[:, part] @ weights.T + bias
        for part, (weights, bias) in zip(columns, regressions, strict=True)
    ]
    own_logits = predict(network, torch.from_numpy(validation.images)).numpy()
    blend_weights = fit_blend_weights([own_logits, *opinions], validation.targets)
    _fold_in(network, regressions, blend_weights)
    return blend_weights


def add_weighted_regressions(
    network: DamageNetwork, train: ImageSplit, image_counts: Sequence[int], blend_weights: Numbers
) -> None:
    """Add logistic regressions as `add_linear_blend` does, with the weights that it returned for an earlier fit."""
    regressions = _fit_regressions(network, train, _split_bands(network, image_counts))
    _fold_in(network, regressions, blend_weights)


def _split_bands(network: DamageNetwork, image_counts: Sequence[int]) -> list[slice]:
    """Return the columns of each kind of image among the means of the bands."""
    ends = np.cumsum([0, *image_counts]) * network.input_shape[1]
    return [slice(first, end) for first, end in pairwise(ends.tolist()) if end > first]


def _fit_regressions(
    network: DamageNetwork, train: ImageSplit, columns: Sequence[slice]
) -> list[tuple[Numbers, Numbers]]:
    bands = _band_means(network, train, columns[-1].stop // network.input_shape[1])
    return [fit_logistic(bands[:, part], train.targets) for part in columns]


def _fold_in(
    network: DamageNetwork, regressions: Sequence[tuple[Numbers, Numbers]], blend_weights: Numbers
) -> None:
    """Fold the weighted logits of network and regressions into the network's layers."""
    own_share, *shares = blend_weights.tolist()
    output_layer = network.head[-1]
    if not isinstance(output_layer, nn.Linear):
        raise TypeError("the head of a damage network ends with a linear layer")
    with torch.no_grad():
        output_layer.weight.mul_(own_share)
        output_layer.bias.mul_(own_share)
    weights = [share * weights for share, (weights, _) in zip(shares, regressions, strict=True)]
    bias = [share * bias for share, (_, bias) in zip(shares, regressions, strict=True)]
    rule = nn.Linear(sum(part.shape[1] for part in weights), network.classes)
    with torch.no_grad():
        rule.weight.copy_(torch.from_numpy(np.concatenate(weights, axis=1)))
        rule.bias.copy_(torch.from_numpy(np.sum(bias, axis=0)))
    network.rule = rule


def fit_blend_weights(opinions: Sequence[NDArray[np.floating]], targets: NDArray[np.int64]) -> Numbers:
    """Return the weights of logits ``(n, classes)``, the network's first, whose sum has the least log loss."""
    stacked = np.stack(opinions).astype(np.float64)
    wanted = smoothed_targets(targets, stacked.shape[2])

    def loss_and_gradient(weights: Numbers) -> tuple[float, Numbers]:
        probabilities = softmax(np.tensordot(weights, stacked, 1))
        gradient = (stacked * (probabilities - wanted)).sum(axis=2).mean(axis=1)
        logarithms = np.log(np.maximum(probabilities, 1e-300))
        return float(-(wanted * logarithms).sum(axis=1).mean()), gradient

    regressions = len(opinions) - 1
    bounds = [(_MIN_NETWORK_WEIGHT, _MAX_WEIGHT), *[(0.0, _MAX_WEIGHT)] * regressions]
    start = [_START[0], *[_START[1]] * regressions]
    weights: Numbers = minimize(loss_and_gradient, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return weights


def _band_means(network: DamageNetwork, split: ImageSplit, images: int) -> Numbers:
    """Return each band's mean over time in the first images, standardised as the network does."""
    with torch.inference_mode():
        means: Numbers = network.band_means(torch.from_numpy(split.images), images).numpy().astype(np.float64)
    return means
