"""What speaks for training a sensor's model again is weighed by the same rule as for every family."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prediction import registry
from prediction.sensors.upkeep import STALE_AFTER, SensorsUpkeep
from storage.tables import now
from training.schedule.decision import LEAVE, TRAIN, WAIT, Past, Policy, decide


class Live:
    """A champion as it is served."""

    def __init__(self, days: float) -> None:
        trained = (now() - timedelta(days=days)).isoformat()
        self.manifest = {"version": 3, "created_at": trained, "metrics": {"metrics": {"miss_rate": 0.1}}}
        self.predictor = type("Predictor", (), {"model": None})()


@pytest.mark.parametrize(
    ("days", "new", "complaint", "action"),
    [
        (1, 90, None, LEAVE),
        (8, 90, None, TRAIN),
        (8, 0, None, WAIT),
        (1, 90, "9 alarms in 90 new readings, 1 are in the budget", TRAIN),
    ],
)
def test_age_and_alarms_are_reasons(monkeypatch, days, new, complaint, action):
    monkeypatch.setattr("prediction.sensors.upkeep._since", lambda manifest, database: range(new))
    monkeypatch.setattr("prediction.sensors.upkeep.degraded", lambda model, manifest, database: complaint)
    upkeep = SensorsUpkeep(None, None, "default", lambda key: Live(days))  # type: ignore[arg-type]
    found = upkeep.evidence("13-anomaly", now())
    assert (found.max_age, found.judged) == (STALE_AFTER, {"miss_rate": 0.1})
    assert decide(found, Policy(), Past(), now())[0] == action


def test_the_schedule_knows_the_sensors():
    assert registry.upkeep("sensors") is SensorsUpkeep
    assert SensorsUpkeep.together
