"""Train sensor models that are missing, old or worse: the same as ``millwright schedule sensors``."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.main import main

if __name__ == "__main__":
    main("schedule", "sensors")
