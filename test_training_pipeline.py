"""Check every endpoint of the guide against a running server: ``python test_training_pipeline.py``."""

from __future__ import annotations

from scripts._run import run_command

if __name__ == "__main__":
    run_command("demo", "check")
