"""Train sensor models that are missing, old or worse: the same as ``millwright schedule sensors``."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from scripts._run import run_command

if __name__ == "__main__":
    run_command("schedule", "sensors")
