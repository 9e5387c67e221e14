"""Train a damage model on a folder of recordings: the same as ``millwright train damage``."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cli.main import main
from cli.training.damage import DamageTrainingResult, run_cnn, run_resnet, run_training

__all__ = ["DamageTrainingResult", "run_cnn", "run_resnet", "run_training"]

if __name__ == "__main__":
    main("train", "damage")
