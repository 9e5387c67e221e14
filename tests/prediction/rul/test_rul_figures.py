"""What a report draws of remaining useful life agrees with what was measured."""

from __future__ import annotations

from functools import partial

import numpy as np

from prediction.rul.data.label import STATUSES, DataLabeler
from prediction.rul.evaluation import metrics, plots
from prediction.rul.evaluation.intervals import Residuals
from reports.charts.figures import draw_figure


def test_answers_statuses_and_coverage_are_drawn():
    chance = np.random.default_rng(0)
    truth = chance.uniform(0, 100, 500)
    answers = np.clip(truth + chance.normal(0, 8, 500), 0, 100)
    labeler = DataLabeler(horizon_hours=100, critical_hours=10, warning_hours=50)
    residuals = Residuals.fit(answers, truth, np.arange(500) // 10)
    interval = partial(residuals.interval, answers, horizon_hours=100)
    made = {one["title"]: one for one in plots.plot_test(truth, answers, labeler, interval)}
    assert all(draw_figure(figure) is not None for figure in made.values())
    statuses = made["Health status: true and predicted"]
    assert statuses["kind"] == "confusion"
    counts = np.array(statuses["counts"])
    report = metrics.classification_report(truth, answers, labeler)
    per_status = [report[name] for name in STATUSES]
    assert [row.sum() for row in counts] == [row["support"] for row in per_status if isinstance(row, dict)]
    assert np.trace(counts) / counts.sum() == report["accuracy"]
    coverage, scatter = made["Coverage of the intervals"], made["Errors on held-out devices"]
    assert coverage["kind"] == "line" and scatter["kind"] == "scatter"
    (curve,) = coverage["series"]
    assert all(abs(held - promised) < 0.06 for promised, held in zip(curve["x"], curve["y"], strict=True))
    (errors,) = scatter["series"]
    assert errors["x"] == sorted(errors["x"]) and len(errors["x"]) <= 200
