"""What speaks for training a sensor's model again is weighed by the same rule as for every family."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prediction import registry
from prediction.sensors.monitoring import MAX_MODEL_AGE, SensorsMonitor
from storage.db.tables import utc_now
from training.monitoring.retraining_policy import (
    LEAVE,
    TRAIN,
    WAIT,
    RetrainHistory,
    RetrainingPolicy,
    decide,
)


class Live:
    """A champion as it is served."""

    def __init__(self, days: float) -> None:
        trained = (utc_now() - timedelta(days=days)).isoformat()
        self.manifest = {"version": 3, "created_at": trained, "metrics": {"metrics": {"miss_rate": 0.1}}}
        self.predictor = type("Predictor", (), {"model": None})()


@pytest.mark.parametrize(
    ("days", "new", "issue", "action"),
    [
        (1, 90, None, LEAVE),
        (8, 90, None, TRAIN),
        (8, 0, None, WAIT),
        (1, 90, "9 alarms in 90 new readings, 1 are in the budget", TRAIN),
    ],
)
def test_age_and_alarms_are_reasons(monkeypatch, days, new, issue, action):
    monkeypatch.setattr(
        "prediction.sensors.monitoring._read_new_readings", lambda manifest, database: range(new)
    )
    monkeypatch.setattr(
        "prediction.sensors.monitoring.find_degradation", lambda model, manifest, database: issue
    )
    monitor = SensorsMonitor(None, None, "default", lambda key: Live(days))
    found = monitor.report("13-anomaly", utc_now())
    assert (found.max_age, found.judged) == (MAX_MODEL_AGE, {"miss_rate": 0.1})
    assert decide(found, RetrainingPolicy(), RetrainHistory(), utc_now())[0] == action


def test_the_schedule_knows_the_sensors():
    assert registry.load_monitor("sensors") is SensorsMonitor
    assert SensorsMonitor.batch_training
