"""Figures as data: their parts fit together, stay small and hold no NaN."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from prediction import figures


def test_a_curve_is_thinned_and_keeps_its_ends():
    drawn = figures.line("Loss", "epoch", "loss", {"train": (range(5_000), np.linspace(1, 0, 5_000))})
    x = drawn["series"][0]["x"]
    assert (len(x), x[0], x[-1]) == (figures.MAX_POINTS, 0, 4_999)
    assert len(json.dumps(drawn)) < 10_000


def test_what_is_not_finite_is_none():
    drawn = figures.scatter("t", "x", "y", {"a": ([1, 2], [math.nan, math.inf])})
    assert drawn["series"][0]["y"] == [None, None]
    json.dumps(drawn, allow_nan=False)


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        figures.confusion("t", ["a", "b"], [[1, 2]])
    with pytest.raises(ValueError, match="do not fit"):
        figures.bars("t", "y", ["a"], {"g": [1, 2]})
    with pytest.raises(ValueError, match="do not fit"):
        figures.line("t", "x", "y", {"a": ([1], [1, 2])})


def test_honest_chances_lie_on_the_diagonal_and_boasting_ones_below():
    chance = np.random.default_rng(0)
    told = chance.uniform(0, 1, 20_000)
    honest = figures.reliability("t", told, chance.uniform(0, 1, 20_000) < told)["series"][0]
    boasting = figures.reliability("t", told, chance.uniform(0, 1, 20_000) < told / 2)["series"][0]
    assert np.allclose(honest["x"], honest["y"], atol=0.05)
    assert all(y < x for x, y in zip(boasting["x"][1:], boasting["y"][1:], strict=True))
