"""Answers are written by a thread that ends when nothing waits, and starts again with the next one."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from errors import NotReady
from prediction import registry
from prediction.contract import ModelKey
from storage.container import open_storage
from storage.devices.prediction import Prediction, PredictionSource
from storage.devices.predictions import PredictionStore
from tests.waiting import eventually
from training.monitoring import prediction_log
from training.monitoring.prediction_log import PredictionBuffer

KEY = ModelKey("rul", "pumps")


@pytest.fixture
def noted(settings, monkeypatch):
    """Answers are their own instants."""
    monitor = SimpleNamespace(
        predictions_to_log=lambda predictor, moments: [_make_prediction(moment) for moment in moments]
    )
    monkeypatch.setattr(registry, "load_monitor", lambda family: monitor)
    monkeypatch.setattr(prediction_log, "_FLUSH_INTERVAL_SECONDS", 0.05)
    return PredictionBuffer(PredictionStore(open_storage(settings).database))


def _make_prediction(moment):
    return Prediction("P-1", moment, 1.0, 2.0, None, None, 3)


def _stored_moments(noted):
    return noted._store.read(PredictionSource("default", "rul", "pumps", 1)).as_of.tolist()


def test_a_failure_that_lasts_is_logged_once(noted, monkeypatch):
    failures = iter([KeyError("unit"), KeyError("unit"), NotReady("The database is away")])
    write = noted.flush

    def flush():
        if error := next(failures, None):
            raise error
        write()

    monkeypatch.setattr(noted, "flush", flush)
    with capture_logs() as logs:
        noted.add(KEY, SimpleNamespace(predictor=None, number=1), [1])
        eventually(lambda: any("ended" in entry["event"] for entry in logs))
    assert [(entry["event"], entry.get("reason")) for entry in logs] == [
        ("write_postponed", "KeyError: 'unit'"),
        ("write_postponed", "The database is away"),
        ("write_postponed_ended", None),
    ]


@pytest.mark.parametrize("error", [RuntimeError("driver"), NotReady("The database is away")])
def test_no_error_of_a_write_loses_what_waits(noted, monkeypatch, error):
    noted._start_writer = lambda: None
    noted.add(KEY, SimpleNamespace(predictor=None, number=1), [1, 2])
    with monkeypatch.context() as refusing:
        refusing.setattr(noted._store, "add", Mock(side_effect=error))
        with pytest.raises(type(error)):
            noted.flush()
    noted.add(KEY, SimpleNamespace(predictor=None, number=1), [3])
    noted.flush()
    assert (_stored_moments(noted), len(noted)) == ([1, 2, 3], 0)


def test_answers_are_written_also_after_somebody_else_has_written_those_before(noted):
    live = SimpleNamespace(predictor=None, number=1)
    write = noted._write

    def late():
        noted.flush()
        write()

    noted._write = late
    noted.add(KEY, live, [1])
    eventually(lambda: noted._writer is None)
    noted.add(KEY, live, [2])
    eventually(lambda: _stored_moments(noted) == [1, 2])
