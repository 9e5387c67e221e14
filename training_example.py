"""Walk through the API of a running server: ``python training_example.py``."""

from __future__ import annotations

from scripts._run import run_command

if __name__ == "__main__":
    run_command("demo", "tour")
