"""Fault points do nothing until one is installed, and then exactly what was asked."""

import signal
import time

import pytest

from errors import ConfigurationError
from storage import fault_injection
from tests.storage.conftest import in_child


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(fault_injection, "fault_point", fault_injection.fault_point)


def test_in_production_a_step_is_an_empty_call():
    assert all(fault_injection.fault_point(step) is None for step in fault_injection.STEPS)


def test_there_are_steps_enough_and_each_is_named_once():
    assert len(set(fault_injection.STEPS)) == len(fault_injection.STEPS) >= 12


def test_kill_ends_the_process_at_that_step_alone():
    def work():
        fault_injection.install("journal.synced:kill")
        fault_injection.fault_point("journal.staged")
        fault_injection.fault_point("journal.synced")

    assert in_child(work) == -signal.SIGKILL


def test_a_number_says_at_which_arrival():
    fault_injection.install("apply.moved:raise:2")
    fault_injection.fault_point("apply.moved")
    with pytest.raises(OSError, match=r"apply\.moved"):
        fault_injection.fault_point("apply.moved")
    fault_injection.fault_point("apply.moved")


def test_sleep_delays():
    fault_injection.install("child.fitted:sleep:0.05")
    began = time.monotonic()
    fault_injection.fault_point("child.fitted")
    assert time.monotonic() - began >= 0.05


def test_no_spec_installs_nothing():
    before = fault_injection.fault_point
    fault_injection.install("")
    assert fault_injection.fault_point is before


@pytest.mark.parametrize(
    "spec", ["nowhere:kill", "journal.synced", "journal.synced:explode", "apply.moved:kill:x"]
)
def test_a_spec_that_means_nothing_is_refused(spec):
    with pytest.raises(ConfigurationError, match="Fault point"):
        fault_injection.install(spec)
