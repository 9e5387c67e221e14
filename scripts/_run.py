"""Run a command of ``millwright`` from a script, whichever Python the script was started with."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

_PACKAGES = ("typer", "structlog", "sqlalchemy")
PROJECT_PYTHON = Path(__file__).resolve().parents[1] / ".venv" / "bin" / "python"


def run_command(*command: str) -> None:
    """Run ``millwright COMMAND`` with the arguments of this process, and exit with its code.

    ``python script.py`` starts the system's Python, or that of a fresh virtual environment. Where it lacks
    Millwright's packages, the project's own Python takes over.
    """
    if not all(map(find_spec, _PACKAGES)):
        if not PROJECT_PYTHON.exists() or Path(sys.prefix) == PROJECT_PYTHON.parents[1]:
            sys.exit(
                f"Millwright is not installed for {sys.executable}: run `make run` once, "
                "or `python -m pip install -e .` in the project's folder"
            )
        os.execv(PROJECT_PYTHON, [str(PROJECT_PYTHON), *sys.argv])
    from cli.main import main

    main(*command)
