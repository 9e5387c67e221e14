"""Run commands as an operator types them, over a home folder.

They run in this process: starting Python and importing the training manager takes longer than most commands.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from typer.testing import CliRunner, Result

from cli.main import app
from settings import ENV_PREFIX, PROJECT
from tests.live_server import environment, free_port


def run(*command: object, home: Path, **settings: object) -> Result:
    """Run ``millwright`` with these arguments; without a port, no server answers at its default address."""
    settings.setdefault("executor", "in-process")
    env: dict[str, str | None] = {name: None for name in os.environ if name.startswith(ENV_PREFIX)}
    result = invoke(*command, env={**env, **_environment(home, settings)})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def invoke(*command: object, env: Mapping[str, str | None] | None = None) -> Result:
    """Run ``millwright``; the log, which the command sends to its own output, is set back."""
    config = structlog.get_config()
    try:
        return CliRunner().invoke(app, list(map(str, command)), prog_name="millwright", env=env)
    finally:
        structlog.configure(**config)


def run_json(*command: object, home: Path, code: int = 0, **settings: object) -> Any:
    """Return the JSON of a command that ends with the exit code."""
    result = run(*command, "--json", home=home, **settings)
    assert result.exit_code == code, f"{result.exit_code}: {result.stdout}{result.stderr}"
    return json.loads(result.stdout)


def run_process(*command: object, home: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run ``python COMMAND`` in a process of its own."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=PROJECT,
        env=_environment(home, settings),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def _environment(home: Path, settings: dict[str, object]) -> dict[str, str]:
    return environment(home, **{"port": free_port(), "sentence_model": "none", **settings})
