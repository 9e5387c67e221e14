"""When a model is trained again: each reason alone is enough, chance is none, and the brakes hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from prediction.monitoring import InputDrift, MonitoringReport, ProductionMetrics
from training.monitoring.retraining_policy import (
    LEAVE,
    TRAIN,
    WAIT,
    RetrainHistory,
    RetrainingPolicy,
    decide,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
POLICY = RetrainingPolicy(max_age=timedelta(days=90), cooldown=timedelta(days=1), max_trainings_per_week=3)
WELL = MonitoringReport(
    version=3,
    trained_at=NOW - timedelta(days=10),
    production=ProductionMetrics(
        {"mae": 5.0}, 5.0, 5.2, [0.2, -0.3, 0.4, 0.1, -0.2, 0.1], "mean absolute error", "h"
    ),
    new=3,
    known=20,
    cases="failures",
    shifts={"current": InputDrift(0.1, 0.4)},
)
BAD = replace(WELL, production=replace(WELL.production, measured=9.0, excess=[4, 3, 5, 4, 6, 2]))


def decided(evidence: MonitoringReport, past: RetrainHistory | None = None) -> tuple[str, str]:
    action, reasons = decide(evidence, POLICY, past or RetrainHistory(), NOW)
    return action, " ".join(reasons)


def test_a_model_that_does_well_is_left_alone_and_says_why():
    action, said = decided(WELL)
    assert action == LEAVE
    assert "5.2 h, 5 was promised" in said
    assert decided(MonitoringReport(version=1))[0] == LEAVE


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (
            BAD,
            "error was 9 h, where 5 was promised for the same cases: a ratio of 0.56, below 0.8",
        ),
        (replace(WELL, trained_at=NOW - timedelta(days=91)), "It is 91 days old, 90 are allowed"),
        (replace(WELL, max_age=timedelta(days=7)), "It is 10 days old, 7 are allowed"),
        (replace(WELL, new=10), "10 failures have come since its training, which knew 20"),
        (replace(WELL, shifts={"oil": InputDrift(0.6, 0.4)}), "oil is not what it was in training"),
        (replace(WELL, issue="12 % of 90 new readings alarm"), "12 % of 90 new readings alarm."),
    ],
)
def test_each_reason_is_enough_and_is_told(evidence, said):
    action, reasons = decided(evidence)
    assert action == TRAIN
    assert said in reasons


@pytest.mark.parametrize(
    "evidence",
    [
        replace(BAD, production=replace(BAD.production, excess=[4, 4, 4, 4])),  # four cases
        replace(BAD, production=replace(BAD.production, excess=[30, -2, -1, -2, -1])),  # one odd device
        replace(WELL, production=replace(WELL.production, measured=6.2, excess=[1.1, 1.2, 1.3, 1.2, 1.2])),
        replace(WELL, shifts={"oil": InputDrift(0.39, 0.4), "current": InputDrift(0.24, 0.01)}),
        replace(WELL, new=9),
        replace(WELL, new=4, known=5),
    ],
)
def test_chance_and_little_are_no_reasons(evidence):
    assert decided(evidence)[0] == LEAVE


def test_nothing_new_to_learn_from_is_waited_for():
    action, said = decided(replace(WELL, new=0, trained_at=NOW - timedelta(days=400)))
    assert action == WAIT
    assert "400 days old" in said
    assert "No failures have come since" in said


@pytest.mark.parametrize(
    ("hours", "refused", "action"),
    [(23, 0, WAIT), (24, 0, TRAIN), (47, 1, WAIT), (48, 1, TRAIN), (719, 9, WAIT), (720, 5000, TRAIN)],
)
def test_trainings_cool_down_longer_with_each_that_promoted_nothing(hours, refused, action):
    past = RetrainHistory(NOW - timedelta(hours=hours), refused, 1)
    assert decided(BAD, past)[0] == action
    assert decided(WELL, past)[0] == LEAVE


def test_the_budget_holds():
    action, said = decided(BAD, RetrainHistory(None, 0, 3))
    assert action == WAIT
    assert "The budget of 3 scheduled trainings in 7 days is spent." in said
    assert decided(BAD, RetrainHistory(None, 0, 2))[0] == TRAIN
