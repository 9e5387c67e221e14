"""Walk through the API of a running server: ``python training_example.py``."""

from __future__ import annotations

from cli.main import main

if __name__ == "__main__":
    main("demo", "tour")
