"""A network's second opinion: logistic regression on its images' bands, weighed by the validation windows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import nn

from prediction.damage.baseline import logistic
from prediction.damage.evaluation import Numbers, modest, softmax
from prediction.damage.networks import DamageNetwork
from prediction.damage.prepare import Part
from prediction.neural import predict

_LEAST, _MOST = 0.05, 10.0
_FIRST = (1.0, 0.1)


def blend(network: DamageNetwork, train: Part, validation: Part, images: int) -> None:
    """Add what a simple rule knows to the network's logits, as one more linear layer.

    A rule that sees the mean of each band over time is steadier than convolutions where there are few
    recordings. Both get the weight with which they are right most often on validation windows (linear
    opinion pool of logits; the log loss is convex in the two weights), so the network ends no worse there
    than either of them. The weights are folded into the layers; nothing is left to be done when it answers.

    Parameters
    ----------
    images : int
        How many of the images the rule sees, the first ones.
    """
    rule = _rule(network, train, images)
    with torch.inference_mode():
        plain = rule(network.bands(torch.from_numpy(validation.images), images)).numpy()
    seen = predict(network, torch.from_numpy(validation.images)).numpy()
    own, other = best_weights([seen, plain], validation.targets)
    last = network.head[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        for layer, weight in ((last, own), (rule, other)):
            layer.weight.mul_(weight)
            layer.bias.mul_(weight)
    network.rule = rule


def best_weights(opinions: list[NDArray[np.float32]], targets: NDArray[np.int64]) -> Numbers:
    """The weights of logits ``(n, classes)`` whose sum has the least log loss."""
    stacked = np.stack(opinions).astype(np.float64)
    wanted = modest(targets, stacked.shape[2])

    def loss(weights: Numbers) -> tuple[float, Numbers]:
        chances = softmax(np.tensordot(weights, stacked, 1))
        slope = (stacked * (chances - wanted)).sum(axis=2).mean(axis=1)
        return float(-(wanted * np.log(np.maximum(chances, 1e-300))).sum(axis=1).mean()), slope

    bounds = [(_LEAST, _MOST), (0.0, _MOST)]
    found: Numbers = minimize(loss, _FIRST, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found


def _rule(network: DamageNetwork, train: Part, images: int) -> nn.Linear:
    """Logistic regression on the mean of each band, as a layer over the network's standardised images."""
    with torch.inference_mode():
        bands = network.bands(torch.from_numpy(train.images), images).numpy()
    scaler, model = logistic(bands.astype(np.float64), train.targets)
    weights = model.coef_ / scaler.scale_
    bias = model.intercept_ - weights @ scaler.mean_
    if len(weights) == 1:  # of two classes it tells the second one's side only
        weights, bias = (np.concatenate([-side, side]) / 2 for side in (weights, bias))
    layer = nn.Linear(weights.shape[1], len(weights))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer
