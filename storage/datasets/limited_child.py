"""Run the readers of uploads in a child process with limits of time and memory.

A small file may unfold to gigabytes or take minutes to parse, and a damaged one may crash a parser; neither must harm
a web worker.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import errors
from errors import MillwrightError

MIN_MEMORY_BYTES: Final = 640 << 20
# Packed text unfolds tenfold, and is then held as text, as numbers and as samples.
MEMORY_PER_BYTE: Final = 40
MIN_SECONDS, SECONDS_PER_MB = 20.0, 1.0
_PROJECT: Final = Path(__file__).resolve().parents[2]
# Exit codes of a child that says why it ends; Python itself uses 1 and 2.
_REFUSED, _TOO_COSTLY = 3, 4
_MAX_TRACEBACK: Final = 4_000


class TooCostly(Exception):
    """The reader took more time or memory than an upload of this size may, or a parser crashed."""


def run_limited(
    module: str, task: dict[str, object], size: int, *, body: bytes = b"", max_memory_bytes: int | None = None
) -> bytes:
    """Run a module that calls `serve_limited` and return what it writes to standard output.

    Parameters
    ----------
    task : dict
        JSON-able arguments.
    size : int
        Bytes of the upload, which decide how much time and memory it may take.
    body : bytes
        Standard input of the child.
    max_memory_bytes : int, optional
        Limit of the memory beyond the least that a child gets.

    Raises
    ------
    MillwrightError
        What the child has raised.
    TooCostly
        It was ended by a limit, or by a crash of a parser.
    RuntimeError
        It failed in another way, which is a fault of this program; the message has its traceback.
    """
    seconds = MIN_SECONDS + SECONDS_PER_MB * size / 1e6
    memory = MEMORY_PER_BYTE * size
    if max_memory_bytes is not None:
        memory = min(memory, max_memory_bytes)
    limits = {"seconds": int(seconds) + 1, "memory_bytes": MIN_MEMORY_BYTES + memory}
    # Arrow's own allocator reserves address space that it never uses and that the limit would count.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1"}
    try:
        # A fresh interpreter: a fork of a web worker would inherit its threads' locks and its sockets.
        child = subprocess.run(
            [sys.executable, "-m", module, json.dumps(limits), json.dumps(task)],
            input=body,
            cwd=_PROJECT,
            env=environment,
            capture_output=True,
            timeout=4 * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise TooCostly from error
    if child.returncode == _REFUSED:
        reason = json.loads(child.stderr.splitlines()[-1])
        raise getattr(errors, reason["kind"])(reason["message"], **reason["facts"])
    # Below 0: killed by a signal, such as that of a limit.
    if child.returncode == _TOO_COSTLY or child.returncode < 0:
        raise TooCostly
    if child.returncode:
        trace = child.stderr.decode(errors="replace")[-_MAX_TRACEBACK:]
        raise RuntimeError(f"{module} failed with exit code {child.returncode}: {trace}")
    return child.stdout


def serve_limited(read: Callable[[str], None]) -> int:
    """Set the limits that `run_limited` has sent, call ``read`` with the task's JSON and return the exit code."""
    limits, task = json.loads(sys.argv[1]), sys.argv[2]
    resource.setrlimit(resource.RLIMIT_CPU, (limits["seconds"], limits["seconds"]))
    # RLIMIT_AS would count address space that numpy's and Arrow's libraries map and never touch.
    resource.setrlimit(resource.RLIMIT_DATA, (limits["memory_bytes"], limits["memory_bytes"]))
    try:
        read(task)
    # A library that is imported late may not fit, either. TooCostly: a limit of the reader's own.
    except (MemoryError, ImportError, TooCostly):
        return _TOO_COSTLY
    except MillwrightError as error:
        reason = {"kind": type(error).__name__, "message": error.message, "facts": error.facts}
        sys.stderr.write("\n" + json.dumps(reason))
        return _REFUSED
    return 0
