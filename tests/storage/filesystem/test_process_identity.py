"""A process is known by its number and its start, so a reused number is another process."""

import os
import subprocess

from storage.filesystem import process_identity


def test_this_process_lives():
    assert process_identity.is_alive(os.getpid(), process_identity.own_start_time())


def test_another_process_of_that_number_is_not_it():
    assert not process_identity.is_alive(os.getpid(), process_identity.own_start_time() + 1)


def test_a_process_is_dead_once_it_has_ended_even_before_anybody_asks_how():
    child = subprocess.Popen(["sleep", "60"])
    start = process_identity.start_time(child.pid)
    assert start is not None
    assert process_identity.is_alive(child.pid, start)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: nobody has collected it
    assert not process_identity.is_alive(child.pid, start)
    child.wait()
    assert process_identity.start_time(child.pid) is None
