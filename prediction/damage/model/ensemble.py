"""A network's second opinion: logistic regression on its images' bands, weighed by the validation windows."""

from __future__ import annotations

from collections.abc import Sequence

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

_LEAST, _MOST = 0.05, 10.0
_FIRST = (1.0, 0.1)


def add_linear_blend(
    network: DamageNetwork, train: ImageSplit, validation: ImageSplit, kinds: Sequence[int]
) -> None:
    """Add what simple rules know to the network's logits, as one more linear layer.

    A rule that sees the mean of each band over time is steadier than convolutions where there are few
    recordings. The network and a rule for each kind of image get the weights with which they are right most
    often on validation windows (linear opinion pool of logits; the log loss is convex in the weights), so the
    network ends no worse there than any of them. The weights are folded into the layers; nothing is left to
    be done when it answers.

    Parameters
    ----------
    kinds : sequence of int
        How many images show levels, and how many of those that follow show modulations: each kind has a rule.
    """
    width = network.input_shape[1]
    places = [slice(width * sum(kinds[:at]), width * sum(kinds[: at + 1])) for at in range(len(kinds))]
    learnt, asked = (_bands(network, part, sum(kinds)) for part in (train, validation))
    rules = [(place, *_rule(learnt[:, place], train.targets)) for place in places if place.stop > place.start]
    told = [asked[:, place] @ weights.T + bias for place, weights, bias in rules]
    seen = predict(network, torch.from_numpy(validation.images)).numpy()
    own, *others = fit_blend_weights([seen, *told], validation.targets)
    last = network.head[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.mul_(own)
        last.bias.mul_(own)
    weights = [share * weights for share, (_, weights, _) in zip(others, rules, strict=True)]
    bias = [share * bias for share, (_, _, bias) in zip(others, rules, strict=True)]
    network.rule = _layer(np.concatenate(weights, axis=1), np.sum(bias, axis=0))


def fit_blend_weights(opinions: Sequence[NDArray[np.floating]], targets: NDArray[np.int64]) -> Numbers:
    """The weights of logits ``(n, classes)``, the network's first, whose sum has the least log loss."""
    stacked = np.stack(opinions).astype(np.float64)
    wanted = smoothed_targets(targets, stacked.shape[2])

    def loss(weights: Numbers) -> tuple[float, Numbers]:
        chances = softmax(np.tensordot(weights, stacked, 1))
        slope = (stacked * (chances - wanted)).sum(axis=2).mean(axis=1)
        return float(-(wanted * np.log(np.maximum(chances, 1e-300))).sum(axis=1).mean()), slope

    others = len(opinions) - 1
    bounds = [(_LEAST, _MOST), *[(0.0, _MOST)] * others]
    first = [_FIRST[0], *[_FIRST[1]] * others]
    found: Numbers = minimize(loss, first, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found


def _bands(network: DamageNetwork, part: ImageSplit, images: int) -> Numbers:
    """Each band's mean over time in the first images, standardised as the network does."""
    with torch.inference_mode():
        found: Numbers = network.bands(torch.from_numpy(part.images), images).numpy().astype(np.float64)
    return found


def _rule(bands: Numbers, targets: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """Logistic regression as weights ``(classes, bands)`` and bias ``(classes,)`` of logits."""
    scaler, model = fit_logistic(bands, targets)
    weights = model.coef_ / scaler.scale_
    bias = model.intercept_ - weights @ scaler.mean_
    if len(weights) == 1:  # of two classes it tells the second one's side only
        return np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return weights, bias


def _layer(weights: Numbers, bias: Numbers) -> nn.Linear:
    layer = nn.Linear(weights.shape[1], len(weights))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
