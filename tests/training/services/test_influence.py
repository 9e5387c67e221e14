"""Each batch since the anchor is scored by leaving it out; the service says which made a model worse."""

from __future__ import annotations

from typing import Any

import pytest

from errors import NoChampion
from prediction.contract import BatchInfluence, Champion
from tests import toy_family
from tests.toy_family import PreparedToyData
from tests.training.conftest import KEY, ended_session
from training_manager import TrainingManager

ROWS = toy_family.records


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Anchor and number of rows of every measurement."""
    calls: list[tuple[int, int]] = []

    def measure(
        family: Any, anchor: Champion, prepared: PreparedToyData, options: Any
    ) -> list[BatchInfluence]:
        calls.append((anchor.number, prepared.rows))
        return [BatchInfluence(1, 50, 0.5, 9.0, "everything is 3")]

    monkeypatch.setattr(toy_family.ToyReviewer, "measure_influence", measure)
    return calls


def test_it_is_measured_from_the_anchor_once_for_each_state_of_the_data(
    trained: TrainingManager, measured: list[tuple[int, int]]
):
    ended_session(trained.train(KEY, ROWS(5, 100)))
    for _ in range(2):
        (batch,) = trained.influence.measure(KEY)
    assert (batch.session_id, batch.loss_change) == (1, 0.5)
    assert measured == [(1, 55)]
    ended_session(trained.train(KEY, ROWS(20, 200, value=9.0)))
    trained.influence.measure(KEY)
    assert measured == [(1, 55), (1, 55)], "what is in quarantine is not measured"


def test_what_the_gate_measured_when_it_rejected_a_session_is_kept(
    trained: TrainingManager, measured: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
):
    assess = toy_family.ToyReviewer.assess_new_data

    def with_influence(*given: Any) -> Any:
        impact = assess(*given)
        if impact is None:
            return None
        batches = [BatchInfluence(None, 20, 2.0, 20.0, "everything is 9")]
        return type(impact)(**{**vars(impact), "influence": batches})

    monkeypatch.setattr(toy_family.ToyReviewer, "assess_new_data", with_influence)
    session = ended_session(trained.train(KEY, ROWS(20, 200, value=9.0)))
    (batch,) = trained.influence.of_session(session)
    assert (batch.session_id, batch.hypothesis) == (session.id, "everything is 9")
    assert measured == []


def test_a_model_without_a_champion_has_no_culprits(manager: TrainingManager):
    with pytest.raises(NoChampion):
        manager.influence.measure(KEY)
