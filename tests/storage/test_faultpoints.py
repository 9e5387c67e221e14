"""Fault points do nothing until one is installed, and then exactly what was asked."""

import signal
import time

import pytest

from errors import ConfigurationError
from storage import faultpoints
from tests.storage.conftest import in_child


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(faultpoints, "reached", faultpoints.reached)


def test_in_production_a_step_is_an_empty_call():
    assert all(faultpoints.reached(step) is None for step in faultpoints.STEPS)


def test_there_are_steps_enough_and_each_is_named_once():
    assert len(set(faultpoints.STEPS)) == len(faultpoints.STEPS) >= 12


def test_kill_ends_the_process_at_that_step_alone():
    def work():
        faultpoints.install("journal.synced:kill")
        faultpoints.reached("journal.staged")
        faultpoints.reached("journal.synced")

    assert in_child(work) == -signal.SIGKILL


def test_a_number_says_at_which_arrival():
    faultpoints.install("apply.moved:raise:2")
    faultpoints.reached("apply.moved")
    with pytest.raises(OSError, match=r"apply\.moved"):
        faultpoints.reached("apply.moved")
    faultpoints.reached("apply.moved")


def test_sleep_delays():
    faultpoints.install("child.fitted:sleep:0.05")
    began = time.monotonic()
    faultpoints.reached("child.fitted")
    assert time.monotonic() - began >= 0.05


def test_no_spec_installs_nothing():
    before = faultpoints.reached
    faultpoints.install("")
    assert faultpoints.reached is before


@pytest.mark.parametrize(
    "spec", ["nowhere:kill", "journal.synced", "journal.synced:explode", "apply.moved:kill:x"]
)
def test_a_spec_that_means_nothing_is_refused(spec):
    with pytest.raises(ConfigurationError, match="Fault point"):
        faultpoints.install(spec)
