"""A process is known by its number and its start, so a reused number is another process."""

import os
import subprocess

from storage import processes


def test_this_process_lives():
    assert processes.alive(os.getpid(), processes.own_start())


def test_another_process_of_that_number_is_not_it():
    assert not processes.alive(os.getpid(), processes.own_start() + 1)


def test_a_process_is_dead_once_it_has_ended_even_before_anybody_asks_how():
    child = subprocess.Popen(["sleep", "60"])
    start = processes.started(child.pid)
    assert start is not None
    assert processes.alive(child.pid, start)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: nobody has collected it
    assert not processes.alive(child.pid, start)
    child.wait()
    assert processes.started(child.pid) is None
