"""The second opinion: both sides get the weight that validation gives them, folded into the layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from prediction.damage.evaluation.metrics import softmax
from prediction.damage.model.ensemble import add_linear_blend, fit_blend_weights
from prediction.damage.model.fitting import build_network, compute_logits


def log_loss(scores: np.ndarray, targets: np.ndarray) -> float:
    return float(-np.log(softmax(scores)[np.arange(len(targets)), targets]).mean())


def test_who_knows_is_heard_and_who_guesses_is_not():
    chance = np.random.default_rng(0)
    targets = chance.integers(0, 3, 900)
    knows = np.eye(3)[targets] * 2 + chance.normal(size=(900, 3))
    guesses = chance.normal(size=(900, 3))
    for opinions, places in (([knows, guesses], (0, 1)), ([guesses, knows], (1, 0))):
        weights = fit_blend_weights(opinions, targets)
        assert weights[places[0]] > 1 and weights[places[1]] < 0.2


@pytest.mark.parametrize("model_type", ["cnn", "resnet"])
def test_together_they_are_no_worse_on_validation_than_either(plant, model_type):
    prepared = plant.prepare()
    network, _ = build_network(prepared, plant.options(model_type=model_type, blocks=1))
    images, targets = prepared.validation.images, prepared.validation.targets
    alone = compute_logits(network, images)
    kinds = [prepared.transform.levels, prepared.transform.modulations]
    add_linear_blend(network, prepared.train, prepared.validation, kinds)
    together = log_loss(compute_logits(network, images), targets)
    assert network.rule is not None
    with torch.inference_mode():
        rule = network.rule(network.band_means(torch.from_numpy(images), sum(kinds))).numpy()
    assert together <= log_loss(alone, targets) + 1e-6
    assert together <= min(log_loss(weight * rule, targets) for weight in (0.1, 0.5, 1, 2, 5)) + 0.02


def test_the_rule_is_the_regression(plant):
    from prediction.damage.evaluation.baseline import fit_logistic

    prepared = plant.prepare()
    network, _ = build_network(prepared, plant.options())
    add_linear_blend(network, prepared.train, prepared.validation, [prepared.transform.levels])
    images, rule = torch.from_numpy(prepared.train.images), network.rule
    assert isinstance(rule, nn.Linear)
    with torch.inference_mode():
        bands = network.band_means(images, prepared.transform.levels)
        sides = rule(bands).numpy()
    weights, bias = fit_logistic(bands.numpy().astype(np.float64), prepared.train.targets)
    both = bands.numpy() @ weights.T + bias
    told = both[:, 1] - both[:, 0]
    given = sides[:, 1] - sides[:, 0]
    scale = float(given @ told / (told @ told))
    np.testing.assert_allclose(given, scale * told, atol=1e-3 * max(1.0, scale))
