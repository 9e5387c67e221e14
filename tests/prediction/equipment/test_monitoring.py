"""What is evidence for training the model of an asset again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from prediction.equipment import monitoring
from prediction.equipment.monitoring import EquipmentMonitor
from prediction.equipment.predictor import EquipmentPredictor
from storage.devices.telemetry import Telemetry, TelemetryRows
from tests.prediction.equipment.conftest import START, TEN_MINUTES, make_pump, to_rows

TRAINED_AT = datetime(2025, 1, 17, tzinfo=UTC)


@pytest.fixture(scope="module")
def champion(plant):
    model, prepared = plant.train()
    manifest = {
        "version": 2,
        "created_at": TRAINED_AT.isoformat(),
        "facts": prepared.facts,
        "options": plant.options(retrain_days=30),
        "metrics": {"metrics": {"miss_rate": 0.2}},
    }
    return SimpleNamespace(predictor=EquipmentPredictor(model.served), manifest=manifest)


def report(plant, champion, tenant, values):
    """Store rows after those of the training, and return what the monitor says."""
    times = (START + TEN_MINUTES * (1_500 + np.arange(len(values)))).tolist()
    Telemetry(plant.database).ingest(tenant, TelemetryRows(["pump-1"] * len(values), times, to_rows(values)))
    monitor = EquipmentMonitor(plant.database, None, tenant, lambda key: champion)
    return monitor.report("pump-1", TRAINED_AT)


def break_often(values):
    """Let the bearing be hot in a row now and then, long enough apart for moving averages to forget it."""
    values[20::46, 5] += 8
    return values


def test_quiet_new_rows_are_counted_and_no_reason(plant, champion):
    evidence = report(plant, champion, "quiet", make_pump(1_000, seed=8)[100:500])
    assert (evidence.version, evidence.new, evidence.known) == (2, 400, 1_500)
    assert evidence.max_age == timedelta(days=30) and evidence.judged == {"miss_rate": 0.2}
    assert evidence.issue is None


def test_a_lasting_fault_is_no_reason_and_many_alarms_are(plant, champion):
    lasting = make_pump(1_000, seed=8)[100:500]
    lasting[200:, 5] += 8
    assert report(plant, champion, "lasting", lasting).issue is None
    often = break_often(make_pump(1_000, seed=8)[100:500])
    assert "alarms in 400 new rows" in (report(plant, champion, "often", often).issue or "")


def test_of_many_new_rows_the_latest_are_looked_at_and_all_are_counted(plant, champion, monkeypatch):
    monkeypatch.setattr(monitoring, "_MAX_NEW_ROWS", 300)
    values = make_pump(1_000, seed=8)[100:700]
    evidence = report(plant, champion, "many", np.vstack([values[:300], break_often(values[300:])]))
    assert evidence.new == 600 and "alarms in 300 new rows" in (evidence.issue or "")


def test_rows_without_the_channels_of_the_model_are_an_issue(plant, champion):
    Telemetry(plant.database).ingest(
        "other",
        TelemetryRows(
            ["pump-1"] * 250,
            [START + TEN_MINUTES * (1_500 + row) for row in range(250)],
            [{"oil": 1.0}] * 250,
        ),
    )
    monitor = EquipmentMonitor(plant.database, None, "other", lambda key: champion)
    assert "does not fit the model" in (monitor.report("pump-1", TRAINED_AT).issue or "")
