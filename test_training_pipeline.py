"""Check every endpoint of the guide against a running server: ``python test_training_pipeline.py``."""

from __future__ import annotations

from cli.main import main

if __name__ == "__main__":
    main("demo", "check")
