"""The setting EXECUTOR chooses where sessions train."""

from __future__ import annotations

from dataclasses import replace

from settings import Settings
from training.execution.child_process import ChildProcessExecutor
from training.execution.in_process import InProcessExecutor
from training_manager import open_executor


def test_sessions_train_in_child_processes_unless_a_person_debugs(settings: Settings):
    assert isinstance(open_executor(settings), ChildProcessExecutor)
    assert isinstance(open_executor(replace(settings, executor="in-process")), InProcessExecutor)
