"""Past answers meet the failures that came; what is not known yet takes no part."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from errors import Conflict
from prediction.rul.data.label import DataLabeler
from prediction.rul.data.windows import DeviceRun, WindowedRuns, make_split
from prediction.rul.monitoring.input_drift import PsiBaseline
from prediction.rul.monitoring.monitor import RulMonitor
from prediction.rul.monitoring.production_metrics import ExpectedError, match_failures, measure_production
from storage.devices.failures import Failures
from storage.devices.prediction import Prediction, PredictionSource
from storage.devices.predictions import PredictionStore, StoredPredictions
from storage.sensors.readings import from_microseconds

HOUR = 3_600_000_000


def store_predictions(*rows: tuple[str, float, float], most: float = 100.0) -> StoredPredictions:
    """Answers: device, hour and value, in order of devices and hours."""
    devices, hours, told = zip(*rows, strict=True)
    count = len(rows)
    values = np.array(told, dtype=float)
    return StoredPredictions(
        devices,
        (np.array(hours) * HOUR).astype(np.int64),
        values,
        np.full(count, most),
        values - 5,
        values + 5,
        np.full(count, 50),
    )


def test_an_answer_meets_the_next_failure_of_its_device():
    said = store_predictions(
        ("A", 0, 9), ("A", 10, 1), ("A", 11, 50), ("B", 5, 40), ("C", 1, 2), ("C", 2, 60)
    )
    ends = {"A": [(10 * HOUR, True), (61 * HOUR, True)], "B": [(50 * HOUR, False)]}
    found = match_failures(said, ends, {"C": 8 * HOUR}.__getitem__)
    assert found.rows.tolist() == [0, 1, 2]
    assert found.truth.tolist() == [10, 0, 50]
    assert len(set(found.runs)) == 2
    assert (found.censored, found.contradicted) == (3, 2)  # B was stopped after 45 h, C has lived 7 h


def test_truth_is_capped_as_the_answers_are():
    found = match_failures(
        store_predictions(("A", 0, 20), most=20.0), {"A": [(500 * HOUR, True)]}, lambda device: 0
    )
    assert found.truth.tolist() == [20]


def test_what_is_measured_has_the_names_of_the_evaluation_and_stands_beside_the_promise():
    said = store_predictions(
        *((device, hour, 100 - hour + 10) for device in "ABC" for hour in range(50, 100, 5))
    )
    ends = {device: [(100 * HOUR, True)] for device in "ABC"}
    found = measure_production(
        said,
        match_failures(said, ends, lambda device: 0),
        ExpectedError(np.array([0.0, 100.0]), np.array([2.0, 2.0])),
        DataLabeler(),
    )
    assert found.metrics["mae"] == pytest.approx(10)
    assert found.metrics["late_prediction_rate"] == 1.0
    assert (found.metrics["failures"], found.metrics["matched_predictions"]) == (3, 30)
    assert found.metrics["interval_coverage_90"] == 0.0
    assert found.ratio == pytest.approx(0.2)
    assert found.excess == pytest.approx([8.0] * 3)


def test_without_a_failure_nothing_is_said():
    said = store_predictions(("A", 0, 9))
    found = measure_production(
        said, match_failures(said, {}, lambda device: 0), ExpectedError(np.ones(1), np.ones(1)), DataLabeler()
    )
    assert (found.ratio, found.metrics["censored_predictions"]) == (None, 1)
    assert "mae" not in found.metrics


def test_the_promise_is_by_remaining_life():
    truth = np.concatenate([np.linspace(0, 99, 400), np.full(100, 100.0)])
    promise = ExpectedError.fit(truth, truth + truth / 10, 100.0)
    assert promise.at(np.array([10.0, 90.0, 100.0])) == pytest.approx([1.0, 9.0, 10.0], abs=0.7)
    assert ExpectedError.from_dict(promise.to_dict()).at(truth) == pytest.approx(promise.at(truth))


def runs(count: int, rows: int, chance: np.random.Generator, shift: float = 0.0) -> list[np.ndarray]:
    """Return runs that differ from each other a little, and wear out in their second half."""
    worn = np.clip(np.arange(rows) / rows - 0.5, 0, None)[:, None] * 8
    one = [chance.normal(chance.normal(0, 0.3), 1, (rows, 2)) + worn for _ in range(count)]
    return [(run + np.array([0.0, shift])).astype(np.float32) for run in one]


def test_inputs_that_have_moved_are_told_from_others_of_the_kind_and_from_wear():
    chance = np.random.default_rng(5)
    fleet = WindowedRuns.from_runs(
        [DeviceRun(n, run, np.zeros(len(run))) for n, run in enumerate(runs(20, 80, chance))], 4
    )
    inputs = PsiBaseline.from_dict(
        PsiBaseline.fit(["a", "b"], make_split(fleet, range(20), 1, 1), 0).to_dict()
    )
    assert inputs.early_rows == 20
    same = inputs.measure([run[:20] for run in runs(10, 80, chance)])
    assert all(one.size <= max(0.25, one.by_chance) for one in same.values()), same
    moved = inputs.measure([run[:20] for run in runs(10, 80, chance, shift=1.5)])
    assert moved["b"].size > max(0.25, moved["b"].by_chance)
    assert moved["a"].size <= max(0.25, moved["a"].by_chance)
    assert inputs.measure([run[:20] for run in runs(7, 80, chance, shift=9)]) == {}


def test_a_version_of_an_earlier_millwright_says_that_it_cannot_be_measured(tmp_path):
    (tmp_path / "model_metadata.json").write_text('{"options": {}}')
    versions: Any = SimpleNamespace(champion=lambda path: SimpleNamespace(folder=tmp_path))
    unused: Any = None
    with pytest.raises(Conflict, match="promised nothing"):
        RulMonitor(unused, versions, "default", unused).report("pumps", datetime.now(UTC))


def test_a_failure_of_a_device_that_the_champion_was_not_trained_on_counts(trained, empty, tmp_path):
    metadata = json.loads((trained[3] / "model_metadata.json").read_text())
    metadata["options"]["device_ids"] = ["P-00*"]
    (tmp_path / "model_metadata.json").write_text(json.dumps(metadata))
    manifest = {"created_at": datetime.now(UTC).isoformat()}
    champion = SimpleNamespace(number=1, folder=tmp_path, manifest=manifest)
    source = PredictionSource("default", "rul", "pumps", 1)
    PredictionStore(empty.database).add([(source, Prediction("NEW", 0, 20.0, 60.0, None, None, 50))])
    end = from_microseconds(30 * HOUR)
    Failures(empty.database).ingest(
        "default", [{"device_id": "NEW", "event_time": end, "event_type": "failure"}]
    )
    versions: Any = SimpleNamespace(champion=lambda path: champion)
    unused: Any = None
    production = (
        RulMonitor(empty.database, versions, "default", unused).report("pumps", datetime.now(UTC)).production
    )
    counts = {name: production.metrics[name] for name in ("matched_predictions", "censored_predictions")}
    assert counts == {"matched_predictions": 1, "censored_predictions": 0}
    assert production.measured == 10.0
