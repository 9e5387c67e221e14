"""Train a damage model on a folder of recordings: the same as ``millwright train damage``."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from scripts._run import run_command

if __name__ == "__main__":
    run_command("train", "damage")

from cli.training.damage import DamageTrainingResult, run_cnn, run_resnet, run_training

__all__ = ["DamageTrainingResult", "run_cnn", "run_resnet", "run_training"]
