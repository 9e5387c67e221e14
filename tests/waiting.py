"""Waiting in tests: for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_WAIT_SECONDS = 240.0
"""Only a test that fails waits so long. What takes two seconds here took ninety on a machine with other work."""


def eventually(true: Callable[[], object], told: Callable[[], object] = lambda: "it never came true") -> None:
    """Wait until something is true; fail with what is told where it never is."""
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)
