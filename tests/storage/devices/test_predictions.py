"""Predictions are kept once a moment, each tenant's own, and not for ever."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from storage.devices.prediction import Prediction, PredictionSource
from storage.devices.predictions import PredictionStore

MINE = PredictionSource("plant", "rul", "pumps", 1)
ONE = Prediction("P-1", 1_000, 12.5, 100.0, 3.0, None, 40)


@pytest.fixture
def stored(database):
    return PredictionStore(database)


def test_an_answer_about_the_same_moment_is_kept_once(stored):
    later = replace(ONE, as_of=2_000, value=11.0)
    stored.add([(MINE, later), (MINE, ONE)])
    stored.add([(MINE, replace(ONE, value=99.0)), (MINE, replace(ONE, device_id="P-0"))])
    found = stored.read(MINE)
    assert (list(found.devices), found.as_of.tolist()) == (["P-0", "P-1", "P-1"], [1_000, 1_000, 2_000])
    assert found.value.tolist() == [12.5, 12.5, 11.0]
    assert found.lower.tolist() == [3.0] * 3
    assert np.isnan(found.upper).all()
    assert found.rows_used.tolist() == [40] * 3


def test_other_versions_models_and_tenants_have_their_own(stored):
    strangers = [replace(MINE, **other) for other in ({"tenant": "b"}, {"name": "b"}, {"version": 2})]
    stored.add([(stranger, ONE) for stranger in strangers])
    assert len(stored.read(MINE)) == 0
    assert [len(stored.read(stranger)) for stranger in strangers] == [1, 1, 1]


def test_old_ones_and_too_many_of_a_tenant_are_forgotten(stored):
    other = replace(MINE, tenant="other")
    stored.add([(MINE, replace(ONE, as_of=moment)) for moment in range(100, 200)] + [(other, ONE)])
    assert stored.delete_old(before=110) == 10
    assert stored.delete_old(before=0, max_rows=30) == 60
    assert stored.read(MINE).as_of.tolist() == list(range(170, 200))
    assert len(stored.read(other)) == 1
